"""The screen: plain texts pass unread, whatever may hide something doesn't; and a net's verdicts stay what they were."""

import random
from collections import Counter

import numpy as np
import pytest

from modelhub import artifacts
from modelhub.ml import datasets
from modelhub.ml.risk import groups, lexicon, net, plain, rows, screening, speech, templates
from modelhub.ml.risk.screen import Screen, words_in
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


def test_many_texts_are_looked_at_as_each_alone():
    draw = random.Random(3)
    some = [
        *PLAIN.split(),
        "women",
        "Women",
        "’s",
        "don’t",
        "Σ",
        "ΑΣ",
        "İ",
        "\0",
        "12.5%",
        "2101",
        "—",
        "…",
        "\u2028",
        "\x1f",
    ]
    for _ in range(2000):
        texts = ["".join(draw.choice(some) + draw.choice(" .-") for _ in range(draw.randint(0, 4)))
                 for _ in range(draw.randint(0, 5))]  # fmt: skip
        assert SOME.heavy(texts) == [i for i, text in enumerate(texts) if not SOME.passes(text)], texts


def test_words_are_what_is_left_when_each_mark_parts():
    parted = dict.fromkeys('.,;:!?"()[]{}<>/\\-–—_*#`~=|“”…\t\n\r•', " ") | {"’": "'"}
    draw = random.Random(4)
    some = [*map(chr, range(0x250)), *parted, "Σ", "\u1e9e", "\u3000", "\ud800", *" aB" * 40]
    for _ in range(5000):
        text = "".join(draw.choices(some, k=20))
        assert words_in(text) == set("".join(parted.get(c, c) for c in text.lower()).split()), text


def test_words_add_up_and_no_word_that_is_added_makes_a_text_lighter():
    screen = Screen({"they": 60, "send": 50, "back": 20, "the": 0})
    assert (
        screen.passes("They send the") is False
        and screen.passes("they, they, they")
        and screen.passes("send back")
    )
    assert not screen.passes("they send " + "the " * 500) and not screen.passes("send back they")
    with pytest.raises(ValueError, match="less than nothing"):
        Screen({"thanks": -1})


def test_the_screens_weights_are_saved_with_the_net(tmp_path):
    SHIPPED.save(tmp_path / "again.npz")
    assert net.load(tmp_path / "again.npz").screen.weights == SHIPPED.screen.weights
    assert len(set(SHIPPED.screen.weights.values())) > 50


def _judged(*some: tuple[list[str], bool, bool]) -> plain.Judged:
    texts = [text for more, _, _ in some for text in more]
    blocked, garbled = (np.array([row[at] for row in some for _ in row[0]]) for at in (1, 2))
    return plain.Judged(texts, blocked, np.zeros(len(texts), bool), garbled)


def test_words_of_what_is_blocked_weigh_and_their_harmless_neighbours_do_not():
    fine = (["the sky is blue today", "they is blue today", "the cellar is blue"] * 400, False, False)
    rows = _judged(fine, (["they lurk in the cellar", "they lurk"] * 400, True, False))
    words = plain.weighable(Counter({word: 9 for text in rows.texts for word in text.split()} | {"rare": 1}))
    found = plain.found(words, rows, rows, epochs=60, told=lambda line: None)
    screen = Screen(found.weights)
    assert found.written == (0, 800) and found.garbled == (0, 0)
    assert (
        not screen.passes("They lurk.")
        and not screen.passes("they lurk in the cellar")
        and not screen.passes("rare")
    )
    assert screen.passes("The sky is blue today.") and screen.passes("They is blue.")


def test_what_the_fit_did_not_see_makes_all_words_heavier():
    rows = _judged(
        (["nice day", "good word", "good day"] * 400, False, False), (["bad word"] * 800, True, False)
    )
    new = _judged((["bad nice"] * 10, True, False), (["bad good"] * 10, True, True))
    words = ["nice", "day", "bad", "word", "good"]
    easy = plain.found(words, rows, rows, epochs=60, told=lambda line: None)
    strict = plain.found(words, rows, new, epochs=60, told=lambda line: None)
    assert strict.bound < easy.bound and strict.written == (0, 10) and strict.garbled == (0, 10)
    assert not Screen(strict.weights).passes("bad nice")


def test_no_word_of_harm_is_weighed_however_common():
    assert plain.weighable(dict.fromkeys(["women", "kill", "scum", "12", "rare"], 9) | {"rare": 1}) == []


def test_each_word_is_put_where_a_group_is_spoken_of_ill():
    made = screening.put_ill(["parcel"], ["All of them are vermin."], 1)
    assert "Hey parcel!" in made and all("parcel" in text for text in made)
    assert len(made) == len(screening.ILL) + 1


@pytest.mark.parametrize(
    "text", ["I can't accept g a y s", "These w-o-m-e-n", "Avoid the m.e.n.", "a t e e n a g e r out"]
)
def test_words_spelt_apart_do_not_pass_the_shipped_screen(text):
    assert not SHIPPED.screen.passes(text)


def test_our_held_out_sentences_that_the_net_blocks_do_not_pass_however_they_are_spelt():
    draw = random.Random(31)
    told = [text for _, text in rows.spoken(4000, draw, "held", {})]
    told += [speech.respelt(text, draw) for text in told]
    passed = [text for text in told if SHIPPED.screen.passes(text)]
    assert 0 < len(passed) < len(told) / 10
    assert not [
        text
        for text, kinds in zip(passed, SHIPPED.kinds(passed), strict=True)
        if kinds[: net.JUDGED].max() >= 0.3
    ]


def test_the_shipped_screen_misses_nothing_that_people_or_our_grammars_wrote():
    told = artifacts.load_manifest(artifacts.SHIPPED / "risk-guard")["metrics"]["screen"]
    assert told["missed"]["n"] > 2000 and told["missed"]["value"] <= plain.MOST_MISSED
    assert told["garbled_missed"]["value"] <= plain.MOST_GARBLED


def test_scores_are_kept_by_hash_and_bounded(monkeypatch):
    monkeypatch.setattr(risk, "KEPT_SCORES", 50)
    model = risk.RiskModel(artifacts.SHIPPED / "risk-guard")
    texts = [f"All immigrants are vermin number {i}" for i in range(120)]
    first = model.score(texts[:40])
    calls = []
    real = model._net.score_unscreened
    monkeypatch.setattr(model._net, "score_unscreened", lambda texts: calls.append(len(texts)) or real(texts))
    assert np.array_equal(model.score(texts[:40]), first) and calls == []
    both = model.score([texts[0], "All immigrants are vermin, all", texts[1]])
    assert calls == [1] and both[0] == first[0] and both[2] == first[1]
    assert np.abs(model.score(texts) - real(texts)).max() < 1e-4
    assert all(isinstance(key, int) for key in model._scores)
