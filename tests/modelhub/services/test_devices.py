"""Devices are measured once, by a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelhub.hal import tune_cache
from modelhub.services import devices
from switchyard.demo.schedule import SCHEDULE
from switchyard.jobs.services import submit_once
from tests.factories import make_lob, make_organisation


@pytest.fixture
def home(settings: Any, tmp_path: Path) -> Path:
    settings.HOME = tmp_path
    return tmp_path


def test_a_home_that_was_never_tuned_is_tuned_on_one_thread(home: Path):
    asked: list[Any] = []

    def run(words: list[str], **options: Any) -> Any:
        asked.append((words[-2:], options["env"]["OMP_NUM_THREADS"], options["env"]["SWITCHYARD_HOME"]))
        assert Path(words[1]).is_file()
        return subprocess.CompletedProcess(words, 0, "", "")

    assert devices.tune_if_due(run)
    assert asked == [(["hal", "tune"], "1", str(home))]


def test_a_home_tuned_lately_is_left_alone_and_an_old_one_is_looked_at_again(home: Path):
    path = tune_cache.keep_backends([], home)

    def run(words: list[str], **options: Any) -> Any:
        return subprocess.CompletedProcess(words, 0, "", "")

    assert not devices.tune_if_due(run)
    old = path.stat().st_mtime - devices.KEPT.total_seconds() - 60
    os.utime(path, (old, old))
    assert devices.tune_if_due(run)


def test_a_tuning_that_fails_or_hangs_is_told_and_tried_again_later(home: Path, caplog: Any):
    def fails(words: list[str], **options: Any) -> Any:
        return subprocess.CompletedProcess(words, 1, "", "no space left on device")

    def hangs(words: list[str], **options: Any) -> Any:
        raise subprocess.TimeoutExpired(words, options["timeout"])

    assert not devices.tune_if_due(fails) and "no space left on device" in caplog.text
    assert not devices.tune_if_due(hangs) and "was ended" in caplog.text


def test_it_ends_when_a_job_waits_for_its_worker_and_goes_on_another_time(
    home: Path, monkeypatch: Any, caplog: Any
):
    """A real process that would sleep for an hour; the job comes at the second look."""
    looks: list[bool] = []
    monkeypatch.setattr(devices, "LOOK_S", 0.01)
    monkeypatch.setattr(devices, "job_waits", lambda: bool(looks.append(True)) or len(looks) > 1)
    started: list[Any] = []
    popen = subprocess.Popen

    def sleeper(words: list[str], **options: Any) -> Any:
        started.append(popen([sys.executable, "-c", "import time; time.sleep(3600)"], **options))
        return started[-1]

    monkeypatch.setattr(devices.subprocess, "Popen", sleeper)
    with caplog.at_level("INFO"):
        assert not devices.tune_if_due()
    assert started[0].returncode is not None and started[0].returncode < 0
    assert "ended for a job that waits" in caplog.text


def test_what_it_says_on_its_way_out_is_kept(home: Path, monkeypatch: Any):
    monkeypatch.setattr(devices, "LOOK_S", 0.01)
    monkeypatch.setattr(devices, "job_waits", lambda: False)
    words = [sys.executable, "-c", "import sys; sys.exit('no runtime')"]
    done = devices.while_nobody_waits(words, env=dict(os.environ), timeout=60.0)
    assert (done.returncode, done.stderr.strip()) == (1, "no runtime")


@pytest.mark.django_db
def test_only_jobs_for_the_workers_that_train_count():
    lob = make_lob(make_organisation())
    job = submit_once(kind="evaluation", organisation=lob.organisation, lob=lob, params={}, queue="default")
    assert not devices.job_waits()
    type(job).objects.filter(pk=job.pk).update(queue="training")
    assert devices.job_waits()


def test_beat_sends_it():
    assert "modelhub.tune_devices" in {beat.task for beat in SCHEDULE}
