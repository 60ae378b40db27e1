from datetime import timedelta

import pytest

from switchyard.core.clock import now
from switchyard.jobs import reaper, runner, services
from switchyard.jobs.models import Job, JobEvent
from tests.switchyard.jobs.people import let_lease_end, make_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def woken(monkeypatch):
    ids = []
    monkeypatch.setattr(services.current_app, "send_task", lambda name, args, queue, retry: ids.extend(args))
    return ids


def test_a_job_whose_runner_died_is_queued_again_behind_a_new_fence(woken):
    job = make_job()
    dead = runner.claim(job.pk)
    assert reaper.reap() == 0  # its lease still holds
    let_lease_end(job)
    assert reaper.reap() == 1
    job.refresh_from_db()
    assert (job.state, job.fence, woken) == ("queued", dead.fence + 1, [job.pk])
    with pytest.raises(runner.Fenced):
        dead.progress(0.5, "not dead after all")
    assert "died" in JobEvent.objects.filter(job=job).last().message


@pytest.mark.parametrize(("asked", "state"), [("cancel", "cancelled"), ("pause", "paused")])
def test_what_was_asked_of_a_dead_runner_is_done_in_its_place(asked, state, woken):
    job = make_job()
    runner.claim(job.pk)
    getattr(services, asked)(job=job, user=None)
    let_lease_end(job)
    assert reaper.reap() == 0
    job.refresh_from_db()
    assert (job.state, job.cancel_requested, job.pause_requested, woken) == (state, False, False, [])


def test_a_row_whose_message_was_never_sent_is_woken(woken):
    job = make_job()
    assert reaper.reap() == 0  # just made: its message may be on the way
    Job.objects.filter(pk=job.pk).update(created_at=now() - timedelta(seconds=30))
    assert reaper.reap() == 1
    assert woken == [job.pk]
    assert reaper.reap() == 0  # told a moment ago


def test_a_message_that_died_with_the_broker_is_sent_again_later(woken):
    job = make_job()
    Job.objects.filter(pk=job.pk).update(woken_at=now() - timedelta(seconds=400))
    assert reaper.reap() == 1
    assert woken == [job.pk]


def test_jobs_that_ended_or_are_paused_are_left_alone(woken):
    for state in ("succeeded", "failed", "cancelled", "quarantined", "paused"):
        job = make_job()
        Job.objects.filter(pk=job.pk).update(
            state=state, created_at=now() - timedelta(days=1), lease_until=now() - timedelta(days=1)
        )
    assert reaper.reap() == 0
