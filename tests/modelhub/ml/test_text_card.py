"""What a text model's card says of kept answers and experts, and that nothing kept was chosen by the rows that judge it."""

from __future__ import annotations

import numpy as np
import pytest

from modelhub import artifacts
from modelhub.ml.text import card
from modelhub.ml.text.crossval import kept_across_folds


def logits(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two channels, two labels; the surer a row, the likelier it is right."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, count)
    signal = np.where(y == 1, 1.0, -1.0) * 1.2 + rng.normal(size=count) * 1.5
    deep = np.column_stack([-signal, signal])
    return deep, rng.normal(size=(count, 2)) * 0.1, y


def test_the_surest_answers_are_righter_and_about_as_many_as_asked_for():
    deep, side, y = logits(1000)
    found = kept_across_folds(deep, side, y, 0.85)
    assert found["value"] > found["overall"] and abs(found["coverage"] - 0.85) < 0.03
    assert found["n"] == round(found["coverage"] * 1000) and found["low"] < found["value"] < found["high"]


def test_where_confidence_says_nothing_keeping_gains_nothing():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 2000)
    found = kept_across_folds(rng.normal(size=(2000, 2)), rng.normal(size=(2000, 2)), y)
    assert abs(found["value"] - 0.5) < 0.04  # a threshold fitted on the judged rows would flatter it


def test_the_card_tells_kept_answers_weak_experts_and_why_there_are_no_folds(tmp_path):
    manifest = artifacts.load_manifest(artifacts.SHIPPED / "txt-base")
    told = {name: row.get("validation", row) for name, row in manifest["metrics"].items()}
    manifest["metrics"] = told  # as before the folds were run
    manifest["metrics"]["support-sentiment"]["kept_across_folds"] = {
        "value": 0.945, "low": 0.91, "high": 0.967, "n": 254, "coverage": 0.867, "overall": 0.894, "rows": 293,
    }  # fmt: skip
    change = {"median": 1.5, "low": 1.0, "high": 2.0, "by_seed": [1.0, 1.5, 2.0]}
    arms = {arm: {"slices": change, "overall": change} for arm in ("weak_rows", "random_rows")}
    manifest["experts"]["loop"] = {"config": {"extra": 720, "seeds": [1, 2, 3]}, "changes": arms}
    card.write(tmp_path, manifest)
    text = (tmp_path / "card.md").read_text("utf-8")
    assert "0.945 (0.910–0.967) on 254 of 293" in text and "were not run for these weights" in text
    weak = manifest["experts"]["weakest"][0]
    assert f"layer {weak['layer']}, expert {weak['expert']}" in text
    assert "+1.50 points (+1.00 to +2.00)" in text


def test_a_card_without_experts_has_no_such_section(tmp_path):
    card.write(tmp_path, artifacts.load_manifest(artifacts.SHIPPED / "txt-edge"))
    text = (tmp_path / "card.md").read_text("utf-8")
    assert "## Experts" not in text and "new heads on this trunk" not in text.lower()


def test_a_card_tells_what_the_operator_finds_and_what_it_stops_wrongly(tmp_path):
    manifest = artifacts.load_manifest(artifacts.SHIPPED / "txt-edge")
    card.write(tmp_path, manifest)
    text = (tmp_path / "card.md").read_text("utf-8")
    gate = manifest["gate"]
    assert f"{gate['planted']['all']['value']:.1%}" in text and f"{gate['benign']['high']:.2%}" in text
    card.write(tmp_path, {name: value for name, value in manifest.items() if name != "gate"})
    assert "Bias operator" not in (tmp_path / "card.md").read_text("utf-8")


@pytest.mark.parametrize("method", ["cross-validated"])
def test_folds_that_were_run_are_told(method: str):
    assert "five folds, each fitted anew" in card._folds({"metrics": {"a": {"method": method}}})
