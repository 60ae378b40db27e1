"""Choosing by measurement, keeping it on disk, and moving on when a backend fails."""

import json
from dataclasses import replace

import numpy as np
import pytest

from modelhub.hal import counters, dispatch
from modelhub.hal.autotune import Autotuner
from modelhub.hal.backends.reference import NumpyReference
from modelhub.hal.operators import OPERATORS
from modelhub.hal.profile import cpu_profile
from modelhub.hal.registry import NoBackend, Presence, Registry
from modelhub.hal.tune_cache import TuneCache, device_tables
from tests.fakes.devices import CrawlingDevice, FakeDevice, LyingDevice, NotANumberDevice, VanishingDevice

PROFILE = cpu_profile(threads=1)
DIMS = {"M": 5, "K": 8, "N": 4}


@pytest.fixture(autouse=True)
def counted_anew():
    counters.reset()
    yield
    counters.reset()


def tuner_of(tmp_path, *devices, timeout_s=5.0, clock=None):
    registry = Registry()
    for device in devices:
        registry.add(device)
    more = {"clock": clock} if clock else {}
    cache = TuneCache.for_device(PROFILE, tmp_path)
    return Autotuner(registry, PROFILE, cache, timeout_s=timeout_s, budget_s=0.01, **more)


def dispatched(tuner, dims=DIMS, operator="matmul"):
    return dispatch.dispatch(tuner, operator, OPERATORS[operator].sample(dims))


def prefer(run, backend):
    """Put a backend first, whatever was measured."""
    run.choice = replace(
        run.choice, order=tuple(sorted(run.choice.order, key=lambda i: i.backend != backend))
    )


def right(found, dims=DIMS):
    sample = OPERATORS["matmul"].sample(dims)
    return np.allclose(found[0], sample["a"].astype(float) @ sample["b"], atol=1e-5)


def test_the_quicker_of_two_is_chosen_whatever_their_priorities(tmp_path):
    class Slow(FakeDevice):
        def answer(self, *found):
            now[0] += 1.0
            return super().answer(*found)

    class Quick(FakeDevice):
        def answer(self, *found):
            now[0] += 0.25
            return super().answer(*found)

    now = [0.0]
    tuner = tuner_of(tmp_path, Slow("slow"), Quick("quick"), clock=lambda: now[0])
    choice = tuner.choose("matmul", DIMS)
    assert [i.backend for i in choice.order] == ["quick", "slow"]
    assert choice.reasons[0].startswith("quick/float32 (1) is chosen: median 250.000 ms")
    assert "slow/float32: 1000.000 ms, 4.00 times as long" in choice.reasons


def test_a_lying_device_is_refused_and_counted_though_it_comes_first(tmp_path):
    tuner = tuner_of(tmp_path, LyingDevice("liar"), NumpyReference())
    choice = tuner.choose("matmul", DIMS)
    assert [i.backend for i in choice.order] == ["numpy"]
    assert any("liar/float32: refused: error" in reason for reason in choice.reasons)
    assert (
        'switchyard_hal_refused_total{operator="matmul",implementation="liar/float32"} 1' in counters.render()
    )


def test_a_crawling_device_is_timed_out_and_not_chosen(tmp_path):
    crawler = CrawlingDevice("snail", quick=4)  # its examination has four cases
    choice = tuner_of(tmp_path, crawler, NumpyReference(), timeout_s=0.2).choose("matmul", DIMS)
    crawler.stop.set()
    assert [i.backend for i in choice.order] == ["numpy"]
    assert any("snail/float32: timed out" in reason for reason in choice.reasons)


def test_a_measurement_is_kept_and_not_taken_again_for_the_same_bucket(tmp_path):
    device = FakeDevice()
    tuner_of(tmp_path, device).choose("matmul", DIMS)
    calls = device.calls
    again = tuner_of(tmp_path, device).choose("matmul", {**DIMS, "M": 7})  # 5 and 7 share the bucket M8
    assert device.calls == calls and again.bucket == "M8-K8-N4"
    tuner_of(tmp_path, device).choose("matmul", {**DIMS, "M": 9})
    assert device.calls > calls


def test_another_version_of_a_runtime_is_measured_again(tmp_path):
    class Newer(FakeDevice):
        def presence(self):
            return Presence(True, "a fake device", "2")

    tuner_of(tmp_path, FakeDevice()).choose("matmul", DIMS)
    newer = Newer()
    choice = tuner_of(tmp_path, newer).choose("matmul", DIMS)
    assert newer.calls > 0 and choice.measurements[0].version == "2"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": 99, "entries": []}', '{"format": 1, "entries": [{"x": 1}]}']
)
def test_a_corrupt_cache_is_put_aside_measured_again_and_counted(tmp_path, content):
    path = TuneCache.for_device(PROFILE, tmp_path).path
    path.parent.mkdir(parents=True)
    path.write_text(content)
    tuner_of(tmp_path, FakeDevice()).choose("matmul", DIMS)
    assert path.with_suffix(".corrupt").read_text() == content
    assert len(json.loads(path.read_text())["entries"]) == 1
    assert "switchyard_hal_cache_resets_total{" in counters.render()


