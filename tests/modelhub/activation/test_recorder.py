"""The recorder counts every sampled request once, minute by minute."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from modelhub.ml.activation import recorder as recording
from modelhub.ml.activation.recorder import ActivationRecorder


class Clock:
    def __init__(self) -> None:
        self.now = 600.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def counts(*rows: list[int]) -> np.ndarray:
    return np.array(rows)


def test_a_window_is_handed_out_when_its_minute_is_over(clock):
    recorder = ActivationRecorder(clock=clock)
    recorder.record("txt-base", "terms-review", "Other", counts([1, 2], [3, 0]), tokens=3)
    recorder.record("txt-base", "terms-review", "Other", counts([0, 3], [1, 2]), tokens=3)
    assert recorder.after(0)["windows"] == []
    clock.now += 60
    (window,) = recorder.after(0)["windows"]
    assert window["number"] == 10
    assert window["sums"] == [
        {"model": "txt-base", "head": "terms-review", "label": "Other", "requests": 2, "tokens": 6,
         "counts": [[1, 5], [4, 2]]}
    ]  # fmt: skip


def test_a_reader_who_remembers_the_last_number_counts_nothing_twice(clock):
    recorder = ActivationRecorder(clock=clock)
    for minute in range(3):
        recorder.record("m", "h", "", counts([minute + 1]), tokens=1)
        clock.now += 60
    seen = recorder.after(0)["windows"]
    assert [w["number"] for w in seen] == [10, 11, 12]
    assert [w["number"] for w in recorder.after(11)["windows"]] == [12]
    assert recorder.after(12)["windows"] == []


def test_a_reader_who_crashed_before_storing_gets_the_same_windows_again(clock):
    recorder = ActivationRecorder(clock=clock)
    recorder.record("m", "h", "", counts([1]), tokens=1)
    clock.now += 60
    assert recorder.after(9) == recorder.after(9)


def test_windows_that_nobody_fetches_are_dropped_and_counted(clock, monkeypatch):
    monkeypatch.setattr(recording, "KEPT_WINDOWS", 2)
    recorder = ActivationRecorder(clock=clock)
    for _ in range(5):
        recorder.record("m", "h", "", counts([1]), tokens=1)
        clock.now += 60
    found = recorder.after(0)
    assert len(found["windows"]) == 2 and found["dropped_windows"] == 3


def test_too_many_labels_share_one_line_and_lose_no_count(clock, monkeypatch):
    monkeypatch.setattr(recording, "MAX_KEYS", 2)
    recorder = ActivationRecorder(clock=clock)
    for label in "abcd":
        recorder.record("m", "h", label, counts([1]), tokens=1)
    clock.now += 60
    (window,) = recorder.after(0)["windows"]
    assert {s["label"]: s["counts"] for s in window["sums"]} == {"a": [[1]], "b": [[1]], "": [[2]]}


@pytest.mark.parametrize("bad", [[1, 2], [[-1, 2]], [[float("nan"), 1.0]]])
def test_what_is_no_table_of_counts_is_refused(bad):
    with pytest.raises(ValueError, match="table of counts"):
        ActivationRecorder().record("m", "h", "", np.array(bad), tokens=1)


def test_threads_lose_nothing(clock):
    recorder = ActivationRecorder(clock=clock)

    def work() -> None:
        for _ in range(200):
            recorder.record("m", "h", "", counts([1, 2]), tokens=3)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.now += 60
    (window,) = recorder.after(0)["windows"]
    assert window["sums"][0]["counts"] == [[800, 1600]] and window["sums"][0]["requests"] == 800


def test_the_mark_of_an_earlier_run_hides_nothing(clock):
    recorder = ActivationRecorder(clock=clock)
    recorder.record("m", "h", "", counts([1]), tokens=1)
    clock.now += 60
    assert recorder.after(99, boot="another")["windows"]
    assert recorder.after(99, boot=recorder.boot)["windows"] == []
