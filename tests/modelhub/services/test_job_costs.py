import pytest

from costs.models import PURPOSES, Attempt, LedgerEntry, Node
from modelhub.models import ModelVersion
from modelhub.recipes.endpoints import Call
from modelhub.services import job_costs
from modelhub.services.jobs import start_audit, start_evaluation
from modelhub.tasks import reap, scheduled_audits, scheduled_evaluations
from switchyard.core.errors import Conflict, InvalidRequest
from switchyard.jobs import runner
from switchyard.jobs.models import Job
from switchyard.jobs.services import cancel
from tests.factories import (
    make_deployment,
    make_lob,
    make_node,
    make_organisation,
    make_version,
    make_workload,
)
from tests.switchyard.jobs.people import let_lease_end, make_job

pytestmark = pytest.mark.django_db
HOUR_NS = 3_600_000_000_000


@pytest.fixture
def company():
    lob = make_lob(make_organisation())
    workload = make_workload(lob, "support-sentiment")
    private = make_deployment(lob.organisation, "private-sparse", "private")
    external = make_deployment(lob.organisation, "ext-mini", "external")
    for deployment in (private, external):
        make_version(deployment, workload)
    return lob, workload, private, external


def compute(ns):
    def recipe(context):
        context.meter.add(ns)
        return {}

    return recipe


def test_an_hour_of_compute_costs_the_lob_what_the_node_costs(company):
    lob, _, _, _ = company
    job = make_job(lob=lob, params={"deployment": "private-sparse", "workload": "support-sentiment"})
    done = runner.run(job.pk, compute(HOUR_NS), job_costs.settle)
    assert (done.cost_nusd, done.charged_ns) == (100_000_000, HOUR_NS)  # $0.10
    entry = LedgerEntry.objects.get(job_id=job.pk)
    assert (entry.debit, entry.credit) == ("expense:lob:customer-service", "absorbed:node-1")
    assert Attempt.objects.get(request_id=job.pk).workload == "support-sentiment"


def test_a_job_pays_the_machine_it_ran_on(company, settings):
    lob, *_ = company
    make_node(lob.organisation, "gpu-1", usd_per_hour="3", planned_utilisation="0.5")
    settings.SWITCHYARD = settings.SWITCHYARD | {"NODE": "gpu-1"}
    job = make_job(lob=lob, params={"deployment": "private-sparse", "workload": "support-sentiment"})
    done = runner.run(job.pk, compute(HOUR_NS), job_costs.settle)
    assert (done.node, done.cost_nusd) == ("gpu-1", 6_000_000_000)
    assert LedgerEntry.objects.get(job_id=job.pk).credit == "absorbed:gpu-1"


def test_a_machine_without_a_price_is_told_of_and_the_deployments_pays(company, settings):
    lob, *_ = company
    settings.SWITCHYARD = settings.SWITCHYARD | {"NODE": "gpu-9"}
    job = make_job(lob=lob, params={"deployment": "private-sparse", "workload": "support-sentiment"})
    assert runner.run(job.pk, compute(HOUR_NS), job_costs.settle).cost_nusd == 100_000_000
    assert "gpu-9 has no price" in " ".join(job.events.values_list("message", flat=True))


def test_a_failed_job_pays_for_what_it_computed_too(company):
    lob, *_ = company
    job = make_job(lob=lob)

    def recipe(context):
        context.meter.add(HOUR_NS)
        raise InvalidRequest("no")

    assert runner.run(job.pk, recipe, job_costs.settle).cost_nusd == 100_000_000


