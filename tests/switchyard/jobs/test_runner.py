import errno
import threading
import time

import pytest

from switchyard.core.errors import InvalidRequest
from switchyard.jobs import heart, runner, services
from switchyard.jobs.meter import Meter
from switchyard.jobs.models import Job, JobEvent
from tests.switchyard.jobs.people import let_lease_end, make_job

pytestmark = pytest.mark.django_db


def test_a_recipe_runs_to_its_result_with_progress_and_log():
    job = make_job()

    def recipe(context):
        context.progress(0.5, "half way", loss=0.25)
        context.device("CPU, CPUExecutionProvider")
        return {"accuracy": 0.9}

    done = runner.run(job.pk, recipe)
    assert (done.state, done.result, done.progress, done.attempt) == ("succeeded", {"accuracy": 0.9}, 1.0, 1)
    assert done.device == "CPU, CPUExecutionProvider"
    assert done.started_at <= done.finished_at
    assert done.lease_until is None
    log = list(JobEvent.objects.filter(job=job).values_list("message", "data"))
    assert ("half way", {"loss": 0.25}) in log
    assert [message for message, _ in log] == ["submitted", "started", "half way", "succeeded"]


def full_in_python(context):
    raise OSError(errno.ENOSPC, "No space left on device")


def full_in_a_library(context):
    from safetensors import SafetensorError

    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def full_behind_another(context):
    try:
        full_in_python(context)
    except OSError as error:
        raise RuntimeError("unexpected pos 576 vs 534") from error


@pytest.mark.parametrize("recipe", [full_in_python, full_in_a_library, full_behind_another])
def test_a_full_disk_is_told_as_one_and_the_job_can_be_retried(recipe):
    job = make_job()
    done = runner.run(job.pk, recipe)
    assert (done.state, done.error_code) == ("failed", "disk_full")
    assert "Make room" in done.error and "retry" in done.error
    services.retry(job=done, user=None)
    assert runner.run(job.pk, lambda context: {}).state == "succeeded"


def test_a_file_that_is_missing_is_no_full_disk():
    job = make_job()

    def recipe(context):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "rows")

    assert runner.run(job.pk, recipe).error_code == "internal_error"


def test_a_second_message_of_the_same_job_does_nothing():
    job = make_job()
    runner.run(job.pk, lambda context: {})
    assert runner.run(job.pk, lambda context: pytest.fail("ran twice")) is None


def test_a_job_in_work_is_not_taken_while_its_lease_holds():
    job = make_job()
    assert runner.claim(job.pk) is not None
    assert runner.claim(job.pk) is None


def test_the_slower_of_two_runners_can_write_nothing_any_more():
    job = make_job()
    slow = runner.claim(job.pk)
    let_lease_end(job)
    quick = runner.claim(job.pk)
    assert quick.fence == slow.fence + 1
    for write in (
        lambda: slow.progress(0.9, "I am still here"), lambda: slow.log("so am I"), lambda: slow.device("GPU"),
    ):  # fmt: skip
        with pytest.raises(runner.Fenced):
            write()
    assert slow.should_stop()
    quick.progress(0.4, "mine")
    job.refresh_from_db()
    assert (job.progress, job.message, job.device) == (0.4, "mine", "")
    assert not JobEvent.objects.filter(message="so am I").exists()


def test_a_runner_that_lost_its_job_ends_nothing_and_books_nothing():
    job, booked = make_job(), []

    def recipe(context):
        let_lease_end(job)
        assert runner.claim(job.pk) is not None  # somebody else, meanwhile
        return {"answer": "void"}

    runner.run(job.pk, recipe, settle=booked.append)
    job.refresh_from_db()
    assert (job.state, job.result, booked) == ("running", {}, [])


def test_a_readable_error_fails_the_job_without_a_traceback():
    job = make_job()

    def recipe(context):
        raise InvalidRequest("Three rows are too few.")

    done = runner.run(job.pk, recipe)
    assert (done.state, done.error) == ("failed", "Three rows are too few.")
    assert not JobEvent.objects.filter(job=job, level="error").exists()


def test_an_unforeseen_error_names_itself_and_leaves_its_trace_in_the_log():
    job = make_job()
    done = runner.run(job.pk, lambda context: {}["label"])
    assert (done.state, done.error) == ("failed", "KeyError: 'label'")
    assert "Traceback" in JobEvent.objects.get(job=job, level="error").data["trace"]


@pytest.mark.parametrize(("ask", "state"), [("cancel", "cancelled"), ("pause", "paused")])
def test_a_running_job_stops_when_it_next_looks(ask, state, monkeypatch):
    monkeypatch.setattr(runner, "LOOK_EVERY_S", 0.0)
    job = make_job()

    def recipe(context):
        context.check()
        getattr(services, ask)(job=job, user=None)
        context.check()
        pytest.fail("went on")

    done = runner.run(job.pk, recipe)
    assert (done.state, done.cancel_requested, done.pause_requested) == (state, False, False)
    assert (done.finished_at is None) == (state == "paused")


