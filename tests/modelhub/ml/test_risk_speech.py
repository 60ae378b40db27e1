"""The wider grammar: what is harm and what isn't, parts that share nothing, spelling past a filter, retold sentences."""

import random
from collections import Counter

import pytest

from modelhub.ml import datasets
from modelhub.ml.risk import fit, lexicon, reading, rows, sayings, speech, turns


def drawn(n: int, part: str = "all", seed: int = 1) -> list[speech.Saying]:
    words = lexicon.words_of(lexicon.ENGLISH, part)
    maker = speech.Speech(random.Random(seed), words, part)
    return [maker.sentence() for _ in range(n)]


def test_only_what_is_said_of_a_group_harms_and_a_denial_or_a_report_doesnt():
    made = drawn(5000)
    for one in made:
        if one.harms:
            assert one.family in ("implied", "slur", "quoted, agreed") or one.family.endswith("bad group"), (
                one
            )
        if one.family in ("denied", "quoted, condemned", "reclaimed", "sounds like"):
            assert not one.harms, one
        if one.family.endswith("bad group"):
            assert one.harms, one
    assert 0.3 < sum(one.harms for one in made) / len(made) < 0.5
    assert len({one.family for one in made}) > 30


def test_every_slot_but_the_groups_is_filled():
    for one in drawn(5000):
        assert set(speech._SLOT.findall(one.text)) <= {"many", "one"}, one


@pytest.mark.parametrize("source", [sayings, turns])
def test_parts_share_no_turn_of_speech(source):
    tables = {name: table for name, table in vars(source).items() if isinstance(table, tuple)}
    words = lexicon.words_of(lexicon.ENGLISH, "all")
    seen = {part: speech.Speech(random.Random(0), words, part).tables for part in ("fit", "held", "all")}
    for name, table in tables.items():
        assert len(table) == len(set(table)), name
        assert not set(seen["fit"][name]) & set(seen["held"][name])
        assert set(seen["fit"][name]) | set(seen["held"][name]) == set(seen["all"][name]) == set(table)


def test_what_is_said_of_a_group_is_said_of_others_as_well():
    families = Counter(one.family for one in drawn(8000))
    for mood in ("bad", "good", "plain"):
        for target in ("group", "other", "thing", "person"):
            assert families[f"clause {mood} {target}"] > 10, (mood, target)


def test_no_hatecheck_sentence_is_among_the_rows_and_rows_are_the_same_for_a_seed():
    made, again = fit.Rows(), fit.Rows()
    rows.said(made, 6000, 3, "all", {})
    rows.said(again, 6000, 3, "all", {})
    assert made.texts == again.texts and made.says == again.says
    assert not {rows.plain(case["text"]) for case in datasets.load_hatecheck()} & {
        rows.plain(text) for text in made.texts
    }
    assert not any("{" in text or "}" in text for text in made.texts)


def test_a_word_is_spelt_past_a_filter_and_the_others_stay():
    draw = random.Random(4)
    text = "We should banish every immigrant tomorrow morning"
    told = [speech.respelt(text, draw) for _ in range(200)]
    assert sum(one != text for one in told) > 180
    assert all(sum(word in one for word in text.split()) >= 3 for one in told)
    assert any("0" in one or "3" in one or "1" in one for one in told) and any("*" in one for one in told)
    assert speech.respelt("a b", draw) == "a b"


def test_retold_sentences_say_nothing_and_differ():
    made = fit.Rows()
    texts = ["They came to our town last week and opened a shop"] * 300
    rows.unlabelled(made, texts, {"town": ["village"], "shop": ["store"]}, 1)
    assert set(made.says) == {(fit.SILENT,) * 4}
    assert len(set(made.texts)) > 50
    assert any(reading.GROUP in reading.tokens(text) for text in made.texts)
    assert any("village" in text for text in made.texts)
