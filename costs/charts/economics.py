"""Figures of the replay: plans by cost and accuracy, and the tornado."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _

from costs.charts.style import EXTERNAL, PRIVATE, SERIES, Figure, Row, layout


def plans(rows: Sequence[Row], names: dict[str, str]) -> Figure:
    """Cost across (logarithmic), share right upwards; hollow marks are plans that break residency or a floor.
    Rows {"key", "cost_nusd", "right", "lawful", "floors"}; `names`: plan → what to call it."""
    right = _("right")
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": names.get(row["key"], row["key"]),
            "x": [row["cost_nusd"] / 1e9],
            "y": [row["right"]],
            "text": [names.get(row["key"], row["key"])],
            "marker": {
                "size": 14,
                "symbol": "circle" if row["lawful"] and row["floors"] else "circle-open",
                "color": SERIES[place % len(SERIES)],
                "line": {"width": 2},
            },
            "hovertemplate": f"%{{text}}: $%{{x:,.0f}}, %{{y:.1%}} {right}<extra></extra>",
        }
        for place, row in enumerate(rows)
    ]
    shape: dict[str, Any] = {
        "xaxis": {"type": "log", "title": {"text": _("US dollars, six days (logarithmic)")}},
        "yaxis": {"title": {"text": _("share right")}, "tickformat": ".0%"},
    }
    return {"data": data, "layout": layout(360, **shape)}


def tornado(bars: Sequence[Row]) -> Figure:
    """One bar an assumption, from the ratio at its low value to that at its high value. Rows {"key", "at_low", "at_high",
    "base"}, farthest first."""
    shown = list(
        reversed([bar for bar in bars if bar["at_low"] is not None and bar["at_high"] is not None][:12])
    )
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": [bar["key"] for bar in shown],
            "base": [bar["base"] for bar in shown],
            "x": [bar[end] - bar["base"] for bar in shown],
            "marker": {"color": colour},
            "hovertemplate": "%{y}: %{customdata:.3f}<extra></extra>",
            "customdata": [bar[end] for bar in shown],
        }
        for end, name, colour in (("at_low", _("low value"), PRIVATE), ("at_high", _("high value"), EXTERNAL))
    ]
    axis = {"title": {"text": _("ratio of the two costs")}}
    return {"data": data, "layout": layout(110 + 26 * len(shown), barmode="overlay", bargap=0.3, xaxis=axis)}