def test_it_looks_often_enough_to_stop_within_fifteen_seconds():
    assert runner.LOOK_EVERY_S <= 5
    assert heart.LOOK_S * 2 + heart.GRACE_S < 15


@pytest.mark.parametrize(("ask", "state"), [("cancel", "cancelled"), ("pause", "paused")])
def test_work_that_never_looks_up_is_stopped_where_it_is(ask, state, monkeypatch, transactional_db):
    monkeypatch.setattr(heart, "LOOK_S", 0.05)
    monkeypatch.setattr(heart, "GRACE_S", 0.2)
    monkeypatch.setattr(heart, "AGAIN_S", 0.2)
    job, caught = make_job(), []

    def recipe(context):
        getattr(services, ask)(job=job, user=None)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                sum(range(1000))
            except runner.Stopped:  # what swallows it once is stopped the next time
                if caught:
                    raise
                caught.append(1)
        return {}

    done = runner.run(job.pk, recipe)
    assert (done.state, caught) == (state, [1])


def test_work_that_ends_while_it_is_being_stopped_ends_once(monkeypatch, transactional_db):
    monkeypatch.setattr(heart, "LOOK_S", 0.02)
    monkeypatch.setattr(heart, "GRACE_S", 0.05)
    for pause_s in (0.0, 0.03, 0.06, 0.09, 0.12):
        job = make_job()

        def recipe(context, job=job, pause_s=pause_s):
            services.cancel(job=job, user=None)
            time.sleep(pause_s)
            return {"through": True}

        done = runner.run(job.pk, recipe)
        assert done.state in ("succeeded", "cancelled")
        assert done.events.filter(message=done.state).count() == 1


def test_a_paused_job_goes_on_when_resumed_and_is_never_quarantined_for_pauses(monkeypatch):
    monkeypatch.setattr(runner, "LOOK_EVERY_S", 0.0)
    job = make_job()

    def pausing(context):
        services.pause(job=job, user=None)
        context.check()

    for _ in range(5):
        assert runner.run(job.pk, pausing).state == "paused"
        services.resume(job=job, user=None)
    assert runner.run(job.pk, lambda context: {"went": "on"}).state == "succeeded"


def test_the_fourth_attempt_without_progress_ends_in_quarantine():
    job = make_job()
    for attempt in (1, 2, 3):
        context = runner.claim(job.pk)
        assert context.job.attempt == attempt
        if attempt == 1:
            context.progress(0.1, "reading rows")
        else:
            context.progress(0.1, "reading rows again")  # no further than before
        let_lease_end(job)
    assert runner.claim(job.pk) is not None  # the first attempt got somewhere: it does not count
    let_lease_end(job)
    assert runner.claim(job.pk) is None
    job.refresh_from_db()
    assert job.state == "quarantined"
    assert "without getting further" in job.error
    assert runner.claim(job.pk) is None


def test_attempts_that_get_further_are_not_counted():
    job = make_job()
    for step in range(1, 8):
        context = runner.claim(job.pk)
        context.progress(step / 10, f"step {step}")
        let_lease_end(job)
    job.refresh_from_db()
    assert (job.state, job.attempt, job.stalled) == ("running", 7, 0)


def test_the_heart_renews_the_lease_while_the_recipe_is_busy(settings, transactional_db):
    settings.SWITCHYARD = settings.SWITCHYARD | {"JOB_HEARTBEAT_S": 0.05}
    job, leases = make_job(), []

    def recipe(context):
        for _ in range(2):
            leases.append(Job.objects.get(pk=job.pk).lease_until)
            time.sleep(0.3)
        return {}

    assert runner.run(job.pk, recipe).state == "succeeded"
    assert leases[1] > leases[0]
    assert not [thread for thread in threading.enumerate() if thread.name == f"heart-{job.pk}"]


def test_compute_of_attempts_that_died_is_kept_on_the_row():
    job = make_job()
    first = runner.claim(job.pk)
    first.meter.add(1000)
    first.progress(0.2, "working")
    let_lease_end(job)
    second = runner.claim(job.pk)
    second.meter.add(500)
    second.progress(0.4, "working")
    job.refresh_from_db()
    assert job.accelerator_ns == 1500


def test_settle_sees_the_final_row_in_the_same_transaction():
    job, seen = make_job(), []

    def recipe(context):
        context.meter.add(7)
        return {}

    runner.run(job.pk, recipe, settle=lambda row: seen.append((row.state, row.accelerator_ns, row.lob.slug)))
    assert seen == [("succeeded", 7, "customer-service")]


def test_waiting_costs_nothing_and_computing_never_more_than_the_wall():
    meter = Meter()
    with meter.running():
        time.sleep(0.05)
    assert meter.read() < 20_000_000
    began = time.perf_counter_ns()
    with meter.running():
        sum(i * i for i in range(200_000))
        inside = meter.read()
    assert 0 < inside <= meter.read() <= time.perf_counter_ns() - began + 20_000_000
    with meter.running(on_cpu=False):
        time.sleep(0.05)
    assert meter.read() > 50_000_000
