"""The row of lead time is written of what the product tells, whose first step has no seconds before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.common import Results
from bench.tools import lead_time


class Stopped:
    """In the place of a running product."""

    def __init__(self, home: Path) -> None:
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True


def test_three_sets_of_rows_make_one_row_and_its_control(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(count: int, *, seed: int, running: Stopped) -> dict:
        return {
            "minutes": 3.0 + seed, "candidate_minutes": 2.0 + seed, "rows": count, "seed": seed,
            "steps": {"uploaded": None, "submitted": 0.9, "started": 1.9, "trained": 122.8, "judged": 41.8, "canary": None},
            "gates": {"bias": "pass", "accuracy": "fail"},
        }  # fmt: skip

    monkeypatch.setattr(lead_time, "Running", Stopped)
    monkeypatch.setattr(lead_time, "rows_to_canary", measured)
    results = Results("adapters")
    lead_time.bench_rows(results)
    (row,) = [one for one in results.rows if one.metric == "rows_to_canary_min"]
    assert row.value == 4.0 and "trained 123 s" in row.how and "uploaded" not in row.how
    assert "accuracy fail, bias pass" in row.how
    assert [one.metric for one in results.controls] == ["rows_to_candidate_min"]


def test_rows_are_distinct_texts_with_the_labels_of_the_shipped_ones() -> None:
    lines = lead_time.texts_of(300, seed=1).decode().splitlines()
    assert len(set(lines)) == 300 and lead_time.texts_of(300, seed=1) != lead_time.texts_of(300, seed=2)
