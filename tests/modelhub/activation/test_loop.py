"""The data loop on a small network: who is found weak, which rows are taken, and that halves never judge what they found."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # small products: a second thread costs more than it gives

from modelhub.ml.activation import loop, loop_rows, served_encoder  # noqa: E402
from modelhub.ml.activation.cards import Rows, weakest_busy  # noqa: E402
from modelhub.ml.activation.loop import Ground, LoopConfig  # noqa: E402
from modelhub.ml.activation.served_encoder import Served  # noqa: E402
from modelhub.ml.text.encoder import SparseEncoder  # noqa: E402
from modelhub.ml.text.packing import pack  # noqa: E402
from tests.modelhub.activation.small import CONFIG, LABELS, embeddings, rows  # noqa: E402


@pytest.fixture(scope="module")
def model() -> SparseEncoder:
    torch.manual_seed(1)
    return SparseEncoder(CONFIG, {name: len(own) for name, own in LABELS.items()}).eval()


@pytest.fixture(scope="module")
def ground(model: SparseEncoder) -> Ground:
    train, val = rows(120, 1), rows(80, 2)
    val_states, low = served_encoder.lower(model, embeddings(), val, 2, width=16)
    features, high = served_encoder.upper_all(model, 2, val_states, 16)
    sides = {name: np.zeros((40, len(own)), np.float32) for name, own in LABELS.items()}
    right = served_encoder.right_answers(model, val, features, sides)
    seen = served_encoder.observed(val, np.concatenate([low, high], axis=1), right, 16)
    states, _ = served_encoder.lower(model, embeddings(), train, 2, width=16)
    place = {i: i for i in range(len(train))}
    return Ground(Served(model, {}), 2, train, val, seen, val_states, states, place, np.arange(60), sides)


def test_lower_and_upper_halves_together_are_the_whole_network(model, ground):
    batch = pack(ground.val, np.arange(80), 16)
    with torch.no_grad():
        pooled, routings = model(embeddings()(batch), batch.segment, batch.texts)
        whole = model.features(pooled).numpy()
    features, high = served_encoder.upper_all(model, 2, ground.val_states, 16)
    np.testing.assert_allclose(features, whole, atol=2e-2)  # states between are kept in 16 bits
    alone = served_encoder.counts_by_text(routings[0], batch, 6)
    assert (ground.seen.counts[:, 0] == alone).all()
    tokens = ground.val.lengths(16)
    for layer in range(3):
        chosen = ground.seen.counts[:, layer].sum(axis=1)
        assert (chosen >= 2 * tokens).all() and (chosen <= 4 * tokens).all()
    assert high.shape == (80, 1, 6)


def test_halves_part_every_label_evenly_and_leave_nobody_out():
    val = rows(101, 3)
    half = loop_rows.halves(val)
    names = np.array(served_encoder.slice_names(val))
    for name in set(names):
        mine = half[names == name]
        assert abs(int((mine == 0).sum()) - int((mine == 1).sum())) <= 1
    assert set(half) == {0, 1} and (half == loop_rows.halves(val)).all()


def test_what_one_half_found_is_judged_by_the_other(ground):
    half = loop_rows.halves(ground.val)
    found = [loop_rows.find(ground.seen, half, which) for which in (0, 1)]
    assert set(found[0].judged) == set(np.flatnonzero(half == 1))
    assert set(found[0].judged) | set(found[1].judged) == set(range(80))
    flipped = Rows(ground.seen.counts, ground.seen.labels, ground.seen.tokens, ground.seen.correct.copy())
    flipped.correct[half == 1] ^= True  # whatever the judging half says, the finding stays
    again = loop_rows.find(flipped, half, 0)
    assert again.slices == found[0].slices and again.weakest == found[0].weakest


def test_a_row_whose_neighbours_all_say_otherwise_is_suspect_and_is_left_out():
    train = rows(120, 1)
    wrong = int(np.flatnonzero((train.workload == 0) & (train.y == 0))[0])
    train.y[wrong] = 1
    mine = np.flatnonzero(train.workload == 0)
    found = loop_rows.suspects(train, mine)
    assert wrong in found and len(found) <= 3
    chosen = loop_rows.choose(train, ("notes\twarm",), 50, seed=1)
    assert wrong in chosen.suspect and wrong not in chosen.own and wrong not in chosen.extra
    assert len(chosen.extra) == 50 and set(chosen.extra) <= set(chosen.own)


def test_slices_are_oversampled_in_turn_however_many_rows_they_have():
    train = rows(120, 1)
    slices = ("mail\tspam", "notes\tcold")
    extra = loop_rows.choose(train, slices, 40, seed=2).extra
    names = [served_encoder.slice_names(train)[i] for i in extra]
    assert names.count(slices[0]) == names.count(slices[1]) == 20
    with pytest.raises(ValueError, match="no training rows"):
        loop_rows.choose(train, ("mail\tnobody",), 4, seed=1)


def test_training_further_moves_experts_and_heads_of_the_last_blocks_alone(model, ground):
    config = LoopConfig(steps=3, batch=8, width=16, blocks=1)
    after = loop.trained_further(model, ground, np.arange(20), np.arange(60), config, seed=1)
    before = dict(model.named_parameters())
    moved = {name for name, value in after.named_parameters() if not torch.equal(value, before[name])}
    assert {"layers.2.experts.w1", "norm.weight", "heads.mail.weight"} <= moved
    assert all(n.startswith(("layers.2.experts.", "norm.", "heads.")) for n in moved)


def test_slices_are_labels_that_the_weak_expert_serves_beyond_their_part():
    counts = np.zeros((60, 1, 2), int)
    counts[:20, 0] = [1, 9]  # "mine": expert 1's own
    counts[20:40, 0] = [9, 1]  # "theirs": worse still, and none of expert 1's business
    counts[40:, 0] = [1, 9]  # "single": one wrong row among good ones
    labels = ["mine"] * 20 + ["theirs"] * 20 + ["single"] * 20
    correct = np.array([True] * 12 + [False] * 8 + [False] * 20 + [True] * 19 + [False])
    weak = {w.expert: w for w in weakest_busy(Rows(counts, labels, np.full(60, 10), correct), 2, busy=0.5)}
    assert weak[1].slices == (("mine", 0.6, 20), ("single", 0.95, 20))
    assert weak[0].slices == (("theirs", 0.0, 20),)


def specialised(ground: Ground) -> Ground:
    """The same ground, observed as if each workload had two experts of its own (a network at its start has none)."""
    counts = np.ones((80, 3, 6), np.uint16)
    counts[ground.val.workload == 0, :, :2] = 9
    counts[ground.val.workload == 1, :, 2:4] = 9
    seen = ground.seen
    return replace(ground, seen=Rows(counts, seen.labels, seen.tokens, seen.correct))


def test_the_loop_learns_what_was_weak_and_goes_on_where_it_was_cut(ground, tmp_path, monkeypatch):
    ground = specialised(ground)
    config = LoopConfig(
        seeds=(1, 2), extra=32, steps=8, batch=16, width=16, blocks=1, rate=5e-3, head_rate=5e-2
    )
    report = loop.close_loop(ground, config, tmp_path)
    assert json.loads(json.dumps(report))["changes"] == report["changes"]
    change = report["changes"]["weak_rows"]
    assert (
        len(change["overall"]["by_seed"]) == 2 and change["slices"]["median"] > 20
    )  # from chance to nearly all
    assert report["rows"]["judged"] == 80 and report["before"]["overall"] < 0.8
    assert all(finding["slices"] and finding["experts"] for finding in report["findings"])
    (tmp_path / "1-2-random_rows.npy").unlink()
    ran = []
    real = loop.run_once
    monkeypatch.setattr(loop, "run_once", lambda *given: ran.append(given[-1]) or real(*given))
    assert loop.close_loop(ground, config, tmp_path) == report and ran == [2]


def test_changes_are_told_on_the_slices_elsewhere_and_over_all():
    before = np.array([True, False, True, False])
    after = [np.array([True, True, True, False]), np.array([False, True, True, True])]
    found = loop.changed(before, after, np.array([False, True, False, False]))
    assert found["slices"]["by_seed"] == [100.0, 100.0] and found["overall"]["by_seed"] == [25.0, 25.0]
    assert found["elsewhere"]["low"] == pytest.approx(0) and found["elsewhere"]["high"] == pytest.approx(0)
