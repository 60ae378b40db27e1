"""Devices are measured once, by a process of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from modelhub.hal import tune_cache
from modelhub.services import devices
from switchyard.demo.schedule import SCHEDULE


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


def test_beat_sends_it():
    assert "modelhub.tune_devices" in {beat.task for beat in SCHEDULE}
