"""Text encoders with experts: what they count, how texts are packed, and that the trunk's weights survive the move."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from modelhub.ml.moe import kernels  # noqa: E402
from modelhub.ml.text.encoder import (  # noqa: E402
    ACTIVATION,
    EncoderConfig,
    SparseEncoder,
    count_parameters,
    every_expert,
    flops_per_token,
)
from modelhub.ml.text.figures import best_run, summary  # noqa: E402
from modelhub.ml.text.packing import TokenRows, invent, pack  # noqa: E402
from modelhub.ml.text.upcycle import balanced_groups, group_neurons  # noqa: E402
from modelhub.ml.train.encoder import MEAN_CHOSEN, shape_of  # noqa: E402
from modelhub.ml.train.encoder_loop import EncoderTraining, Materials, reached_plateau, train_encoder  # noqa: E402

torch.set_num_threads(1)  # several threads that wait for each other are slower than one on a busy machine
SMALL = EncoderConfig(
    kind="sparse",
    start="random",
    width=16,
    layers=2,
    attention_heads=2,
    experts=6,
    hidden=8,
    shared=8,
    dropout=0.0,
)


def small_rows(count=24, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 12, count)
    start = np.concatenate([[0], np.cumsum(lengths)])
    flat = rng.integers(0, 30, start[-1]).astype(np.int32)
    labels = {"first": ["a", "b"], "second": ["x", "y", "z"]}
    return TokenRows(flat, start, rng.integers(0, 2, count), np.arange(count) % 2, labels)


class Table:
    """An embedding layer of 30 tokens, in place of the trunk's."""

    def __init__(self):
        self.words = torch.randn(30, 384, generator=torch.Generator().manual_seed(3))

    def __call__(self, batch):
        return self.words[batch.ids]


def test_texts_packed_together_are_read_as_if_alone():
    torch.manual_seed(0)
    model, rows, table = SparseEncoder(SMALL, {"first": 2}).eval(), small_rows(), Table()
    which = np.array([3, 0, 7, 5])
    together = pack(rows, which, 16)
    assert len(together.ids) < len(which)
    with torch.no_grad():
        packed = model(table(together), together.segment, together.texts)[0]
        for place, row in enumerate(which):
            alone = pack(rows, np.array([row]), int(rows.lengths(16)[row]))
            single = model(table(alone), alone.segment, 1)[0][0]
            assert torch.allclose(packed[place], single, atol=1e-5)


def test_a_text_that_is_too_long_keeps_its_closing_mark():
    rows = small_rows()
    row = int(rows.lengths(99).argmax())
    batch = pack(rows, np.array([row]), 4)
    piece = rows.piece(row)
    assert batch.ids[0].tolist() == [*piece[:3].tolist(), piece[-1]]


def test_every_expert_masked_equals_the_sorted_form():
    torch.manual_seed(1)
    part = SparseEncoder(SMALL, {"first": 2}).blocks[0].experts
    x = torch.randn(9, 16)
    routing = part.gate(x)
    ours = every_expert(x, routing, part.w1, part.w2)
    wanted = kernels.moe_experts(x, routing.weights, routing.experts, part.w1, part.w2, ACTIVATION, "sorted")
    assert torch.allclose(ours, wanted, atol=1e-6)


def test_the_active_share_counts_attention_and_heads_by_hand():
    model = SparseEncoder(SMALL, {"first": 2, "second": 3})
    attention = 16 * 48 + 48 + 16 * 16 + 16 + 4 * 16
    fed = 2 * 16 * 8 * 7 + 16 + 6 * 16 + 1
    total = 384 * 16 + 16 + 2 * (attention + fed) + 2 * 16 + (16 * 2 + 2) + (16 * 3 + 3)
    counted = count_parameters(model, 2.5)
    assert counted["total"] == total
    assert counted["active"] == total - 2 * 3.5 * 2 * 16 * 8 - (16 * 2 + 2)


def test_both_trunks_that_may_ship_keep_their_share_at_the_most_experts_a_token_can_use():
    heads = {"largest": 151, "others": 146}
    for name in ("upcycled", "sparse"):
        config = shape_of(name)
        assert count_parameters(SparseEncoder(config, heads), config.k_max)["active_share"] <= 0.30
    split = shape_of("split")
    assert count_parameters(SparseEncoder(split, heads), 3.0)["active_share"] > 0.40


