"""The screen: plain texts pass unread, whatever may hide something doesn't; and a net's verdicts stay what they were."""

import numpy as np
import pytest

from modelhub import artifacts
from modelhub.ml import datasets
from modelhub.ml.risk import groups, lexicon, net, plain, templates
from modelhub.ml.risk.screen import Screen
from modelhub.serving.runners import risk

SHIPPED = net.load(artifacts.SHIPPED / "risk-guard" / "weights.npz")
PLAIN = "thank you for your order it will be delivered on monday the card is new don't well known"
SOME = Screen(PLAIN.split())


@pytest.mark.parametrize(
    "text",
    [
        "Thank you for your order!", "Don't: it will be delivered on Monday.", "I don’t.", "",
        "The card (new) is 12.5% €30, well-known.", "**Thank you**", "1234567890",
    ],
)  # fmt: skip
def test_plain_texts_pass(text):
    assert SOME.passes(text)


@pytest.mark.parametrize(
    "text",
    [
        "Thank you for your 0rder", "t h a n k you", "t.h.a.n.k you", "thankyou", "th*nk you", "Thank you, women.",
        "订单", "Ｔhank you", "thank yоu", "you ar3 new", "y0u", "$ard",
    ],
)  # fmt: skip
def test_whatever_may_hide_something_goes_to_the_net(text):
    assert not SOME.passes(text)


def test_no_name_of_a_group_and_no_word_of_abuse_passes_the_shipped_screen():
    screen = SHIPPED.screen
    assert screen is not None
    assert not [term for term in groups.TERMS if screen.passes(term)]
    assert not [f"{word} people" for word in groups.ADJECTIVES if screen.passes(f"{word} people")]
    for many, one in templates.GROUPS_EN:
        assert not screen.passes(many) and not screen.passes(f"I met a {one} today.")
    for name in ("vile_many", "vile_one", "slur_one", "slur_many", "harm_verb"):
        assert not [word for word in lexicon.ENGLISH[name] if " " not in word and screen.passes(word)], name


def test_the_screen_lowers_no_recall():
    texts = [case["text"] for case in datasets.load_hatecheck() if case["label"] == "hateful"]
    read = SHIPPED.kinds(texts)[:, : net.JUDGED].max(axis=1)
    scores = SHIPPED.score(texts)
    at = float(artifacts.load_manifest(artifacts.SHIPPED / "risk-guard")["thresholds"]["default"])
    lost = (read >= at) & (scores < at)
    assert lost.mean() <= 0.001
    assert np.abs(scores[scores > 0] - read[scores > 0]).max() < 1e-4


def test_most_business_texts_pass_unread():
    texts = datasets.load("support-intent", "val").texts
    assert np.mean([SHIPPED.screen.passes(text) for text in texts]) > 0.5


def test_words_that_stand_in_what_is_blocked_are_not_plain():
    ordinary = ["the sky is blue today", "they is blue today"] * 40 + ["they lurk in the cellar"] * 5
    others = ["they lurk"] * 50
    found = plain.found(
        ["the", "sky", "is", "blue", "today", "they", "lurk", "in", "cellar"], ordinary, others,
        lambda texts: np.array(["lurk" in text for text in texts]), told=lambda line: None,
    )  # fmt: skip
    assert "lurk" not in found and {"sky", "blue", "is"} <= found
    risky = ["women", "kill", "scum"]
    assert not plain.found(
        risky, [" ".join(risky)] * 9, [], lambda texts: np.zeros(len(texts), bool), lambda line: None
    )


def test_scores_are_kept_by_hash_and_bounded(monkeypatch):
    monkeypatch.setattr(risk, "KEPT_SCORES", 50)
    model = risk.RiskModel(artifacts.SHIPPED / "risk-guard")
    texts = [f"All immigrants are vermin number {i}" for i in range(120)]
    first = model.score(texts[:40])
    calls = []
    real = model._net.score
    monkeypatch.setattr(model._net, "score", lambda texts: calls.append(len(texts)) or real(texts))
    assert np.array_equal(model.score(texts[:40]), first) and calls == []
    both = model.score([texts[0], "All immigrants are vermin, all", texts[1]])
    assert calls == [1] and both[0] == first[0] and both[2] == first[1]
    assert np.abs(model.score(texts) - real(texts)).max() < 1e-4
    assert all(isinstance(key, int) for key in model._scores)
