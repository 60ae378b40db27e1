import json

import pytest

from costs.models import Attempt, LedgerEntry
from modelhub.models import Dataset, ModelVersion
from modelhub.recipes import vendor_fine_tune
from modelhub.services import fine_tuning
from modelhub.services.datasets import upload
from modelhub.tasks import run_job
from switchyard.core.errors import Conflict, PolicyDenied
from switchyard.jobs import runner
from switchyard.jobs.models import Job
from switchyard.jobs.services import cancel, pause, resume
from tests import factories
from tests.fakes.vendor import FakeVendor
from tests.switchyard.jobs.people import let_lease_end

pytestmark = pytest.mark.django_db
ROWS = [(f"the {word} was fine", "positive" if i % 2 else "negative") for i, word in enumerate("abcdefghij")]
TRAINING_NUSD = 25_000_000_000  # $25 a million trained tokens


@pytest.fixture
def vendor():
    with FakeVendor() as running:
        yield running


@pytest.fixture
def company(vendor, settings, tmp_path, monkeypatch):
    settings.MEDIA_ROOT = tmp_path
    monkeypatch.setattr(vendor_fine_tune, "LOOK_S", 0.01)
    monkeypatch.setattr(runner, "LOOK_EVERY_S", 0.0)
    lob = factories.make_lob()
    factories.make_policy(lob.organisation)
    deployment = factories.make_deployment(
        lob.organisation, "ext-llm", base_url=vendor.url, api_key=vendor.key, model="llm-1", tasks=["chat"], heads=False,
        bare=True,
    )  # fmt: skip
    factories.make_price(lob.organisation, "ext-llm", training_nusd_per_munit=TRAINING_NUSD)
    return lob, factories.make_workload(lob, "support-sentiment"), deployment


def rows_of(workload, rows=ROWS):
    content = "\n".join(json.dumps({"text": t, "label": c}) for t, c in rows).encode()
    return upload(workload=workload, name="ours.jsonl", content=content, user=None)


def start(company, **settings):
    _, workload, deployment = company
    wanted = fine_tuning.Settings(**{"epochs": 2, "suffix": "ours"} | settings)
    return fine_tuning.start(dataset=rows_of(workload), deployment=deployment, user=None, settings=wanted)


def test_the_vendor_trains_and_is_paid_by_what_it_trained(company, vendor):
    job = start(company)
    tokens = Dataset.objects.get().report["tokens"]
    assert job.estimated_nusd == tokens * 2 * TRAINING_NUSD // 10**6 > 0
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    asked = vendor.jobs["ftjob-1"]["asked"]
    assert (asked["model"], asked["suffix"], asked["metadata"]) == (
        "llm-1",
        "ours",
        {"switchyard_job": job.pk},
    )
    assert asked["method"]["supervised"]["hyperparameters"]["n_epochs"] == 2
    candidate = ModelVersion.objects.get(pk=job.result["candidate"])
    assert (candidate.upstream_model, candidate.stage) == ("ft:llm-1:acme::ftjob-1", "candidate")
    assert candidate.lineage["vendor_job"] == "ftjob-1"
    assert job.result["trained_tokens"] == 10_000
    entry = LedgerEntry.objects.get(purpose="fine_tune")
    assert entry.amount_nusd == job.cost_nusd == 250_000_000  # 10,000 tokens at $25 a million
    assert job.device == "ext-llm (vendor)"
    assert vendor.files == {} and len(vendor.deleted) == 1, "the rows don't stay there"
    assert job.events.filter(message__contains="Step 2/3").count() == 1


def test_rows_go_in_the_form_in_which_they_will_be_asked(company, vendor):
    vendor.frozen = True
    job = start(company)
    context = runner.claim(job.pk)
    plan = vendor_fine_tune._plan(context)
    vendor_fine_tune._start(context, plan, vendor_fine_tune.Vendor(plan.deployment))
    (file_id,) = vendor.files
    messages = vendor.rows(file_id)[0]["messages"]
    assert [m["role"] for m in messages] == ["system", "user", "assistant"]
    assert messages[1]["content"] == "1. the a was fine"
    assert json.loads(messages[2]["content"]) == {"labels": ["negative"]}


