"""Whether roll-ups say what their attempts come to."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import Max, Min

from costs import rollups
from costs.models import Attempt, SpendDay, SpendHour


def rolled() -> list[dict[str, Any]]:
    """Hours, then days; sums of durations to the nanosecond, for they are added up in another order."""
    rows = [
        {name: value for name, value in row.items() if name not in ("id", "duration_ms")}
        | {"duration_ms": pytest.approx(row["duration_ms"], abs=1e-6)}
        for model in (SpendHour, SpendDay)
        for row in model.objects.order_by(*model.NAMES).values()
    ]
    return [row for row in rows if any(row[name] for name in rollups.SPEND_FIELDS if name != "duration_ms")]


def assert_level() -> None:
    """What is kept is what making it anew gives."""
    kept = rolled()
    span = Attempt.objects.aggregate(first=Min("at"), last=Max("at"))
    SpendHour.objects.all().delete()
    rollups.refresh(span["first"], span["last"])
    fresh = rolled()
    assert kept == fresh
