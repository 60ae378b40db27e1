"""The glance before the net: what it may not decide, that it hides nothing which the net would block, and that sums of look-ups
are the convolutions they stand for."""

import random

import numpy as np
import pytest
import torch

from modelhub import artifacts
from modelhub.ml import datasets
from modelhub.ml.risk import glance, glancing, net, plain, planted, reading, rows, speech, templates, windows
from modelhub.ml.risk.glance import Glance

SHIPPED = net.load(artifacts.SHIPPED / "risk-guard" / "weights.npz")


def vector(key):
    return np.random.default_rng(net.hash_of(key)).standard_normal(6).astype(np.float32)


def tensors(seed=0, channels=4, hidden=3):
    draw = np.random.default_rng(seed)
    shapes = ((6, 3 * channels), (channels,), (2 * channels, hidden), (hidden,), (hidden,), ())
    return {
        name: draw.standard_normal(s).astype(np.float32)
        for name, s in zip(glance.TENSORS, shapes, strict=True)
    }


def test_windows_are_a_convolution_of_three_places_whoever_stands_beside():
    weight = np.random.default_rng(1).standard_normal((3, 6, 4)).astype(np.float32)
    bias = np.float32([0.1, -0.2, 0.3, 0.0])
    some = windows.Windows(windows.side_by_side(weight), bias, vector, most=8)
    for keys in (["a", "b", "c"], ["d"]), (["e", "f"], ["a", "b", "c", "g"]), (["h"],):
        texts = windows.laid_out(keys, apart=1)
        found = some.of(keys, 1, texts[-1].stop)
        for told, where in zip(keys, texts, strict=True):
            x = np.stack([np.zeros(6), *map(vector, told), np.zeros(6)])
            wanted = sum(x[i : i + len(told)] @ weight[i] for i in range(3)) + bias
            assert np.abs(found[where] - np.maximum(wanted, 0)).max() < 1e-5
    assert len(some) <= 8


def test_the_net_gives_what_its_convolutions_give_one_after_the_other():
    t = {name: value.astype(np.float64) for name, value in SHIPPED.tensors.items()}

    def conv(x, i, step):
        wide = np.pad(x, ((step, step), (0, 0)))
        made = sum(wide[k * step : k * step + len(x)] @ t[f"conv{i}"][k] for k in range(3)) + t[f"bias{i}"]
        return np.maximum(made, 0)

    def whole(x):
        return np.concatenate([x.max(axis=0), x.mean(axis=0)])

    texts = [one.text for one in planted.Maker(4).sentences(60)] + [
        "",
        "a",
        "word " * 30,
        "All of them, every one, are vermin.",
    ]
    for text, told in zip(texts, SHIPPED.logits_of(texts), strict=True):
        keys = reading.keys(text) or ["."]
        x = conv(np.stack([SHIPPED.vector(key) for key in keys]).astype(np.float64), 1, 1)
        for i, step in enumerate(net.STEPS[1:], start=2):
            if i == net.SPREAD_AFTER + 1:
                x = x + np.maximum(whole(x) @ t["spread"] + t["bias_spread"], 0)
            x = x + conv(x, i, step)
        wanted = np.maximum(whole(x) @ t["hidden"] + t["bias_hidden"], 0) @ t["out"] + t["bias_out"]
        wanted[: net.JUDGED] += SHIPPED.shift_chinese * any(
            key.startswith(reading.CHINESE_KEY) for key in keys
        )
        assert np.abs(told - wanted).max() < 1e-3
        assert np.abs(1 / (1 + np.exp(-told)) - 1 / (1 + np.exp(-wanted))).max() < 1e-5


def test_names_of_groups_words_always_read_unknown_ones_chinese_and_long_texts_are_never_decided():
    value = tensors() | {"bias_out": np.float32(-1e6)}  # it takes everything for harmless
    known = {"a", "parcel", "came", "no", "here", "do", "kill", "it", "so", "women"}
    some = Glance(value, {"kill"}, known, vector)
    told = [
        "a parcel came", "no women here", "do kill it", "订单来了", "so " * glance.LONGEST, "so " * (glance.LONGEST + 1),
        "a prcel came", "Parcel's here: 123456!", "kill's here", "don't",
    ]  # fmt: skip
    keys = [reading.keys(text) for text in told]
    assert some.heavy(keys) == [1, 2, 3, 5, 6, 8]
    assert some.heavy([]) == [] and some.heavy([keys[1]]) == [0]


def test_what_is_no_number_is_read():
    some = Glance(tensors() | {"bias_out": np.float32(np.nan)}, (), "abc", vector)
    assert some.heavy([["a"], ["b", "c"]]) == [0, 1]


def test_many_texts_are_looked_at_as_each_alone(monkeypatch):
    monkeypatch.setattr(glance, "KEPT_KEYS", 2 * glance.LONGEST)
    some = Glance(tensors(), (), (), vector)
    keys = [[f"w{i}", *(["x"] * (i % 5)), f"v{i % 7}"] for i in range(300)]
    together = some.lean(keys)
    assert np.abs(together - [some.lean([told])[0] for told in keys]).max() < 1e-5