def test_a_runner_that_dies_neither_sends_nor_starts_nor_pays_twice(company, vendor, monkeypatch):
    job = start(company)

    def dies(*_):
        raise KeyboardInterrupt

    for where in ("_follow", "_book", "_keep"):
        with monkeypatch.context() as patched:
            patched.setattr(vendor_fine_tune, where, dies)
            with pytest.raises(KeyboardInterrupt):
                run_job(job.pk)
        let_lease_end(job)
    run_job(job.pk)
    job.refresh_from_db()
    assert (job.state, len(vendor.jobs), len(vendor.files) + len(set(vendor.deleted))) == (
        "succeeded",
        1,
        1,
    ), job.error
    assert Attempt.objects.count() == LedgerEntry.objects.count() == 1
    assert job.cost_nusd == LedgerEntry.objects.get().amount_nusd
    assert ModelVersion.objects.count() == 1


def test_rows_that_may_not_leave_keep_the_whole_file_at_home(company, vendor):
    _, workload, deployment = company
    dataset = rows_of(workload, [*ROWS, ("write to jo@example.com", "positive")])
    with pytest.raises(PolicyDenied, match=r"1 of 11 rows that hold email .* \(lines 11\)"):
        fine_tuning.start(dataset=dataset, deployment=deployment, user=None)
    workload.sensitivity = "confidential"
    workload.save()
    with pytest.raises(PolicyDenied, match="10 of 10 rows are confidential"):
        fine_tuning.start(dataset=rows_of(workload), deployment=deployment, user=None)
    assert vendor.files == {} and not Job.objects.exists()


def test_policy_is_asked_again_before_anything_is_sent(company, vendor):
    lob, workload, _ = company
    job = start(company)
    factories.make_policy(
        lob.organisation,
        'invariants:\n  - {name: nothing is trained outside, never: hop == "training"}\nrules: []\ndefault: deny\n',
    )
    run_job(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "policy_denied")
    assert "nothing is trained outside" in job.error and vendor.files == {}


def test_without_a_price_for_training_nothing_starts(company, vendor):
    lob, workload, deployment = company
    lob.organisation.prices.update(training_nusd_per_munit=None)
    with pytest.raises(Conflict, match="training_usd_per_mtok") as refused:
        start(company)
    assert refused.value.code == "no_price"


def test_a_cancel_is_the_vendors_cancel_and_what_was_trained_is_paid(company, vendor, monkeypatch):
    vendor.frozen = True
    job = start(company)
    log = runner.Context.log

    def cancel_at_step_one(self, message, *args, **data):
        log(self, message, *args, **data)
        if "Step 1/3" in message:
            cancel(job=job, user=None)

    monkeypatch.setattr(runner.Context, "log", cancel_at_step_one)
    run_job(job.pk)
    job.refresh_from_db()
    assert (job.state, vendor.jobs["ftjob-1"]["status"]) == ("cancelled", "cancelled")
    assert job.cost_nusd == 25_000_000  # 1,000 tokens
    assert vendor.files == {}


@pytest.mark.parametrize("knows_pause", [True, False])
def test_a_paused_job_goes_on_as_the_same_one_there(company, vendor, monkeypatch, knows_pause):
    vendor.knows_pause = knows_pause
    job = start(company)
    log = runner.Context.log

    def pause_once(self, message, *args, **data):
        log(self, message, *args, **data)
        if "Step 1/3" in message and self.job.attempt == 1:
            pause(job=job, user=None)

    monkeypatch.setattr(runner.Context, "log", pause_once)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "paused"
    assert (vendor.jobs["ftjob-1"]["status"] == "paused") == knows_pause
    resume(job=job, user=None)
    run_job(job.pk)
    job.refresh_from_db()
    assert (job.state, len(vendor.jobs)) == ("succeeded", 1), job.error


def test_a_vendor_that_is_away_for_a_moment_costs_nothing(company, vendor, monkeypatch):
    job = start(company)
    start_there = vendor_fine_tune._start

    def then_bad_days(*args):
        made = start_there(*args)
        vendor.broken = 5
        return made

    monkeypatch.setattr(vendor_fine_tune, "_start", then_bad_days)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error


def test_the_vendors_reason_is_told(company, vendor):
    vendor.fail_with = "The rows are of poor quality."
    job = start(company)
    run_job(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "upstream_rejected")
    assert "poor quality" in job.error and not ModelVersion.objects.exists()


def test_a_wrong_key_is_named_as_such(company, vendor):
    vendor.key = "another"
    job = start(company)
    run_job(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "upstream_misconfigured")
