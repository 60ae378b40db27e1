import pytest
from django.core.management import CommandError, call_command

from switchyard.jobs import runner
from switchyard.jobs.management.commands import jobs as command
from switchyard.jobs.models import Job
from tests.factories import make_lob
from tests.switchyard.jobs.people import make_job

pytestmark = pytest.mark.django_db


def told(capsys, *words):
    call_command("jobs", *words)
    return capsys.readouterr().out


def test_jobs_are_listed_and_narrowed(capsys):
    one = make_job()
    other = make_job(lob=make_lob(one.organisation, "legal"), kind="fine_tune", queue="training")
    assert [line.split()[0] for line in told(capsys, "list").splitlines()] == [other.pk, one.pk]
    assert told(capsys, "list", "--lob", "legal").split()[0] == other.pk
    assert told(capsys, "list", "--state", "running") == ""
    assert len(told(capsys, "list", "--limit", "1").splitlines()) == 1


def test_one_is_shown_by_the_end_of_its_id_with_its_log(capsys):
    job = make_job()
    shown = told(capsys, "show", job.pk[-8:].lower())
    assert job.pk in shown and "customer-service" in shown and "submitted" in shown
    with pytest.raises(CommandError, match="No job"):
        call_command("jobs", "show", "nothing")


def test_what_pages_do_the_command_does(capsys):
    job = make_job()
    assert "paused" in told(capsys, "pause", job.pk)
    assert "queued" in told(capsys, "resume", job.pk)
    assert "cancelled" in told(capsys, "cancel", job.pk)
    assert "queued" in told(capsys, "retry", job.pk)
    runner.claim(job.pk)
    assert "running: asked to cancel" in told(capsys, "cancel", job.pk)
    Job.objects.update(state="succeeded")
    with pytest.raises(CommandError, match="succeeded"):
        call_command("jobs", "cancel", job.pk)


def test_watch_follows_to_the_end(capsys, monkeypatch):
    job = make_job()

    def meanwhile(_):
        runner.run(job.pk, lambda context: context.log("half way") or {})

    monkeypatch.setattr(command.time, "sleep", meanwhile)
    shown = told(capsys, "watch", job.pk)
    assert [line.split()[-1] for line in shown.splitlines()[:4]] == [
        "submitted",
        "started",
        "way",
        "succeeded",
    ]
    failed = make_job()
    monkeypatch.setattr(command.time, "sleep", lambda _: runner.run(failed.pk, lambda context: 1 / 0))
    with pytest.raises(CommandError, match="ZeroDivisionError"):
        call_command("jobs", "watch", failed.pk)