def test_the_numpy_form_is_the_torch_form_and_survives_its_file(tmp_path):
    torch.manual_seed(3)
    model = glancing._started(SHIPPED).eval()
    keys = [reading.keys(one.text)[:20] for one in planted.Maker(6).sentences(30)]
    number = {key: i for i, key in enumerate({key for told in keys for key in told})}
    vectors = torch.from_numpy(np.stack([SHIPPED.vector(key) for key in number]))
    lists = glancing.Lists.of([[number[key] for key in told] for told in keys])
    theirs = model(vectors, *lists.padded(torch.arange(len(keys)), glance.LONGEST)).detach().numpy()
    some = Glance(model.tensors(), {"kill", "scum"}, (), SHIPPED.vector)
    assert np.abs(some.lean(keys) - theirs).max() < 1e-4
    kept = SHIPPED.glance
    try:
        SHIPPED.glance = some
        SHIPPED.save(tmp_path / "again.npz")
    finally:
        SHIPPED.glance = kept
    again = net.load(tmp_path / "again.npz").glance
    assert (
        again.always == {"kill", "scum"} and np.abs(again.lean(keys) - theirs).max() < 0.05
    )  # taps in 8 bits
    with np.load(tmp_path / "again.npz") as stored:
        values = dict(stored) | {"glance_out": np.full(glancing.HIDDEN, np.nan, np.float16)}
    np.savez_compressed(tmp_path / "bad.npz", **values)
    with pytest.raises(ValueError, match="no numbers"):
        net.load(tmp_path / "bad.npz")


def test_nothing_that_somebody_wrote_and_the_net_blocks_may_pass_and_next_to_nothing_garbled():
    draw, words = random.Random(2), "parcel order card bill note door"
    fine = [draw.sample(words.split(), 4) for _ in range(300)]
    bad = [["they", "lurk", *draw.sample(words.split(), 2)] for _ in range(300)]
    odd = [["lurk", "bill", "note"], ["parcel", "lurk"]]  # held out: blocked as well, unlike what was fitted

    def some(*parts):
        keys = [keys for more, _, _ in parts for keys in more]
        score, kind = (np.array([part[at] for part in parts for _ in part[0]]) for at in (1, 2))
        return glancing.Rows(keys, score.astype(np.float32), kind)

    fit = some((fine, 0.001, glancing.ORDINARY), (bad, 0.99, glancing.WRITTEN))
    easy = some((fine, 0.001, glancing.ORDINARY), (bad, 0.99, glancing.WRITTEN))
    strict = some(
        (fine, 0.001, glancing.ORDINARY), (odd, 0.9, glancing.WRITTEN), (bad, 0.99, glancing.GARBLED)
    )
    lists = (SHIPPED, fit)
    found = glancing.found(*lists, easy, (300, 0), 0.3, frozenset(), epochs=40, told=lambda line: None)
    assert found.written == (0, 300) and found.glance.heavy(bad) == list(range(300))
    assert len(found.glance.heavy(fine)) < 30
    again = glancing.found(*lists, strict, (2, 300), 0.3, frozenset(), epochs=40, told=lambda line: None)
    assert again.written == (0, 2) and again.garbled == (0, 300) and again.glance.heavy(odd) == [0, 1]
    assert again.glance.tensors["bias_out"] >= found.glance.tensors["bias_out"] - 1e-6


def test_texts_are_told_otherwise_too_misspelt_and_beside_ordinary_ones():
    told = [("They ruin every single street here.", glancing.WRITTEN)] * 20 + [
        ("Thank you for the parcel, it has come today already.", glancing.ORDINARY)
    ]
    made = glancing.otherwise_told(told, 1)
    assert len(made) == 40 and {kind for _, kind in made} == {glancing.GARBLED}
    assert all("Thank you" in text and "ruin" in text for text, _ in made[20:])


def test_the_shipped_glance_never_decides_on_a_group_nor_on_abuse():
    assert SHIPPED.glance is not None and plain.never() <= SHIPPED.glance.always
    for many, one in templates.GROUPS_EN:
        keys = [
            reading.keys(text) for text in (f"The inbox of {many} is full.", f"I met a {one} near the inbox.")
        ]
        assert SHIPPED.glance.heavy(keys) == [0, 1]


def test_our_held_out_sentences_that_the_net_blocks_are_read_however_they_are_spelt():
    draw = random.Random(57)
    told = [text for _, text in rows.spoken(4000, draw, "held", {})]
    spelt = [speech.respelt(text, draw) for text in told]
    for texts, most in ((told, 0), (spelt, 4)):
        blocked = SHIPPED.kinds(texts)[:, : net.JUDGED].max(axis=1) >= 0.3
        assert blocked.sum() > 1000
        assert (SHIPPED.score(texts)[blocked] == 0).sum() <= most


def test_the_shipped_glance_misses_nothing_that_was_written_and_spares_most_of_the_reading():
    told = artifacts.load_manifest(artifacts.SHIPPED / "risk-guard")["metrics"]["glance"]
    assert told["missed"]["n"] > 2000 and told["missed"]["value"] <= glancing.MOST_MISSED
    assert told["garbled_missed"]["value"] <= glancing.MOST_GARBLED
    texts = [text for text in datasets.load("support-intent", "val").texts if not SHIPPED.screen.passes(text)]
    assert len(SHIPPED.glance.heavy([reading.keys(text) for text in texts])) < 0.5 * len(texts)
