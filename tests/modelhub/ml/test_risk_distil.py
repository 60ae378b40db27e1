"""Teacher and student: pieces, lists on a device, opinions, and both stages on a handful of rows."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from modelhub.ml.risk import distil, encode, fit, net, reading, teacher

WORDS = ["hate", "love", "are", "kind", "people", "they"]
PIECES = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "hate", "love", "##ful", "hat", "are", "women", "they", ".", "don", "'", "t", "h",
    "##e",
]  # fmt: skip


@pytest.fixture
def trunk(monkeypatch) -> teacher.Trunk:
    """One small layer of random weights under the trunk's own names."""
    for name, value in (("LAYERS", 1), ("HEADS", 2), ("WIDTH", 16)):
        monkeypatch.setattr(teacher, name, value)
    draw = np.random.default_rng(0)

    def made(*shape: int) -> np.ndarray:
        return draw.normal(0, 0.2, shape).astype(np.float32)

    weights = {
        "embeddings.word_embeddings.weight": made(len(PIECES), 16), "embeddings.position_embeddings.weight": made(80, 16),
        "embeddings.token_type_embeddings.weight": made(2, 16),
        "embeddings.LayerNorm.weight": np.ones(16, np.float32), "embeddings.LayerNorm.bias": made(16),
    }  # fmt: skip
    layer = "encoder.layer.0."
    for part in (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
    ):
        weights |= {f"{layer}{part}.weight": made(16, 16), f"{layer}{part}.bias": made(16)}
    weights |= {
        f"{layer}intermediate.dense.weight": made(32, 16),
        f"{layer}intermediate.dense.bias": made(32),
    }
    weights |= {f"{layer}output.dense.weight": made(16, 32), f"{layer}output.dense.bias": made(16)}
    for part in ("attention.output.LayerNorm", "output.LayerNorm"):
        weights |= {f"{layer}{part}.weight": np.ones(16, np.float32), f"{layer}{part}.bias": made(16)}
    return teacher.Trunk(weights, PIECES)


def test_pieces_are_the_longest_that_fit_and_a_group_is_one_sign():
    cut = teacher.Pieces(PIECES)
    assert [PIECES[i] for i in cut.of("hateful")] == ["hate", "##ful"]
    assert [PIECES[i] for i in cut.of("don't")] == ["don", "'", "t"]
    assert cut.of("zzz") == [PIECES.index("[UNK]")]
    assert cut.of(reading.GROUP) == [len(PIECES)]


def test_what_is_carried_is_the_trunk_within_its_rounding(trunk, tmp_path):
    assert teacher.carry(trunk, ["hateful", "they"], tmp_path) > 0
    again = teacher.load_trunk(tmp_path)
    assert {"[CLS]", "[SEP]", "[UNK]", "hate", "##ful", "they", "women"} <= set(
        again.pieces
    ) and "love" not in again.pieces
    for name, value in trunk.weights.items():
        if "word_embeddings" not in name and "position" not in name:
            assert np.abs(again.weights[name] - value).max() < 0.01, name
    row = again.weights["embeddings.word_embeddings.weight"][again.pieces.index("hate")]
    assert np.abs(row - trunk.weights["embeddings.word_embeddings.weight"][PIECES.index("hate")]).max() < 0.01


def test_rows_are_encoded_alike_in_one_process_and_in_chunks(monkeypatch):
    texts = ["They hate women.", "", "Women are kind, they are.", "女人都好", "they " * 200] * 3
    row = {word: i for i, word in enumerate(WORDS)}
    whole = encode.encode(texts, row)
    monkeypatch.setattr(encode, "CHUNK", 2)
    with ThreadPoolExecutor(2) as pool:
        apart = encode.encode(texts, row, pool)
    for i, text in enumerate(texts):
        keys = reading.keys(text)[: encode.LONGEST] or ["."]
        for found in (whole, apart):
            a, b = found.rows.starts[i], found.rows.starts[i + 1]
            assert [found.keys[j] for j in found.rows.flat[a:b]] == keys
    assert apart.chinese.tolist() == [False, False, False, True, False] * 3
    assert apart.words[apart.keys.index("hate")] == 0 and apart.words[apart.keys.index(reading.GROUP)] == -1
    for i, key in enumerate(whole.keys):
        assert whole.buckets.flat[
            whole.buckets.starts[i] : whole.buckets.starts[i + 1]
        ].tolist() == net.buckets_of(key)


def test_each_rows_pieces_stand_between_the_marks_and_none_is_too_long():
    cut = teacher.Pieces(PIECES)
    texts = ["They hate women.", "", "天气", "hateful " * 70]
    read = encode.encode(texts, {})
    found = encode.pieces_of(read, cut.of, 2, 3, 20)
    told = [found.flat[found.starts[i] : found.starts[i + 1]].tolist() for i in range(len(texts))]
    assert told[0] == [2, PIECES.index("they"), PIECES.index("hate"), len(PIECES), PIECES.index("."), 3]
    assert told[1] == [2, PIECES.index("."), 3] and told[2] == [2, 3]
    assert len(told[3]) == 20 and told[3][-1] == 3
    padded, mask = found.padded(torch.tensor([1, 0]), 56)
    assert padded.tolist() == [[2, PIECES.index("."), 3, 0, 0, 0], told[0]] and mask.sum(1).tolist() == [3, 6]


def test_an_opinion_stands_in_for_silence_and_beside_what_is_said():
    logits = torch.zeros(1, 4)
    says = torch.tensor([[1.0, fit.SILENT, fit.SILENT, 0.0]])
    opinion = torch.tensor([[0.2, 0.9, float("nan"), float("nan")]])

    def entropy(wanted: float, at: float) -> float:
        return -(wanted * math.log(at) + (1 - wanted) * math.log(1 - at))

    logits[0] = torch.tensor([1.0, -1.0, 5.0, 2.0])
    at = torch.sigmoid(logits)[0].tolist()
    mixed = fit.OPINION * 0.2 + (1 - fit.OPINION)
    expected = (entropy(mixed, at[0]) + entropy(0.9, at[1]) + entropy(0.0, at[3])) / 3
    assert fit.loss_of(logits, says, torch.ones(1), opinion).item() == pytest.approx(expected, abs=1e-5)


def test_near_words_are_near_and_name_no_group():
    words = ["awful", "terrible", "women", "chair"]
    vectors = np.array([[1, 0], [0.95, 0.1], [0.97, 0.05], [-1, 0.3]], np.float32)
    near = distil.near_words(words * 1, np.repeat(vectors, 1, axis=0), ["awful awful terrible women chair"])
    assert near["awful"] == ["terrible"] and "women" not in near and "chair" not in near


def test_both_stages_give_a_guard_and_a_twin_that_differ(trunk, monkeypatch):
    monkeypatch.setattr(distil, "NEAR", 2)
    vectors = np.random.default_rng(1).normal(size=(len(WORDS), 128)).astype(np.float32)
    amounts = distil.Amounts(40, 40, 30, 8, 40, fit.Plan(1, 32, 1e-3), fit.Plan(1, 32, 1e-3))
    told: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        guard, twin, model = distil.make(
            WORDS, vectors, trunk, {}, pool=pool, workers=1, amounts=amounts, told=told.append
        )
    texts = ["All women are kind.", "They hate women.", "女人都好"]
    assert guard.kinds(texts).shape == (3, 4) and np.abs(guard.kinds(texts) - twin.kinds(texts)).max() > 1e-4
    assert not model.training
    assert any("fit: " in line for line in told) and any("all: " in line for line in told)
