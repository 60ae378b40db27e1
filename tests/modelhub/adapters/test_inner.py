"""Training inside a frozen encoder: it learns, stops early, resumes to the same weights after kill -9, never passes a NaN."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from modelhub.ml.adapters import inner
from modelhub.ml.adapters.inject import Adapter, AdapterShape
from modelhub.ml.adapters.inner import Examples, LossNotFinite, Settings, Tuned, train_inner
from modelhub.ml.adapters.states import States
from tests.modelhub.adapters.small import WIDTH, encoder

LABELS = 3
torch.set_num_threads(1)  # a hash is compared: sums in one order


def examples(texts: int, seed: int) -> Examples:
    """Texts whose label lies in their first token's first numbers, under noise."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 8, texts)
    start = np.concatenate([[0], np.cumsum(lengths)])
    table, y = rng.standard_normal((start[-1], WIDTH)).astype(np.float32), rng.integers(LABELS, size=texts)
    for row, label in enumerate(y):
        table[start[row], 20 * label : 20 * label + 20] += 3.0
    return Examples(States(table, start), np.zeros((texts, LABELS), np.float32), y)


def fresh(method: str = "lora") -> Tuned:
    return Tuned(
        Adapter(AdapterShape(method, 1), WIDTH),
        np.zeros((LABELS, WIDTH), np.float32),
        np.zeros(LABELS, np.float32),
    )


def train(folder: Path | None, epochs: int = 3, **options):
    trunk = encoder()
    for parameter in trunk.parameters():
        parameter.requires_grad_(False)
    settings = Settings(epochs=epochs, batch=16, multiplier=options.pop("multiplier", 1.0))
    return train_inner(
        trunk,
        fresh(options.pop("method", "lora")),
        examples(96, 1),
        examples(48, 2),
        settings,
        folder=folder,
        **options,
    )


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch):
    monkeypatch.setattr(inner, "STRETCH", 48)


@pytest.mark.parametrize("method", ["lora", "expert"])
def test_it_learns_what_the_labels_hang_on(method):
    outcome = train(None, epochs=6, method=method)
    assert outcome.curve[-1]["accuracy"] > 0.6 > 1 / LABELS
    assert outcome.curve[-1]["loss"] < outcome.curve[0]["loss"]
    assert outcome.cpu_s > 0


def test_a_run_that_was_stopped_within_an_epoch_ends_as_an_unbroken_one(tmp_path):
    whole = train(tmp_path / "whole")
    steps: list[dict] = []
    cut = train(tmp_path / "cut", progress=steps.append, should_stop=lambda: len(steps) == 3)
    assert cut.stopped and len(cut.curve) == 1  # in the second half of the second epoch
    again: list[dict] = []
    resumed = train(tmp_path / "cut", progress=again.append)
    assert again[0]["done"] == 4
    assert (resumed.hash, resumed.curve) == (whole.hash, whole.curve)


def test_a_broken_checkpoint_counts_as_none(tmp_path):
    whole = train(None)
    train(tmp_path, epochs=3, should_stop=lambda: len(list(tmp_path.glob("weights-*"))) >= 2)
    for file in tmp_path.glob("weights-*"):
        file.write_bytes(file.read_bytes()[:-50])
    assert train(tmp_path).hash == whole.hash


def test_a_run_that_was_killed_resumes_to_the_very_same_weights(tmp_path):
    """A process of its own, killed with signal 9 after its second stretch, then run to its end by another."""
    script = (
        "import sys; from pathlib import Path; import torch; torch.set_num_threads(1)\n"
        "from modelhub.ml.adapters import inner; inner.STRETCH = 48\n"
        "from tests.modelhub.adapters.test_inner import train\n"
        "import time\n"
        "slow = (lambda told: time.sleep(0.5)) if sys.argv[2] == 'slow' else (lambda told: None)\n"
        "print(train(Path(sys.argv[1]), progress=slow).hash)\n"
    )
    root = Path(__file__).resolve().parents[3]
    env = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'platform'}"}

    def start(folder: str, pace: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / folder), pace], cwd=root, env=env, stdout=subprocess.PIPE, text=True
        )  # fmt: skip

    victim = start("killed", "slow")
    until = time.monotonic() + 60
    while not list((tmp_path / "killed").glob("weights-2.*")) and time.monotonic() < until:
        time.sleep(0.05)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert victim.returncode == -signal.SIGKILL
    assert (tmp_path / "killed" / "checkpoint.json").is_file()
    second, whole = start("killed", "quick"), start("whole", "quick")
    hashes = [process.communicate(timeout=100)[0].strip() for process in (second, whole)]
    assert hashes[0] == hashes[1] != ""


def test_no_epochs_said_means_early_stop_and_the_best_weights():
    told: list[dict] = []
    outcome = train(None, epochs=0, progress=told.append, multiplier=30.0)
    assert len(outcome.curve) <= inner.MOST_EPOCHS
    best = min(point["held_loss"] for point in outcome.curve)
    from modelhub.ml.adapters.inject import AdaptedEncoder

    found = inner.held_point(AdaptedEncoder(encoder(), outcome.model.adapter), outcome.model, examples(48, 2))
    assert found["held_loss"] == pytest.approx(best, abs=1e-4)


def test_a_loss_that_is_no_number_ends_the_run_in_plain_words(tmp_path):
    bad = examples(96, 1)
    bad.states.table[0] = np.nan
    trunk = encoder()
    with pytest.raises(LossNotFinite, match="learning_rate_multiplier"):
        train_inner(trunk, fresh(), bad, examples(48, 2), Settings(epochs=1, batch=16), folder=tmp_path)


def test_epochs_follow_the_number_of_rows():
    assert [Settings().planned(rows) for rows in (100, 1000, 5000, 50_000)] == [8, 3, 2, 2]
    assert Settings(epochs=7).planned(50_000) == 7