def test_settling_again_adds_nothing_and_more_compute_only_its_own_part(company):
    lob, *_ = company
    job = make_job(lob=lob)
    context = runner.claim(job.pk)
    context.meter.add(HOUR_NS)
    context.write()
    for _ in range(2):
        job_costs.settle(Job.objects.get(pk=job.pk))
    let_lease_end(job)
    again = runner.claim(job.pk)
    again.meter.add(HOUR_NS // 2)
    again.write()
    job_costs.settle(Job.objects.get(pk=job.pk))
    job.refresh_from_db()
    assert job.cost_nusd == 150_000_000
    amounts = sorted(LedgerEntry.objects.values_list("amount_nusd", flat=True))
    assert amounts == [50_000_000, 100_000_000]


def test_what_a_dead_runner_computed_is_booked_by_the_schedule(company):
    lob, *_ = company
    job = make_job(lob=lob)
    context = runner.claim(job.pk)
    context.meter.add(HOUR_NS)
    context.progress(0.1, "working")
    cancel(job=job, user=None)
    let_lease_end(job)
    reap()  # ends it in the runner's place
    reap()  # books it
    job.refresh_from_db()
    assert (job.state, job.cost_nusd) == ("cancelled", 100_000_000)
    reap()
    assert LedgerEntry.objects.count() == 1


def test_what_cannot_be_charged_is_not_started(company):
    _, workload, private, _ = company
    Node.objects.update(usd_per_hour=None)
    with pytest.raises(Conflict) as refused:
        start_evaluation(workload=workload, deployment=private, user=None)
    assert refused.value.code == "no_node_rate"
    assert not Job.objects.exists()


def test_the_estimate_learns_from_jobs_that_ran_here(company):
    lob, workload, private, _ = company
    first = start_evaluation(workload=workload, deployment=private, user=None)
    usual = job_costs.USUAL_NS_PER_ROW["evaluation"]
    assert first.estimated_nusd == pytest.approx(293 * usual * 100_000_000 / HOUR_NS, abs=1)
    runner.run(first.pk, compute(293 * usual * 3))
    second = start_evaluation(workload=workload, deployment=private, user=None)
    assert second.pk != first.pk
    assert second.estimated_nusd == pytest.approx(3 * first.estimated_nusd, abs=3)


def test_the_schedule_evaluates_live_versions_and_audits_pairs_once(company):
    _, workload, private, external = company
    assert scheduled_evaluations() == 2
    assert scheduled_evaluations() == 2  # the same two jobs: they still wait
    assert Job.objects.filter(kind="evaluation").count() == 2
    assert scheduled_audits() == 1
    audit = Job.objects.get(kind="bias_audit")
    assert (audit.params["teacher"], audit.params["student"]) == ("private-sparse", "ext-mini")
    ModelVersion.objects.filter(deployment=external).update(stage="retired")
    assert scheduled_audits() == 0


def test_work_without_held_back_rows_is_not_scheduled(company):
    lob, *_ = company
    unknown = make_workload(lob, "returns-intent")
    make_version(make_deployment(lob.organisation, "ext-other"), unknown)
    assert scheduled_evaluations() == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [({"teacher": "nobody"}, "no deployment"), ({"teacher": "ext-mini"}, "same deployment")],
)
def test_an_audit_needs_two_classifiers(company, change, message):
    _, workload, *_ = company
    with pytest.raises(InvalidRequest, match=message):
        start_audit(workload=workload, user=None, **change)


def test_an_evaluation_of_what_is_not_there_is_refused(company):
    lob, workload, private, _ = company
    with pytest.raises(InvalidRequest, match="no version"):
        start_evaluation(workload=workload, deployment=private, user=None, version="9")
    alarms = make_workload(lob, "equipment-fault", task="prediction")
    with pytest.raises(InvalidRequest, match="does not do prediction"):
        start_evaluation(workload=alarms, deployment=private, user=None)
    neighbour = make_workload(make_lob(make_organisation()), "support-sentiment")
    with pytest.raises(InvalidRequest, match="There is no deployment"):
        start_evaluation(workload=neighbour, deployment=private, user=None)


def test_what_a_job_computes_and_what_it_asks_of_a_vendor_stand_on_its_purposes_line(company):
    lob, workload, _, external = company
    job = make_job(lob=lob, kind="evaluation")
    runner.run(job.pk, compute(HOUR_NS), job_costs.settle)
    calls = [Call(f"req_{i}", 1_790_000_000_000_000_000 + i, 3.0, 1_000, 10, 0) for i in range(3)]
    job_costs.book_vendor_calls(job, external, workload.name, calls)
    assert set(Attempt.objects.values_list("purpose", "side")) == {
        ("evaluation", "private"),
        ("evaluation", "external"),
    }
    assert set(LedgerEntry.objects.values_list("purpose", flat=True)) == {"evaluation"}


def test_every_kind_of_job_that_is_charged_has_a_line(company):
    assert {job_costs.purpose_of(kind) for kind in job_costs.USUAL_NS_PER_ROW} <= set(PURPOSES)
