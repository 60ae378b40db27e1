"""Figures of the planners: two bills over volume, response times by machines, devices by what a correct answer costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _

from costs.charts.style import (
    ACTUAL,
    EXTERNAL,
    IDLE,
    PRIVATE,
    SERIES,
    Figure,
    Row,
    error,
    largest,
    layout,
    money_unit,
)
from costs.planning.break_even import private_nusd

POINTS = 41


def bills(row: Row) -> list[dict[str, float]]:
    """Both sides' bill of a day by answers a day, from a tenth of what matters to ten times it: rows {"volume",
    "private_nusd", "external_nusd"}. Empty where one of the two lines isn't known."""
    fixed, marginal = row["private_fixed_nusd_per_day"], row["private_nusd_per_1000"]
    external = row["external_nusd_per_1000"]
    if fixed is None or marginal is None or not external:
        return []
    marks = [
        row[name] for name in ("answers_per_day", "break_even_per_day", "low", "high", "capacity_per_day")
    ]
    known = [mark for mark in marks if mark]
    if not known:
        return []
    low, high = min(known) / 3, max(known) * 3
    volumes = sorted({*(low * (high / low) ** (i / (POINTS - 1)) for i in range(POINTS)), *known})
    return [
        {
            "volume": volume,
            "private_nusd": private_nusd(volume, fixed, marginal / 1000),
            "external_nusd": volume * external / 1000,
        }
        for volume in volumes
    ]


def break_even(row: Row) -> Figure:
    """Both bills, the crossing with its interval, and where today is. The axes are logarithmic, but where a line is zero."""
    points = bills(row)
    scale = "log" if all(p["private_nusd"] > 0 for p in points) else "linear"
    size, unit = money_unit(largest(p[side] for p in points for side in ("private_nusd", "external_nusd")))
    volumes, a_day = [p["volume"] for p in points], _("answers a day")
    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "name": name, "x": volumes, "y": [p[key] / size for p in points],
            "line": {"color": colour, "width": 3},
            "hovertemplate": f"{name}, %{{x:,.0f}} {a_day}: %{{y:.4~g}} {unit}<extra></extra>",
        }
        for name, key, colour in (("private", "private_nusd", PRIVATE), ("external", "external_nusd", EXTERNAL))
    ]  # fmt: skip
    for name, key, colour, symbol in (
        (_("break-even"), "break_even_per_day", IDLE, "x"), (_("today"), "answers_per_day", ACTUAL, "circle"),
    ):  # fmt: skip
        if row[key]:
            cost = row[key] * row["external_nusd_per_1000"] / 1000 / size
            data.append(
                {
                    "type": "scatter", "mode": "markers", "name": name, "x": [row[key]], "y": [cost],
                    "marker": {"color": colour, "size": 12, "symbol": symbol},
                    "hovertemplate": f"{name}: %{{x:,.0f}} {a_day}<extra></extra>",
                }
            )  # fmt: skip
    shapes = []
    if row["low"] and row["high"] and row["high"] > row["low"]:
        shapes.append(
            {
                "type": "rect", "xref": "x", "yref": "paper", "x0": row["low"], "x1": row["high"], "y0": 0, "y1": 1,
                "fillcolor": IDLE, "opacity": 0.2, "line": {"width": 0},
            }
        )  # fmt: skip
    axis = {"type": scale, "title": {"text": a_day}}
    cost_axis = {"type": scale, "title": {"text": _("%(unit)s a day") % {"unit": unit}}} | (
        {"rangemode": "tozero"} if scale == "linear" else {}
    )
    return {"data": data, "layout": layout(340, xaxis=axis, yaxis=cost_axis, shapes=shapes)}


def response_by_servers(rows: Sequence[Row], target_ms: float) -> Figure:
    """95 % of the answers come within this, by machines, a line for each load; the target is dashed. Loads that can't be
    carried are hollow."""
    factors = sorted({row["factor"] for row in rows})
    machines, busy, late, target = _("machines"), _("busy"), _("over the target"), _("target")
    data: list[dict[str, Any]] = []
    for i, factor in enumerate(factors):
        of_one = sorted((row for row in rows if row["factor"] == factor), key=lambda r: r["servers"])
        name = _("%(factor)s × the arrivals") % {"factor": f"{factor:,.10g}"}
        data.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": name,
                "x": [row["servers"] for row in of_one], "y": [row["response_p95_ms"] for row in of_one],
                "line": {"color": SERIES[i % len(SERIES)]},
                "marker": {"size": 9, "symbol": ["circle" if row["stable"] else "circle-open" for row in of_one]},
                "customdata": [[row["utilisation"], row["over_target"]] for row in of_one],
                "hovertemplate": f"{machines}: %{{x}}<br>95 %: %{{y:.4~g}} ms<br>{busy}: %{{customdata[0]:.2%}}<br>"
                f"{late}: %{{customdata[1]:.2%}}<extra></extra>",
            }
        )  # fmt: skip
    most = max((row["servers"] for row in rows), default=1)
    data.append(
        {
            "type": "scatter", "mode": "lines", "name": target, "x": [0.5, most + 0.5], "y": [target_ms, target_ms],
            "line": {"color": IDLE, "dash": "dash"}, "hovertemplate": f"{target}: %{{y:.4~g}} ms<extra></extra>",
        }
    )  # fmt: skip
    axis = {"title": {"text": machines}, "dtick": 1 if most <= 12 else None}
    return {"data": data, "layout": layout(320, xaxis=axis, yaxis={"type": "log", "title": {"text": "ms"}})}


def devices(rows: Sequence[Row]) -> Figure:
    """Bars of what 1,000 correct answers cost on each device, with the interval of the share right; where nobody judged,
    of 1,000 answers. Devices that can't do it are left out."""
    judged = any(row["nusd_per_correct"] is not None for row in rows)
    name = "nusd_per_correct" if judged else "nusd_per_1000"
    times = 1000 if judged else 1
    shown = [
        {"key": row["name"], "simulated": row["simulated"], "value": row[name] * times}
        | ({"low": row["low"] * times, "high": row["high"] * times} if judged else {})
        for row in rows
        if row[name] is not None
    ]
    shown.reverse()  # Plotly draws from below: the cheapest, which comes first, is on top
    size, unit = money_unit(largest(row["value"] for row in shown))
    trace = {
        "type": "bar", "orientation": "h", "name": _("cost"), "y": [row["key"] for row in shown],
        "x": [row["value"] / size for row in shown],
        "marker": {"color": [SERIES[0] if not row["simulated"] else IDLE for row in shown]},
        "error_x": error(shown, "value", size),
        "customdata": [_("simulated") if row["simulated"] else _("measured") for row in shown],
        "hovertemplate": f"%{{y}}: %{{x:.4~g}} {unit} (%{{customdata}})<extra></extra>",
    }  # fmt: skip
    title = _("%(unit)s for 1,000 correct answers") if judged else _("%(unit)s for 1,000 answers")
    axis = {"title": {"text": title % {"unit": unit}}}
    return {"data": [trace], "layout": layout(110 + 34 * len(shown), xaxis=axis, showlegend=False)}
