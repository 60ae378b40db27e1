"""The shipped risk guard: two languages, ordinary texts left alone, and honest about enforcing."""

from modelhub import artifacts
from modelhub.ml import datasets
from modelhub.ml.risk import measure
from modelhub.serving.runners.risk import RiskModel

GUARD = RiskModel(artifacts.SHIPPED / "risk-guard")


def test_an_insult_to_one_person_is_told_as_abuse_and_blocks_nothing():
    kinds = dict(
        zip(GUARD.kinds, GUARD.score_kinds(["you are a stupid bitch and I hate you"])[0], strict=True)
    )
    assert kinds["abuse"] > GUARD.threshold > max(kinds[name] for name in GUARD.kinds if name != "abuse")
    assert GUARD.kind_of("All immigrants are vermin and should be shot.") == "harm"


def test_hate_scores_high_and_questions_low_in_both_languages():
    offensive = GUARD.score(["All immigrants are vermin and should be shot.", "这些黑人都是垃圾，滚出去"])
    harmless = GUARD.score(["When will my new card arrive?", "今天天气很好，我们去公园吧"])
    assert (offensive > GUARD.threshold).all()
    assert (harmless < GUARD.threshold).all()


def test_at_most_one_business_text_in_a_hundred_is_blocked():
    texts = datasets.load("support-intent", "val").texts[:400]
    assert (GUARD.score(texts) >= GUARD.threshold).mean() <= 0.01


def test_the_manifest_tells_hatechecks_figures_as_they_are():
    cases = [
        case for case in datasets.load_hatecheck() if case["label"] != "hateful" and case["target_ident"]
    ]
    blocked = (GUARD.score([case["text"] for case in cases]) >= GUARD.threshold).mean()
    told = GUARD.figures["hatecheck"]["harmless_naming_a_group_blocked"]
    assert told["n"] == len(cases)
    assert abs(told["value"] - blocked) < 1e-3
    assert GUARD.may_enforce == (blocked <= measure.MAY_ENFORCE)
    assert set(GUARD.figures["hatecheck"]["by_group"]) == {case["target_ident"] for case in cases}


def test_the_probe_swaps_groups():
    assert "A Christian nurse helped." in GUARD.identity_swaps("A Muslim nurse helped.")


def test_a_long_text_is_not_looked_at_as_a_whole_and_its_plain_sentences_score_nothing():
    sentence = "We have sent out your new card this week. "
    assert GUARD.passes(sentence) and not GUARD.passes(sentence * 20)
    assert GUARD.score([sentence, sentence * 20]).tolist() == [0.0, 0.0]
