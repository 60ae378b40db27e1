import pytest
import redis

from costs.budgets import client, headroom
from costs.models import LedgerEntry
from costs.selectors import limit_of
from modelhub import tasks
from modelhub.services import job_costs, reservations
from modelhub.services.running import run_one
from switchyard.core.errors import BudgetExhausted
from switchyard.jobs import runner
from switchyard.jobs.models import Job
from switchyard.jobs.services import cancel, resume
from tests.factories import make_budget, make_deployment, make_lob, make_organisation
from tests.switchyard.jobs.people import let_lease_end, make_job

pytestmark = pytest.mark.django_db(transaction=True)
HOUR_NS = 3_600_000_000_000
HOUR_NUSD = 100_000_000  # the factories' node


@pytest.fixture
def lob(valkey, settings):
    settings.REDIS_URL = valkey.url
    redis.Redis.from_url(valkey.url).flushall()
    lob = make_lob(make_organisation())
    make_deployment(lob.organisation, "private-sparse", "private")
    return lob


def job_of(lob, estimate=HOUR_NUSD):
    job = make_job(lob=lob, params={"deployment": "private-sparse", "workload": "w"}, estimated_nusd=estimate)
    reservations.reserve(job, estimate)
    return job


def held(budget):
    with client() as connection:
        return headroom(limit_of(budget), connection).reserved_nusd


def spent(budget):
    with client() as connection:
        return headroom(limit_of(budget), connection).spent_nusd


RECIPES = {"evaluation": "tests.modelhub.services.test_reservations"}


def run(context):
    """As a recipe module: computes as long as the test says, in steps of a tenth."""
    for step in range(round(context.job.progress * 10) + 1, 11):
        context.meter.add(context.params.get("ns", HOUR_NS) // 10)
        context.progress(step / 10, f"step {step}")
        context.check()
    return {"done": True}


def test_money_is_held_from_submission_to_the_books(lob):
    whole, own = (
        make_budget(lob.organisation, usd="1.00"),
        make_budget(lob.organisation, "lob:customer-service", usd="1.00"),
    )
    job = job_of(lob)
    assert held(whole) == held(own) == HOUR_NUSD
    ended = run_one(job, RECIPES)
    assert (ended.state, ended.reserved_nusd, ended.cost_nusd) == ("succeeded", 0, HOUR_NUSD)
    assert held(whole) == held(own) == 0
    assert spent(whole) == spent(own) == HOUR_NUSD, "it counts as spent at once"
    assert LedgerEntry.objects.get().amount_nusd == HOUR_NUSD


def test_a_budget_without_room_refuses_and_holds_nothing(lob):
    budget = make_budget(lob.organisation, "lob:customer-service", usd="0.15", action="stop")
    job_of(lob)
    with pytest.raises(BudgetExhausted, match="this job may cost up to"):
        job_of(lob)
    assert held(budget) == HOUR_NUSD
    make_budget(lob.organisation, "lob:customer-service", usd="0.01", action="warn", period="day")
    neighbour = make_lob(lob.organisation, "legal")
    job_of(neighbour)
    assert held(budget) == HOUR_NUSD, "the neighbour's job stands in its own budgets"


def test_a_dearer_job_holds_more_or_pauses_where_it_is(lob, monkeypatch):
    monkeypatch.setattr(runner, "LOOK_EVERY_S", 0.0)
    budget = make_budget(lob.organisation, "lob:customer-service", usd="0.20", action="stop")
    job = job_of(lob, estimate=HOUR_NUSD // 4)  # it will cost four times that
    Job.objects.filter(pk=job.pk).update(params=job.params | {"ns": HOUR_NS})
    ended = run_one(Job.objects.get(pk=job.pk), RECIPES)
    assert (ended.state, ended.cost_nusd) == ("succeeded", HOUR_NUSD)

    other = job_of(lob, estimate=HOUR_NUSD // 4)  # 0.10 is left, and it wants 0.40
    Job.objects.filter(pk=other.pk).update(params=other.params | {"ns": 4 * HOUR_NS})
    ended = run_one(Job.objects.get(pk=other.pk), RECIPES)
    assert ended.state == "paused" and "has no room for this job" in ended.message
    assert 0 < ended.progress < 0.5 and ended.reserved_nusd == 0 == held(budget)
    assert ended.cost_nusd == pytest.approx(4 * HOUR_NUSD * ended.progress), "what was computed is paid"

    resume(job=ended, user=None)
    again = run_one(Job.objects.get(pk=other.pk), RECIPES)
    assert again.state == "paused" and again.progress == ended.progress, (
        "still no money: nothing more is spent"
    )
    assert spent(budget) == HOUR_NUSD + ended.cost_nusd <= budget.limit_nusd
    budget.limit_nusd = 10 * HOUR_NUSD
    budget.save()
    resume(job=again, user=None)
    done = run_one(Job.objects.get(pk=other.pk), RECIPES)
    assert (done.state, done.cost_nusd) == ("succeeded", 4 * HOUR_NUSD)
    assert (
        sum(LedgerEntry.objects.filter(job_id=other.pk).values_list("amount_nusd", flat=True))
        == 4 * HOUR_NUSD
    )


def test_what_ended_without_its_runner_gives_its_money_back(lob):
    budget = make_budget(lob.organisation, usd="1.00")
    waiting, dead = job_of(lob), job_of(lob)
    cancel(job=waiting, user=None)
    context = runner.claim(dead.pk)
    context.meter.add(HOUR_NS // 2)
    context.write()
    cancel(job=dead, user=None)
    let_lease_end(dead)
    assert held(budget) == 2 * HOUR_NUSD
    for _ in range(2):
        tasks.reap()
    assert held(budget) == 0
    assert LedgerEntry.objects.get().amount_nusd == HOUR_NUSD // 2


def test_counters_that_were_lost_say_again_what_the_rows_say(lob, valkey):
    budget = make_budget(lob.organisation, usd="1.00")
    job_of(lob)
    redis.Redis.from_url(valkey.url).flushall()
    assert held(budget) == 0
    reservations.release_ended()
    assert held(budget) == HOUR_NUSD
    Job.objects.all().delete()  # as if its transaction had never ended
    reservations.release_ended()
    assert held(budget) == HOUR_NUSD, "a hold may come before its row: it is doubted first"
    reservations.release_ended()
    assert held(budget) == 0


def test_without_counters_the_ledger_decides(lob, settings):
    settings.REDIS_URL = "unix:///nowhere/valkey.sock"
    make_budget(lob.organisation, usd="0.15", action="stop")
    job_of(lob)
    with pytest.raises(BudgetExhausted):
        job_of(lob)


def test_every_kind_that_is_charged_has_an_estimate_of_its_own():
    assert set(tasks.RECIPES) - {"verify_books", "migration", "what_if", "import", "probe"} <= set(
        job_costs.USUAL_NS_PER_ROW
    )
