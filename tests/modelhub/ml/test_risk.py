"""The risk guard's parts: reading, groups made one, swaps, sentences of our own, the numpy form, and the rule on enforcing."""

import random
from collections import Counter

import numpy as np
import pytest

from modelhub import artifacts
from modelhub.ml import datasets
from modelhub.ml.risk import encode, fit, grammar, identities, net, planted, reading, rows, templates, train
from tests.clocks import cpu_seconds

SHIPPED = net.load(artifacts.SHIPPED / "risk-guard" / "weights.npz")


def test_hashes_do_not_depend_on_the_process():
    assert net.hash_of("ab") == int.from_bytes(b"ab", "little") * 0x9E3779B1 % ((1 << 31) - 1)
    assert all(0 <= bucket < net.BUCKETS for bucket in net.buckets_of("discrimination"))
    assert net.buckets_of(reading.GROUP) == [net.hash_of(reading.GROUP) % net.BUCKETS]
    assert len(net.buckets_of(reading.keys("你好")[0])) == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Black people moved in.", ["\x01group", "moved", "in", "."]), ("My black card broke", ["my", "black", "card", "broke"]),
        ("a person with a disability", ["a", "\x01group"]), ("Gay Muslim women", ["\x01group"]),
        ("An immigrant!", ["a", "\x01group", "!"]),
        ("y o u  i d i o t", ["you", "idiot"]), ("1d10t", ["idiot"]), ("42", ["42"]), ("河南人都好", ["\x01group", "都", "好"]),
        ("Ｈｅｌｌｏ  World", ["hello", "world"]), ("don’t", ["don't"]), ("“Hi”", ['"', "hi", '"']), ("", []),
    ],
)  # fmt: skip
def test_texts_are_read_as_what_they_stand_for(text, told):
    assert reading.tokens(text) == told


def test_letters_spelt_apart_are_put_together_wherever_they_stand():
    draw = random.Random(9)
    for _ in range(5000):
        said = "".join(draw.choices("ab1@ .-_cd\n", k=draw.randint(1, 14)))
        found = reading._SPELLED.sub(lambda match: "".join(c for c in match.group() if c not in " .-_"), said)
        assert reading.normalise(said) == found, said


def test_a_name_the_model_knows_says_nothing():
    for many, one in templates.GROUPS_EN:
        for sentence in ("Nobody should hurt {many}.", "{many} are vermin.", "I met a {one} today."):
            text = sentence.format(many=many, one=one)
            reference = sentence.format(many="immigrants", one="immigrant")
            assert reading.tokens(text) == reading.tokens(reference), text
            assert SHIPPED.score([text])[0] == SHIPPED.score([reference])[0]


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
    assert len(identities.identity_swaps("a gay, black, Muslim, elderly woman from Mexico")) <= 7


def test_kinds_named_are_what_the_text_says():
    assert identities.kinds_named("A blind Muslim asked her.") == ["religion", "disability"]
    assert identities.kinds_named("She asked about women.") == ["gender"]
    assert identities.kinds_named("The parcel is late.") == []


def test_kinds_named_are_those_of_the_pattern_however_a_text_is_written():
    draw = random.Random(8)
    some = [
        *identities.PARTNERS,
        "people",
        "indigenous",
        "able",
        "bodied",
        "'s",
        "_",
        "中",
        "é",
        "9",
        "parcel",
    ]
    alike = {"i": "İı", "s": "ſ", "k": "\u212a"}
    for _ in range(4000):
        said = "".join(draw.choice(some) + draw.choice([" ", "", "  ", "-", "\n", "."]) for _ in range(4))
        if draw.random() < 0.3:
            said = "".join(draw.choice([c, c.upper(), alike.get(c, c)[0]]) for c in said)
        spans = [span.group() for span in identities._PATTERN.finditer(said)]
        plain = {
            "".join({"ı": "i", "ſ": "s"}.get(c, c) for c in span.replace("İ", "i").lower()) for span in spans
        }
        named = {identities._KIND_OF[word] for word in plain}
        assert identities.kinds_named(said) == [kind for kind in identities.ENGLISH if kind in named], said


def test_letters_that_are_taken_for_latin_ones_name_groups_too():
    assert identities.kinds_named("İslam büyük bir dindir.") == ["religion"]
    assert "Christianity büyük bir dindir." in identities.identity_swaps("İslam büyük bir dindir.")
    assert identities.identity_swaps("Her wıfe lost hıs key.") == ["His husband lost her key."]


def test_our_sentences_name_every_group_equally_often_in_both_classes():
    english = len(templates.GROUPS_EN) * len(templates.HARMLESS_EN)
    chinese = len(templates.GROUPS_ZH) * len(templates.HARMLESS_ZH)
    assert Counter(label for _, label in templates.rows()) == {0: english + chinese, 1: english + chinese}


def test_made_sentences_are_the_same_for_a_seed_and_their_parts_share_neither_frame_nor_word():
    first = [one.text for one in planted.Maker(3).sentences(300)]
    assert first == [one.text for one in planted.Maker(3).sentences(300)]
    fit_frames, held_frames = (
        planted.split(planted.frames.HATE_EN, "fit"),
        planted.split(planted.frames.HATE_EN, "held"),
    )
    assert not set(fit_frames) & set(held_frames)
    assert sorted((*fit_frames, *held_frames)) == sorted(planted.split(planted.frames.HATE_EN, "all"))
    words = {part: planted.lexicon.words_of(planted.lexicon.ENGLISH, part) for part in ("fit", "held")}
    assert all(not set(words["fit"][name]) & set(words["held"][name]) for name in words["fit"])


