"""The shipped risk guard: two languages, ordinary texts left alone, and honest about enforcing."""

from modelhub import artifacts
from modelhub.ml import datasets
from modelhub.ml.risk import measure
from modelhub.serving.runners.risk import RiskModel

GUARD = RiskModel(artifacts.SHIPPED / "risk-guard")


def test_insults_score_high_and_questions_low_in_both_languages():
    offensive = GUARD.score(["you are a stupid bitch and I hate you", "这些黑人都是垃圾，滚出去"])
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
