"""What a semantic cache would have answered, and when it may be switched on."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from routing.caching.paraphrases import AtThreshold, judge, particulars, simulate, wilson_lower
from routing.caching.verdict import MEASURED, SHIPPED, refusal, verdict_of


def unit(*degrees: float) -> np.ndarray:
    """Vectors of length one at these angles: their similarity is the cosine of the difference."""
    return np.array([[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees], np.float32)


def rows(threshold: float, served: int, right: int, asked: int = 10_000) -> list[AtThreshold]:
    return [AtThreshold(threshold, asked, served, served, right)]


def test_an_answer_is_right_only_with_the_intent_and_the_particulars() -> None:
    kept = (["Can I top up in euros?", "Where is my card?"], ["top_up", "card"], unit(0, 90))
    asked = (
        ["May I top up in euros?", "Can I top up in dollars?", "How do I top up?", "Where is my card now?"],
        ["top_up", "top_up", "top_up", "delivery"], unit(5, 5, 60, 90),
    )  # fmt: skip
    at = {row.threshold: row for row in simulate(kept, asked)}
    assert (at[0.99].served, at[0.99].same_intent, at[0.99].right) == (3, 2, 1)
    assert (at[0.80].served, at[0.80].asked) == (4, 4) and at[0.99].precision == pytest.approx(1 / 3)


def test_particulars_are_what_an_answer_hangs_on() -> None:
    assert particulars("Why can't I pay £20 in the USA?") == {"can't", "£", "20", "usa"}
    assert particulars("I am pleased with my order") == frozenset()


def test_the_interval_is_wilsons() -> None:
    assert wilson_lower(95, 100) == pytest.approx(0.8882, abs=1e-4)  # R: binom::binom.wilson(95, 100)
    assert wilson_lower(381, 381) == pytest.approx(0.99, abs=1e-4) and wilson_lower(0, 0) == 0.0


def test_the_lowest_threshold_that_holds_twice_is_taken() -> None:
    chosen = rows(0.9, 2000, 1900) + rows(0.95, 1000, 999)
    told = judge(chosen, rows(0.9, 900, 800) + rows(0.95, 800, 800), encoder="e", data="d")
    assert (told.verdict, told.threshold) == ("pass", 0.95)


@pytest.mark.parametrize(
    ("chosen", "confirmed", "word"),
    [
        (rows(0.9, 1000, 950), rows(0.9, 1000, 1000), "No threshold"),
        (rows(0.9, 50, 50), rows(0.9, 1000, 1000), "No threshold"),  # too few to know
        (rows(0.9, 1000, 999, asked=1_000_000), rows(0.9, 1000, 1000), "No threshold"),  # hardly ever
        (rows(0.9, 1000, 999), rows(0.9, 1000, 970), "chose nothing"),
    ],
)
def test_what_is_not_proven_is_not_switched_on(
    chosen: list[AtThreshold], confirmed: list[AtThreshold], word: str
) -> None:
    told = judge(chosen, confirmed, encoder="e", data="d")
    assert told.verdict == "fail" and told.threshold is None and word in told.why


def test_the_shipped_verdict_is_a_measurement() -> None:
    told = json.loads(SHIPPED.read_text("utf-8"))
    assert told["verdict"] in ("pass", "fail") and len(told["table"]) > 10 and "Banking77" in told["data"]
    assert all(row["right"] <= row["same_intent"] <= row["served"] <= row["asked"] for row in told["table"])


def test_the_verdict_decides_which_similarity_may_serve(tmp_path: Path) -> None:
    (tmp_path / MEASURED).write_text(json.dumps({"verdict": "pass", "threshold": 0.97, "why": "measured"}))
    assert refusal(0.97, tmp_path) == "" and "0.97 and above" in refusal(0.95, tmp_path)
    (tmp_path / MEASURED).write_text(
        json.dumps({"verdict": "fail", "threshold": None, "why": "it was wrong"})
    )
    assert "it was wrong" in refusal(0.999, tmp_path)
    (tmp_path / MEASURED).write_text("{}")
    assert verdict_of(tmp_path)["verdict"] == "fail" and "can't be read" in refusal(0.999, tmp_path)