def test_every_made_sentence_is_filled_and_pairs_differ_in_the_group_alone():
    pairs: dict[int, list[planted.Planted]] = {}
    for one in planted.Maker(5, part="all").sentences(3000, groups=4):
        assert "{" not in one.text and "}" not in one.text, one.text
        pairs.setdefault(one.pair, []).append(one)
    several = [ones for ones in pairs.values() if len(ones) > 1]
    assert len(several) > 300
    for ones in several:
        assert len({one.kind for one in ones}) == 1 and len({one.group for one in ones}) == len(ones)
        read = {
            tuple(reading.tokens(one.text)) for one in ones if one.group != "men"
        }  # "man" is often no name
        assert len(read) == 1, ones


def clause(seed):
    words = planted.lexicon.words_of(planted.lexicon.ENGLISH | planted.frames.EXTRA_EN, "all")
    return grammar.Grammar(random.Random(seed), words, "all").sentence()


def test_the_grammar_calls_harmful_only_what_is_said_of_a_group():
    made = [clause(seed) for seed in range(2000)]
    assert all(one.target == "group" for one in made if one.harms)
    share = np.mean([one.harms for one in made])
    assert 0.2 < share < 0.5
    for one in made:
        if one.text.startswith("It is not true that") or "may say that" in one.text:
            assert not one.harms


def test_no_hatecheck_sentence_is_trained_on():
    cases = {rows.plain(case["text"]) for case in datasets.load_hatecheck()}
    made = rows.Rows()
    rows.made(made, 4000, 0, {}, "all")
    trained = {rows.plain(text) for text in made.texts} | {rows.plain(text) for text, _ in templates.rows()}
    assert not cases & trained


def test_the_numpy_form_gives_what_torch_gives_and_survives_its_file(tmp_path):
    every = rows.Rows()
    for one in planted.Maker(2).sentences(400):
        every.add(one.text, (*(float(one.kind == kind) for kind in planted.KINDS), fit.SILENT))
    words, vectors = SHIPPED.words[:4000], SHIPPED.vectors[:4000]
    import torch

    made = fit.fit(every, words, vectors, epochs=1)
    model = fit.Network(vectors).eval()
    served = fit.served(model, words, vectors)
    texts = encode.encode(every.texts[:40], {word: i for i, word in enumerate(words)})
    theirs = model(texts, torch.arange(40)).detach().numpy()
    ours = np.array([served.logits(text) for text in every.texts[:40]])
    assert np.abs(theirs - ours).max() < 1e-4
    made.shift_chinese = 0.5
    made.save(tmp_path / "weights.npz")
    again = net.load(tmp_path / "weights.npz")
    texts = [*every.texts[:60], "河南人都好", "", "?", "word " * 900]
    assert np.abs(again.kinds(texts) - made.kinds(texts)).max() < 0.05  # tables in 8 bits
    assert again.shift_chinese == 0.5


def test_a_full_table_begins_anew_and_scores_stay_the_same(monkeypatch):
    monkeypatch.setattr(net, "KEPT_KEYS", 500)
    small = net.load(artifacts.SHIPPED / "risk-guard" / "weights.npz")
    texts = [one.text for one in planted.Maker(9).sentences(400)]
    assert np.abs(small.kinds(texts) - SHIPPED.kinds(texts)).max() < 1e-4
    assert len(small._windows) <= 500


def test_a_file_of_another_shape_or_with_no_numbers_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "old.npz", weight=np.zeros(4, np.float16), bias=np.float32(0))
    with pytest.raises(ValueError, match="lacks"):
        net.load(tmp_path / "old.npz")
    SHIPPED.save(tmp_path / "bad.npz")
    with np.load(tmp_path / "bad.npz") as stored:
        values = dict(stored)
    values["out"] = np.full_like(values["out"], np.nan)
    np.savez_compressed(tmp_path / "bad.npz", **values)
    with pytest.raises(ValueError, match="no numbers"):
        net.load(tmp_path / "bad.npz")


def test_a_row_is_silent_about_what_its_source_does_not_speak_of():
    import torch

    logits = torch.tensor([[3.0, -3.0, 0.0, 1.0]])
    says = torch.tensor([[fit.SILENT, fit.SILENT, 0.0, fit.SILENT]])
    assert fit.loss_of(logits, says, torch.ones(1)).item() == pytest.approx(np.log(2), abs=1e-6)


def test_a_guard_that_blocks_harmless_sentences_may_not_enforce(tmp_path):
    manifest = train.make_guard(tmp_path / "risk-guard", limit=40)
    blocked = manifest["metrics"]["hatecheck"]["harmless_naming_a_group_blocked"]["value"]
    assert manifest["may_enforce"] == (blocked <= 0.10)
    card = (tmp_path / "risk-guard" / "card.md").read_text()
    assert ("may not" in card) == (not manifest["may_enforce"])
    assert len(manifest["metrics"]["hatecheck"]["curve"]) == 10 and "never met" in card


def test_scores_are_probabilities_and_quick():
    texts = ["Could you help me with my order, please?"] * 200
    SHIPPED.score(texts[:1])
    assert cpu_seconds(lambda: SHIPPED.score(texts)) < 0.8  # 4 ms each: twenty times what it takes
    scores = SHIPPED.score(texts)
    assert scores.dtype == np.float32
    assert 0.0 <= scores.min() <= scores.max() <= 1.0
    assert SHIPPED.score([]).shape == (0,)
    assert SHIPPED.score([""]).shape == (1,)
