"""The risk guard's parts: n-grams, swaps, sentences of our own, and the rule on enforcing."""

import time
from collections import Counter

import numpy as np

from modelhub.ml import datasets
from modelhub.ml.risk import identities, model, ngrams, templates, train


def test_hashes_do_not_depend_on_the_process():
    assert ngrams.hash_word("women") == int.from_bytes(b"women", "little") % ((1 << 31) - 1)
    found = ngrams.buckets_of("ab")
    assert found.tolist() == sorted(set(found.tolist()))
    assert found.max() < ngrams.BUCKETS


def test_case_and_full_width_letters_read_alike():
    assert np.array_equal(ngrams.buckets_of("Ｈｅｌｌｏ  World"), ngrams.buckets_of("hello world"))


def test_swaps_exchange_groups_and_keep_the_sentence():
    assert identities.identity_swaps("She thanked her mother.") == ["He thanked his father."]
    found = identities.identity_swaps("The Muslim family moved in.")
    assert "The Christian family moved in." in found
    assert all(text != "The Muslim family moved in." for text in found)
    assert len(found) == 5


def test_swaps_work_in_chinese_and_leave_other_texts_alone():
    assert identities.identity_swaps("女人都很聪明") == ["男人都很聪明"]
    assert identities.identity_swaps("My card has not arrived.") == []
    assert identities.identity_swaps("The shepherd heard a blackbird.") == []


def test_at_most_seven_swaps_are_made():
    assert len(identities.identity_swaps("a gay, black, Muslim, elderly woman from Mexico")) <= 7


def test_our_sentences_name_every_group_equally_often_in_both_classes():
    english = len(templates.GROUPS_EN) * len(templates.HARMLESS_EN)
    chinese = len(templates.GROUPS_ZH) * len(templates.HARMLESS_ZH)
    assert Counter(label for _, label in templates.rows()) == {0: english + chinese, 1: english + chinese}
    for sentence in (*templates.HARMLESS_EN, *templates.HATEFUL_EN):
        assert sentence.count("{many}") + sentence.count("{one}") == 1


def test_no_hatecheck_sentence_is_trained_on():
    def plain(text):
        return "".join(ch for ch in text.lower() if ch.isalnum())

    cases = {plain(case["text"]) for case in datasets.load_hatecheck()}
    trained = [text for text, _ in templates.rows()] + train.offensive_rows(None)[0]
    assert not cases & {plain(text) for text in trained}


def test_a_guard_that_blocks_harmless_sentences_may_not_enforce(tmp_path):
    manifest = train.make_guard(tmp_path / "risk-guard", limit=200)
    blocked = manifest["metrics"]["hatecheck"]["harmless_naming_a_group_blocked"]["value"]
    assert manifest["may_enforce"] == (blocked <= 0.10)
    assert len(manifest["mitigation"]) == 3
    assert ("may not" in (tmp_path / "risk-guard" / "card.md").read_text()) == (not manifest["may_enforce"])


def test_scores_are_probabilities_and_quick():
    weights = model.RiskWeights(np.random.default_rng(0).normal(size=ngrams.BUCKETS).astype(np.float32), 0.0)
    texts = ["Could you help me with my order, please?"] * 200
    started = time.perf_counter()
    scores = weights.score(texts)
    assert time.perf_counter() - started < 0.4  # 2 ms each: ten times what it takes, for a busy machine
    assert scores.dtype == np.float32
    assert 0.0 <= scores.min() <= scores.max() <= 1.0
    assert weights.score([]).shape == (0,)
    assert weights.score([""]).shape == (1,)
