"""What a month will come to, and what a day that stood out was made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from costs.charts.style import ACTUAL, IDLE, PRIVATE, SERIES, Figure, Row, largest, layout, money_unit

BAND = "rgba(47, 126, 188, 0.18)"
PARTS = {
    "requests": gettext_noop("requests"), "tokens": gettext_noop("tokens"), "price": gettext_noop("price"),
    "mix": gettext_noop("mix"),
}  # fmt: skip


def forecast(points: Sequence[Row]) -> Figure:
    """Running sums of a month: what was spent, what is foreseen, and its interval. Points {"day", "actual_nusd", "nusd",
    "low_nusd", "high_nusd"} in order of time."""
    size, unit = money_unit(largest([p.get("high_nusd") or p.get("actual_nusd") for p in points]))
    past = [p for p in points if p["actual_nusd"] is not None]
    ahead = [p for p in points if p["nusd"] is not None]
    joint = past[-1:]  # the foreseen part starts where the known one ends

    def line(name: str, days: list[Any], values: list[Any], **style: Any) -> Figure:
        return {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": days,
            "y": [v / size for v in values],
            "hovertemplate": f"%{{x}}, {name}: %{{y:.4~g}} {unit}<extra></extra>",
            **style,
        }

    days = [p["day"] for p in (*joint, *ahead)]
    known = [p["actual_nusd"] for p in joint]
    data = [
        line(_("low"), days, known + [p["low_nusd"] for p in ahead], line={"width": 0}, showlegend=False),
        line(
            _("interval, nine times in ten"), days, known + [p["high_nusd"] for p in ahead], line={"width": 0}, fill="tonexty",
            fillcolor=BAND,
        ),
        line(_("foreseen"), days, known + [p["nusd"] for p in ahead], line={"color": PRIVATE, "dash": "dot", "width": 2}),
        line(_("spent"), [p["day"] for p in past], [p["actual_nusd"] for p in past], line={"color": ACTUAL, "width": 3}),
    ]  # fmt: skip
    return {"data": data, "layout": layout(300, yaxis={"title": {"text": unit}, "rangemode": "tozero"})}


def anomaly_parts(rows: Sequence[Row]) -> Figure:
    """What moved, one bar a finding: the parts of what it cost beyond what was expected. Rows of the anomalies report."""
    names = [f"{r['day']} {r['key']}" for r in rows]
    size, unit = money_unit(largest(v for r in rows for v in r["parts_nusd"].values()))
    colours = dict(zip(PARTS, (SERIES[0], SERIES[2], SERIES[1], IDLE), strict=True))
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": _(word),
            "y": names,
            "x": [r["parts_nusd"].get(part, 0) / size for r in rows],
            "marker": {"color": colours[part]},
            "hovertemplate": "%{y}, " + _(word) + f": %{{x:.4~g}} {unit}<extra></extra>",
        }
        for part, word in PARTS.items()
    ]
    height = max(180, 90 + 30 * len(names))
    return {
        "data": data,
        "layout": layout(height, barmode="relative", bargap=0.35, xaxis={"title": {"text": unit}}),
    }
