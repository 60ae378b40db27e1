import pytest

from switchyard.audit.models import AuditEvent
from switchyard.core.errors import Conflict
from switchyard.jobs import runner, services
from switchyard.jobs.models import Job
from switchyard.tenancy.querysets import scope_of
from tests.factories import make_lob, make_organisation, make_user
from tests.switchyard.jobs.people import make_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def messages(monkeypatch):
    """What was sent to workers: (task, arguments, queue)."""
    sent = []

    def send(name, args, queue, retry):
        sent.append((name, args, queue))

    monkeypatch.setattr(services.current_app, "send_task", send)
    return sent


def test_only_the_job_id_travels_and_only_after_the_commit(messages, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        job = make_job(queue="training")
        assert messages == []
    assert messages == [("modelhub.run_job", [job.pk], "training")]
    job.refresh_from_db()
    assert job.woken_at is not None


def test_a_second_submit_of_the_same_key_gives_the_live_job(messages):
    lob = make_lob()
    first = make_job(lob=lob, unique_key="evaluate:sentiment")
    assert make_job(lob=lob, unique_key="evaluate:sentiment").pk == first.pk
    assert Job.objects.count() == 1
    services.cancel(job=first, user=None)
    assert make_job(lob=lob, unique_key="evaluate:sentiment").pk != first.pk


def test_two_organisations_may_use_the_same_key(messages):
    first = make_job(lob=make_lob(make_organisation()), unique_key="same")
    second = make_job(lob=make_lob(make_organisation()), unique_key="same")
    assert first.pk != second.pk


def test_a_broker_that_is_away_leaves_the_row_waiting(monkeypatch, django_capture_on_commit_callbacks):
    def away(*args, **kwargs):
        raise ConnectionError("no broker")

    monkeypatch.setattr(services.current_app, "send_task", away)
    with django_capture_on_commit_callbacks(execute=True):
        job = make_job()
    job.refresh_from_db()
    assert (job.state, job.woken_at) == ("queued", None)


def test_a_waiting_job_is_cancelled_at_once_and_its_audit_names_who(messages):
    job = make_job()
    alice = make_user("alice", job.organisation, "admin")
    services.cancel(job=job, user=alice)
    job.refresh_from_db()
    assert (job.state, job.fence) == ("cancelled", 1)
    event = AuditEvent.objects.get(action="job.cancel_requested")
    assert (event.actor, event.target, event.lob) == ("alice", f"job:{job.pk}", "customer-service")


def test_a_running_job_is_asked_to_stop(messages):
    job = make_job()
    Job.objects.filter(pk=job.pk).update(state="running")
    services.pause(job=job, user=None)
    services.cancel(job=job, user=None)
    job.refresh_from_db()
    assert (job.state, job.pause_requested, job.cancel_requested) == ("running", True, True)


@pytest.mark.parametrize(
    ("state", "action"),
    [("succeeded", "cancel"), ("failed", "cancel"), ("cancelled", "pause"), ("queued", "resume"),
     ("running", "resume"), ("succeeded", "retry"), ("queued", "retry"), ("paused", "retry"), ("paused", "pause")],
)  # fmt: skip
def test_what_makes_no_sense_in_a_state_is_refused(state, action, messages):
    job = make_job()
    Job.objects.filter(pk=job.pk).update(state=state)
    with pytest.raises(Conflict):
        getattr(services, action)(job=job, user=None)
    job.refresh_from_db()
    assert job.state == state


def test_a_quarantined_job_can_be_retried_with_its_attempts_counted_anew(
    messages, django_capture_on_commit_callbacks
):
    job = make_job()
    Job.objects.filter(pk=job.pk).update(state="quarantined", attempt=3, stalled=3, fence=5, error="died")
    with django_capture_on_commit_callbacks(execute=True):
        services.retry(job=job, user=None)
    job.refresh_from_db()
    assert (job.state, job.attempt, job.stalled, job.fence, job.error) == ("queued", 0, 0, 6, "")
    assert messages[-1][1] == [job.pk]


def test_a_retry_beside_a_live_job_of_the_same_key_is_refused(messages):
    lob = make_lob()
    first = make_job(lob=lob, unique_key="one")
    services.cancel(job=first, user=None)
    make_job(lob=lob, unique_key="one")
    with pytest.raises(Conflict) as refused:
        services.retry(job=first, user=None)
    assert refused.value.code == "already_running"
    first.refresh_from_db()
    assert first.state == "cancelled"


def test_unknown_kinds_and_queues_are_refused(messages):
    with pytest.raises(ValueError, match="unknown"):
        make_job(kind="mine_coins")
    with pytest.raises(ValueError, match="unknown"):
        make_job(queue="nobody-listens")


def test_the_neighbour_and_charlie_see_none_of_it(messages):
    organisation = make_organisation()
    service, legal = make_lob(organisation), make_lob(organisation, "legal")
    job = make_job(lob=legal)
    alice = make_user("alice", organisation, "admin")
    bob = make_user("bob", organisation, "model_engineer", (service,))
    charlie = make_user("charlie")
    seen = [list(Job.objects.for_tenant(scope_of(user))) for user in (alice, bob, charlie)]
    assert seen == [[job], [], []]


def test_a_pause_that_has_not_come_yet_is_taken_back_by_resume():
    job = make_job()
    context = runner.claim(job.pk)
    services.pause(job=job, user=None)
    resumed = services.resume(job=job, user=None)
    assert (resumed.state, resumed.pause_requested) == ("running", False)
    assert not context.should_stop()
