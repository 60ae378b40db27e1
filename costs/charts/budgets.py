"""Budgets: their use, and how one burns down with what is expected of it."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.translation import gettext as _

from costs.charts.style import EXTERNAL, IDLE, PRIVATE, Figure, Row, largest, layout, money_unit


def budget_use(rows: Sequence[Row]) -> Figure:
    """Used share of each budget. Rows {"key", "spent_nusd", "limit_nusd", "warn_pct"}; the tick marks the warning."""
    names = [str(r["key"]) for r in rows]
    used = [r["spent_nusd"] / r["limit_nusd"] if r["limit_nusd"] else 0.0 for r in rows]
    over = [EXTERNAL if u * 100 >= r["warn_pct"] else PRIVATE for u, r in zip(used, rows, strict=True)]
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": _("used"),
            "y": names,
            "x": used,
            "marker": {"color": over},
            "text": [_share(u) for u in used],
            "textposition": "outside",
            "cliponaxis": False,
            "hovertemplate": "%{y}: %{x:.3%} " + _("used") + "<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": _("warning"),
            "y": names,
            "x": [r["warn_pct"] / 100 for r in rows],
            "marker": {"symbol": "line-ns-open", "size": 18, "color": IDLE, "line": {"width": 3}},
            "hovertemplate": "%{y}: " + _("warns at") + " %{x:.0%}<extra></extra>",
        },
    ]
    axis = {"tickformat": ".0%", "range": [0, max([1.0, *used]) * 1.02]}
    return {"data": data, "layout": layout(max(200, 90 + 30 * len(names)), xaxis=axis, bargap=0.4)}


def _share(used: float) -> str:
    """A bar that is too short to be seen says so."""
    return _("under a thousandth") if 0 < used < 0.001 else f"{used:.1%}".replace("%", " %")


def burn_down(rows: Sequence[Row], limit_nusd: int) -> Figure:
    """What is left of a budget. Rows {"key": moment, "left_nusd", "expected": bool} in order of time; the expected ones are
    dashed, and `low` and `high` (moments, where given on the last row) mark when it will have run out."""
    size, unit = money_unit(largest([limit_nusd]))
    known = [r for r in rows if not r["expected"]]
    ahead = [*known[-1:], *(r for r in rows if r["expected"])]
    data = [
        _line(_("left"), known, size, unit, {"color": PRIVATE, "width": 2, "shape": "hv"}),
        _line(_("expected"), ahead, size, unit, {"color": EXTERNAL, "width": 2, "dash": "dash"}),
    ]
    ends = [rows[-1].get("low"), rows[-1].get("high")] if rows else []
    if any(ends):
        shown = [moment for moment in ends if moment]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": _("runs out, nine times in ten"),
                "x": shown,
                "y": [0] * len(shown),
                "line": {"color": IDLE, "width": 4},
                "marker": {"symbol": "line-ns-open", "size": 12, "color": IDLE, "line": {"width": 3}},
                "hovertemplate": "%{x}<extra>90 %</extra>",
            }
        )
    return {"data": data, "layout": layout(240, yaxis={"title": {"text": unit}, "rangemode": "tozero"})}


def _line(name: str, rows: Sequence[Row], size: int, unit: str, line: Figure) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [r["key"] for r in rows],
        "y": [r["left_nusd"] / size for r in rows],
        "line": line,
        "hovertemplate": f"%{{x}}: %{{y:.6~g}} {unit} {name}<extra></extra>",
    }
