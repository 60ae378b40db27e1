"""The mixed-hardware trial: shares change who trains which row, never what is learned."""

import pytest
import torch

from bench.common import Results
from bench.tools import fleet, fleet_member
from bench.tools.fleet import Strength, strengths
from modelhub.ml.moe.model import GatingConfig


@pytest.fixture
def trainer(monkeypatch):
    shape = GatingConfig(
        width=16, layers=1, experts=8, hidden=8, dropout=0.0, input_dropout=0.0, declared_share=0.9
    )
    monkeypatch.setattr(fleet_member, "SHAPE", shape)
    monkeypatch.setattr(fleet_member, "ROWS", 40)
    return fleet_member.Trainer(0)


def gradient(trainer, start, stop):
    loss = trainer.gradients(0, start, stop)
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in trainer.model.parameters()]
    return loss, torch.cat([part.ravel() for part in parts])


def test_parts_of_a_batch_add_up_to_its_gradient_however_it_is_cut(trainer):
    whole_loss, whole = gradient(trainer, 0, 40)
    for cut in (0, 1, 13, 20, 40):
        parts = [gradient(trainer, 0, cut), gradient(trainer, cut, 40)]
        assert sum(loss for loss, _ in parts) == pytest.approx(whole_loss, rel=1e-5)
        torch.testing.assert_close(sum(found for _, found in parts), whole, rtol=1e-4, atol=1e-6)


def test_the_processes_are_unequal_on_any_number_of_cores_and_never_overlap():
    assert strengths((0, 1)) == (Strength((0,), 1), Strength((1,), 1, neighbours=3))
    for count in (3, 4, 8, 16):
        strong, weak = strengths(tuple(range(count)))
        assert strong.threads >= 2 and weak.threads == 1 and not set(strong.cores) & set(weak.cores)
        assert (strong.threads, weak.threads) == (len(strong.cores), len(weak.cores))
    with pytest.raises(ValueError, match="two cores"):
        strengths((0,))


def test_a_trial_that_could_not_run_is_not_run_with_its_reason(monkeypatch):
    def fails(pair, repeats):
        raise RuntimeError("a member ended with 1: no gloo")

    monkeypatch.setattr(fleet, "trial", fails)
    monkeypatch.setattr(fleet.os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    results = Results("fleet")
    fleet.rows(results)
    simulated, tried = results.rows
    assert simulated.metric == "mixed_hardware_gain_simulated" and simulated.how.startswith("SIMULATED")
    assert (tried.value, tried.met) == (None, None) and "no gloo" in tried.how


@pytest.mark.parametrize(
    ("speeds", "planned_s", "met"),
    [
        ((4000, 1000), 0.5, True),  # +150 % allowed, +100 % reached
        ((4000, 1000), 0.9, False),  # allowed and not reached: missed
        ((1100, 1000), 0.98, None),  # +5 % allowed: such a trial says nothing of 40 %
    ],
)
def test_a_trial_is_judged_only_where_its_speeds_allow_the_target(speeds, planned_s, met):
    found = {
        "rows_per_s": speeds, "cpu_share": (0.9, 0.2), "weights_apart": 1e-9, "shares": {"planned": {}},
        "step_s": {"equal": [1.0, 1.0], "planned": [planned_s, planned_s]}, "foreseen": 0.5,
    }  # fmt: skip
    results = Results("fleet")
    fleet.trial_row(results, strengths((0, 1)), found)
    (row,), (most,) = results.rows, results.controls
    assert row.met is met and row.value == pytest.approx(1 / planned_s - 1, rel=1e-3)
    assert ("not judged" in row.how) is (met is None)
    assert most.value == pytest.approx(sum(speeds) / (2 * min(speeds)) - 1, rel=1e-3)
