"""The Dynamic Gating network for rows: a type meets its own experts only, and learns what is its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # small products: a second thread costs more than it gives

from modelhub.ml.tabular import metrics  # noqa: E402
from modelhub.ml.tabular.gating import TypedConfig, TypedNetwork, train_typed, types_of  # noqa: E402

CONFIG = TypedConfig(width=16, hidden=16, epochs=12, batch=64, dropout=0.0, rate=1e-2)


def rows(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Type 0 fails at high readings, type 1 at low ones, type 2 never."""
    rng = np.random.default_rng(seed)
    types, reading = rng.integers(0, 3, count), rng.normal(size=count)
    fault = ((types == 0) & (reading > 1)) | ((types == 1) & (reading < -1))
    return np.column_stack([types, reading, rng.normal(size=count)]), fault.astype(int)


def test_a_row_uses_experts_of_its_own_type_alone():
    torch.manual_seed(0)
    network = TypedNetwork(CONFIG, 3).eval()
    types = torch.tensor([0, 1, 2, 1])
    _, (routing,) = network(torch.randn(4, 3), types)
    used = routing.experts.masked_fill(routing.weights == 0, -1)
    for row, kind in zip(used.tolist(), types.tolist(), strict=True):
        assert {e // CONFIG.per_type for e in row if e >= 0} == {kind}
    torch.testing.assert_close(routing.weights.sum(dim=1), torch.ones(4))


def test_a_free_gate_may_choose_any_expert():
    torch.manual_seed(0)
    network = TypedNetwork(replace(CONFIG, free=True), 3).eval()
    _, (routing,) = network(torch.randn(64, 3), torch.zeros(64, dtype=torch.int64))
    assert routing.experts.max() >= CONFIG.per_type


def test_it_learns_faults_that_differ_by_type_and_its_experts_matter():
    inputs, truth = rows(900, 1)
    model = train_typed(inputs, truth, CONFIG, seed=1)
    held, answers = rows(600, 2)
    found = metrics.average_precision(answers, model.probabilities(held))
    assert found > 0.8
    model.silence(True)
    assert metrics.average_precision(answers, model.probabilities(held)) < found
    model.silence(False)
    assert metrics.average_precision(answers, model.probabilities(held)) == found


def test_the_same_seed_gives_the_same_network():
    inputs, truth = rows(200, 1)
    short = replace(CONFIG, epochs=2)
    first, again = (train_typed(inputs, truth, short, seed=3).probabilities(inputs) for _ in range(2))
    assert (first == again).all()


def test_a_type_without_experts_is_refused():
    with pytest.raises(ValueError, match="must lie in 0..2"):
        types_of(np.array([[3.0, 1.0]]), 3)
