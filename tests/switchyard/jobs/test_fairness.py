import pytest

from switchyard.core.clock import now
from switchyard.jobs import runner
from switchyard.jobs.fairness import next_job
from switchyard.jobs.models import Job
from switchyard.jobs.pace import Pace
from tests.factories import make_lob
from tests.switchyard.jobs.people import make_job

pytestmark = pytest.mark.django_db
KINDS = ("evaluation",)


@pytest.fixture
def lobs():
    first = make_lob()
    return first, make_lob(first.organisation, "legal"), make_lob(first.organisation, "plant")


def take(named=None):
    return next_job(named, queue="default", kinds=KINDS)


def done(job, ns):
    Job.objects.filter(pk=job.pk).update(state="succeeded", accelerator_ns=ns, finished_at=now())


def test_one_job_is_not_starved_by_five_hundred(lobs):
    service, legal, _ = lobs
    many = [make_job(lob=service) for _ in range(30)]
    one = make_job(lob=legal)
    assert take(many[0]) == many[0], "nobody has computed yet: the longest waiting is first"
    done(many[0], 1_000)
    assert take(many[1]) == one, "the message names another's job, and the hand is given to the neighbour"
    done(one, 10)
    assert take(many[2]).lob_id == service.pk


def test_lines_of_business_alternate_by_what_they_used(lobs):
    jobs = {lob: [make_job(lob=lob) for _ in range(4)] for lob in lobs}
    order = []
    for _ in range(12):
        job = take()
        order.append(job.lob.slug)
        done(job, 100 if job.lob.slug != "plant" else 300)
    assert set(order[:3]) == {"customer-service", "legal", "plant"}
    assert order[3:7].count("plant") <= 1, "who computes three times as long comes a third as often"
    assert len(order) == 12 and not next_job(None, queue="default", kinds=KINDS)
    assert all(Job.objects.filter(lob=lob, state="succeeded").count() == 4 for lob in jobs)


def test_who_has_a_worker_waits_for_those_who_have_none(lobs):
    service, legal, _ = lobs
    running, waiting = make_job(lob=service), make_job(lob=service)
    Job.objects.filter(pk=running.pk).update(state="running")
    late = make_job(lob=legal)
    done(make_job(lob=legal), 10**9)
    assert take(waiting) == late


def test_within_a_line_of_business_the_named_job_is_taken_and_else_the_oldest(lobs):
    service = lobs[0]
    first, second = make_job(lob=service), make_job(lob=service)
    assert take(second) == second
    done(second, 0)
    assert take(Job.objects.get(pk=second.pk)) == first
    assert next_job(None, queue="training", kinds=KINDS) is None
    assert next_job(None, queue="default", kinds=("fine_tune",)) is None


def test_the_end_is_told_by_the_measured_pace():
    pace, began = Pace(), now()
    assert pace.reached(0.0, 100.0) is None
    assert pace.reached(0.1, 100.5) is None, "half a second says nothing yet"
    end = pace.reached(0.2, 120.0)
    assert (end - began).total_seconds() == pytest.approx(80, abs=2)
    for step in range(1, 10):  # twice as fast from here on: the end comes closer
        end = pace.reached(0.2 + step / 50, 120.0 + step)
    assert (end - now()).total_seconds() < 50
    assert pace.reached(0.38, 160.0) > end, "standing still pushes the end away"


def test_the_row_says_when_it_will_end_and_forgets_it_at_the_end(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("switchyard.jobs.pace.time.monotonic", lambda: clock[0])
    job = make_job()

    def recipe(context):
        for share in (0.1, 0.2, 0.3):
            clock[0] += 10
            context.progress(share, "on")
        row = Job.objects.get(pk=job.pk)
        assert (row.eta - now()).total_seconds() == pytest.approx(70, abs=3)
        context.mark("trained")
        context.mark("trained")
        return {}

    ended = runner.run(job.pk, recipe)
    assert ended.eta is None and set(ended.marks) == {"trained"}


def test_a_watch_pauses_with_its_reason_and_only_then(monkeypatch):
    monkeypatch.setattr(runner, "LOOK_EVERY_S", 0.0)
    job, looks = make_job(), []

    def watch(context):
        looks.append(context.reached)
        return "no money is left" if context.reached >= 0.5 else ""

    def recipe(context):
        for share in (0.25, 0.5, 0.75):
            context.progress(share, "on")
            context.check()
        pytest.fail("went on")

    ended = runner.run(job.pk, recipe, watch=watch)
    assert (ended.state, ended.message) == ("paused", "paused: no money is left")
    assert looks == [0.25, 0.5]
    assert ended.events.last().message == "paused: no money is left"