def test_two_processes_keep_each_others_measurements(tmp_path):
    one, two = tuner_of(tmp_path, FakeDevice("one")), tuner_of(tmp_path, FakeDevice("two"))
    one.choose("matmul", DIMS)
    two.choose("matmul", DIMS)
    ((device, entries),) = device_tables(tmp_path)
    assert {entry.backend for entry in entries} == {"one", "two"} and device["name"] == PROFILE.name


def test_no_backend_at_all_says_what_each_said(tmp_path):
    with pytest.raises(NoBackend, match=r"liar/float32: refused"):
        tuner_of(tmp_path, LyingDevice("liar")).choose("matmul", DIMS)
    with pytest.raises(NoBackend, match="none is present"):
        tuner_of(tmp_path).choose("matmul", DIMS)


def test_a_device_that_goes_away_in_the_middle_hands_over_within_the_same_call(tmp_path):
    now, device = [0.0], VanishingDevice("gpu")
    run = dispatched(tuner_of(tmp_path, device, NumpyReference()))
    run.clock = lambda: now[0]
    prefer(run, "gpu")
    sample = OPERATORS["matmul"].sample(DIMS)
    assert right(run(sample["a"])) and run.runs_on == "gpu/float32"
    device.gone = True
    assert right(run(sample["a"])) and run.runs_on == "numpy/float32"
    assert counters.failovers() == {("matmul", "gpu/float32", "numpy/float32", "RuntimeError"): 1}
    assert "gpu/float32 failed (RuntimeError: device 0 is lost); numpy/float32 took over" in run.explanation
    assert right(run(sample["a"]))  # still on the second, without asking the first
    assert sum(counters.failovers().values()) == 1
    device.gone, now[0] = False, dispatch.ASK_AGAIN_S
    assert right(run(sample["a"])) and run.runs_on == "gpu/float32"
    assert "gpu/float32 answers again" in run.explanation


def test_numbers_that_are_not_finite_are_a_failure_of_the_backend(tmp_path):
    device = NotANumberDevice("hot", after=10**9)
    run = dispatched(tuner_of(tmp_path, device, NumpyReference()))
    prefer(run, "hot")
    device.after = 0
    assert right(run(OPERATORS["matmul"].sample(DIMS)["a"]))
    assert counters.failovers() == {("matmul", "hot/float32", "numpy/float32", "BackendFailed"): 1}


def test_numbers_that_came_in_not_finite_are_the_callers_and_blame_no_backend(tmp_path):
    run = dispatched(tuner_of(tmp_path, NumpyReference()))
    with pytest.raises(dispatch.BadInput, match="look at what computes its input"):
        run(np.full((5, 8), np.nan, np.float32))
    assert counters.failovers() == {}


def test_when_every_backend_has_failed_the_caller_is_told(tmp_path):
    device = VanishingDevice("only")
    run = dispatched(tuner_of(tmp_path, device))
    device.gone = True
    with pytest.raises(NoBackend, match="device 0 is lost"):
        run(OPERATORS["matmul"].sample(DIMS)["a"])


def test_a_batch_of_one_and_of_ten_thousand_are_both_answered(tmp_path):
    for tokens in (1, 10_000):
        run = dispatched(tuner_of(tmp_path, NumpyReference()), {**DIMS, "M": tokens})
        assert run(OPERATORS["matmul"].sample({**DIMS, "M": tokens})["a"])[0].shape == (tokens, 4)


def test_a_machine_too_busy_to_measure_anything_serves_by_priority_and_keeps_nothing(tmp_path):
    late = [
        CrawlingDevice(name, quick=4, seconds=0.3) for name in ("first", "second")
    ]  # examined in time, then slow
    tuner = tuner_of(tmp_path, *late, timeout_s=0.05)
    choice = tuner.choose("matmul", DIMS)
    assert [i.backend for i in choice.order] == ["first", "second"]
    assert choice.reasons[0].startswith(
        "first/float32 is chosen by priority: nothing could be measured in time"
    )
    assert not tuner.cache.path.exists()
    for device in late:
        device.stop.set()
    again = tuner_of(tmp_path, *late).choose("matmul", DIMS)  # the machine is quiet now
    assert all(m.ms is not None for m in again.measurements)


def test_what_timed_out_is_asked_again_another_day(tmp_path):
    device = CrawlingDevice("snail", quick=4)
    tuner = tuner_of(tmp_path, device, NumpyReference(), timeout_s=0.2)
    tuner.choose("matmul", DIMS)
    device.stop.set()
    assert [i.backend for i in tuner_of(tmp_path, device, NumpyReference()).choose("matmul", DIMS).order] == [
        "numpy"
    ]
    body = json.loads(tuner.cache.path.read_text())
    for entry in body["entries"]:
        entry["date"] = "2026-01-01"
    tuner.cache.path.write_text(json.dumps(body))
    order = tuner_of(tmp_path, device, NumpyReference()).choose("matmul", DIMS).order
    assert {i.backend for i in order} == {"numpy", "snail"}