def test_a_dense_neighbour_has_the_parameters_it_is_named_after():
    heads = {"largest": 151}
    sparse = count_parameters(SparseEncoder(shape_of("upcycled"), heads), MEAN_CHOSEN)
    total = count_parameters(SparseEncoder(shape_of("upcycled-dense-total"), heads), 0.0)
    active = count_parameters(SparseEncoder(shape_of("upcycled-dense-active"), heads), 0.0)
    assert abs(total["total"] / sparse["total"] - 1) < 0.01
    assert abs(active["total"] / sparse["active"] - 1) < 0.03
    assert flops_per_token(shape_of("upcycled"), 3.0, 32) < 0.35 * flops_per_token(
        shape_of("upcycled-dense-total"), 0, 32
    )


def test_groups_are_of_equal_size_and_each_neuron_is_in_one():
    w1 = torch.randn(60, 5, generator=torch.Generator().manual_seed(2))
    groups = balanced_groups(w1, 4, np.random.default_rng(0))
    assert [len(group) for group in groups] == [15] * 4
    assert sorted(torch.cat(groups).tolist()) == list(range(60))
    assert group_neurons(w1, 6, 4, np.random.default_rng(0)).shape == (6, 15)


def test_neurons_that_are_alike_share_a_group():
    axes = torch.eye(3).repeat_interleave(4, dim=0)
    w1 = axes + 0.01 * torch.randn(12, 3, generator=torch.Generator().manual_seed(4))
    best = max(
        (balanced_groups(w1, 3, np.random.default_rng(seed)) for seed in range(8)), key=lambda g: _purity(g)
    )
    assert _purity(best) == 1.0


def _purity(groups):
    return sum(int((group // 4 == (group // 4).mode().values).sum()) for group in groups) / 12


def test_invented_texts_keep_their_marks_and_their_words():
    rows = small_rows()
    for made in invent(rows, 20, np.random.default_rng(5), most=10):
        assert 2 <= len(made) <= 10
        assert set(made.tolist()) <= set(range(30))


def test_a_cut_run_ends_with_the_weights_of_an_unbroken_one(tmp_path):
    rows = small_rows(40)
    materials = Materials(
        Table(), rows, rows, torch.randn(40, 384, generator=torch.Generator().manual_seed(6))
    )
    whole = EncoderTraining(epochs=4, batch=20, evaluations=4, width=16)

    def fresh():
        torch.manual_seed(1)
        return SparseEncoder(SMALL, {"first": 2, "second": 3})

    class Cut(Exception):
        pass

    def cut_after_two(point):
        if point["evaluation"] == 2:
            raise Cut

    unbroken, broken = fresh(), fresh()
    curve = train_encoder(unbroken, materials, whole)
    with pytest.raises(Cut):
        train_encoder(broken, materials, whole, work=tmp_path, progress=cut_after_two)
    resumed = fresh()
    train_encoder(resumed, materials, whole, work=tmp_path)
    for name, value in unbroken.state_dict().items():
        assert torch.allclose(value, resumed.state_dict()[name], atol=1e-6), name
    assert curve[-1]["loss"] < curve[0]["loss"]


def test_a_plateau_is_five_evaluations_no_better_than_the_five_before():
    flat = [0.80 + 0.001 * (i % 2) for i in range(10)]
    assert reached_plateau(flat, 1000)
    assert not reached_plateau([0.5 + 0.03 * i for i in range(10)], 1000)
    assert not reached_plateau(flat[:9], 1000)


def _run(variant, seed, accuracy, share=0.28):
    return {
        "variant": variant,
        "seed": seed,
        "final": {"accuracy": accuracy, "mean": accuracy},
        "parameters": {"active_share": share},
        "ffn_zero": {"accuracy": 0.1},
        "shuffled_gate": {"accuracy": 0.2},
        "plateau": True,
        "flops_per_token": 1.0,
    }


def test_a_trunk_over_the_share_is_never_chosen_and_ratios_are_by_seed():
    runs = [_run("split", s, 0.99, share=0.46) for s in (1, 2, 3)]
    runs += [_run("upcycled", s, a) for s, a in ((1, 0.90), (2, 0.92), (3, 0.91))]
    runs += [_run("upcycled-dense-total", s, a) for s, a in ((1, 0.90), (2, 0.94), (3, 0.91))]
    chosen = best_run(runs, lambda run: True)
    assert (chosen["variant"], chosen["seed"]) == ("upcycled", 2)
    found = summary(runs, "upcycled")
    assert found["learned_gate"]["median"] == 0.91
    assert found["relative"] == {"median": 1.0, "low": 0.9787, "high": 1.0, "seeds": 3}
