"""Rows of reports → Plotly figure dicts.

No database; amounts come in as nano-dollars, words go out in the reader's language. One colour per side everywhere
(blue = private, orange = external: told apart by every kind of colour vision, and on light and dark paper alike), grey for
what nobody used. Colours of text and grid are the page's own (charts.js).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from costs.charts.style import (
    ACTUAL,
    EXTERNAL,
    IDLE,
    PRIVATE,
    SERIES,
    SIDE_COLOURS,
    Figure,
    Row,
    error,
    largest,
    layout,
    money_unit,
    ordered_sides,
    rows_axis,
)


def _split(rows: Sequence[Row], value: str) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Rows with keys "a|b" → (every a in order of appearance, b → a → value)."""
    firsts: list[str] = []
    series: dict[str, dict[str, Any]] = {}
    for row in rows:
        first, _bar, second = str(row["key"]).partition("|")
        if first not in firsts:
            firsts.append(first)
        series.setdefault(second, {})[first] = row[value]
    return firsts, series


SEEN = 0.02  # a series below this share of the figure is a hair's breadth


def _off(series: Mapping[str, Mapping[str, Any]], aside: str) -> bool:
    """Whether `aside` starts switched off: beside it nobody would see the others. The legend switches it on."""
    others = sum(sum(by.values()) for name, by in series.items() if name != aside)
    return 0 < others < SEEN * sum(series.get(aside, {}).values())


def _drawn(series: dict[str, dict[str, Any]], aside: str) -> dict[str, dict[str, Any]]:
    return {name: by for name, by in series.items() if name != aside} if _off(series, aside) else series


def switched_off(figure: Figure) -> list[str]:
    """Names of the series that a reader must switch on in the legend."""
    return [trace["name"] for trace in figure["data"] if trace.get("visible") == "legendonly"]


def cost_by_side(rows: Sequence[Row], aside: str = "") -> Figure:
    """Stacked horizontal bars, dearest on top. Rows of spend grouped by "lob,side": {"key": "legal|private", "cost_nusd"}.

    `aside`: the series that is switched off where the others couldn't be seen beside it.
    """
    names, series = _split(rows, "cost_nusd")
    drawn = _drawn(series, aside)
    totals = {name: sum(by.get(name, 0) for by in drawn.values()) for name in names}
    names.sort(key=lambda n: totals[n])
    size, unit = money_unit(largest(totals.values()))
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": side,
            "y": names,
            "x": [series[side].get(n, 0) / size for n in names],
            "marker": {"color": SIDE_COLOURS.get(side, IDLE)},
            "hovertemplate": f"%{{y}}, {side}: %{{x:.4~g}} {unit}<extra></extra>",
            "visible": True if side in drawn else "legendonly",
        }
        for side in ordered_sides(series)
    ]
    height = max(200, 90 + 30 * len(names))
    return {
        "data": data,
        "layout": layout(height, barmode="stack", bargap=0.35, xaxis={"title": {"text": unit}}),
    }


def cost_over_time(rows: Sequence[Row], aside: str = "") -> Figure:
    """Stacked bars by time. Rows of spend grouped by "day,side" or "hour,side". `aside` as in `cost_by_side`."""
    times, series = _split(rows, "cost_nusd")
    times.sort()
    drawn = _drawn(series, aside)
    totals = [sum(by.get(t, 0) for by in drawn.values()) for t in times]
    size, unit = money_unit(largest(totals))
    data = [
        {
            "type": "bar",
            "name": name,
            "x": times,
            "y": [series[name].get(t, 0) / size for t in times],
            "marker": {"color": SIDE_COLOURS.get(name, SERIES[i % len(SERIES)])},
            "hovertemplate": f"%{{x}}, {name}: %{{y:.4~g}} {unit}<extra></extra>",
            "visible": True if name in drawn else "legendonly",
        }
        for i, name in enumerate(ordered_sides(series))
    ]
    return {"data": data, "layout": layout(barmode="stack", bargap=0.2, yaxis={"title": {"text": unit}})}


def rate_with_interval(rows: Sequence[Row], *, labels: Mapping[str, str] | None = None) -> Figure:
    """A dot and its interval for each row {"key", "rate", "low", "high", "judged"}; rows without a rate are left out.

    `labels`: key → what counts as right, shown on hover.
    """
    shown = sorted((r for r in rows if r.get("rate") is not None), key=lambda r: r["rate"])
    names = [str(r["key"]) for r in shown]
    notes = [(labels or {}).get(name, "") for name in names]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "name": _("share right"),
        "y": names,
        "x": [r["rate"] for r in shown],
        "marker": {"color": ACTUAL, "size": 10},
        "error_x": error(shown, "rate"),
        "customdata": [
            [r.get("judged", 0), r.get("low"), r.get("high"), note]
            for r, note in zip(shown, notes, strict=True)
        ],
        "hovertemplate": "%{y}: %{x:.1%} (95 %: %{customdata[1]:.1%} – %{customdata[2]:.1%}, n = %{customdata[0]})"
        "<br>%{customdata[3]}<extra></extra>",
    }
    lowest = min((r["low"] for r in shown if r.get("low") is not None), default=0.0)
    axis = {"tickformat": ".0%", "range": [max(0.0, min(0.5, lowest - 0.05)), 1.005]}
    return {
        "data": [trace],
        "layout": layout(
            max(150, 60 + 34 * len(names)), xaxis=axis, yaxis=rows_axis(names), showlegend=False
        ),
    }


def rate_over_time(rows: Sequence[Row]) -> Figure:
    """Lines with intervals. Rows of accuracy grouped by "day,lob": {"key": "2026-11-01|legal", "rate", "low", "high"}."""
    by_name: dict[str, list[tuple[str, Row]]] = {}
    for row in rows:
        time, _bar, name = str(row["key"]).partition("|")
        if row.get("rate") is not None:
            by_name.setdefault(name, []).append((time, row))
    data = []
    for i, (name, points) in enumerate(sorted(by_name.items())):
        points.sort(key=lambda p: p[0])
        only = [row for _time, row in points]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": [t for t, _row in points],
                "y": [r["rate"] for r in only],
                "line": {"color": SERIES[i % len(SERIES)], "width": 2},
                "marker": {"size": 6, "symbol": i % 8},
                "error_y": error(only, "rate") | {"thickness": 1, "width": 2},
                "hovertemplate": f"{name}, %{{x}}: %{{y:.1%}}<extra></extra>",
            }
        )
    lowest = min((r["low"] for r in rows if r.get("low") is not None), default=0.0)
    axis = {"tickformat": ".0%", "range": [max(0.0, min(0.5, lowest - 0.05)), 1.01]}
    return {"data": data, "layout": layout(300, yaxis=axis)}


def shares(rows: Sequence[Row]) -> Figure:
    """Bars to 100 %. Rows {"key", "private", "external"} (counts); rows without requests are left out."""
    shown = [r for r in rows if r["private"] + r["external"]]
    shown.sort(key=lambda r: r["private"] / (r["private"] + r["external"]))
    names = [str(r["key"]) for r in shown]
    data, requests = [], _("requests")
    for side in ("private", "external"):
        part = [r[side] / (r["private"] + r["external"]) for r in shown]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": side,
                "y": names,
                "x": part,
                "marker": {"color": SIDE_COLOURS[side]},
                "customdata": [r[side] for r in shown],
                "hovertemplate": f"%{{y}}, {side}: %{{x:.1%}} (%{{customdata}} {requests})<extra></extra>",
            }
        )
    axis = {"tickformat": ".0%", "range": [0, 1]}
    return {
        "data": data,
        "layout": layout(max(200, 90 + 30 * len(names)), barmode="stack", bargap=0.35, xaxis=axis),
    }


def cost_per_correct(rows: Sequence[Row]) -> Figure:
    """Rows {"key", "nusd_per_correct", "low", "high"}, cheapest on top, on a logarithmic axis: they lie decades apart."""
    shown = [r for r in rows if r.get("nusd_per_correct")]
    shown.sort(key=lambda r: -r["nusd_per_correct"])
    size, unit = money_unit(largest(r["nusd_per_correct"] * 1000 for r in shown))
    per = size / 1000  # shown per 1,000 right answers
    title = _("%(unit)s per 1,000 right answers") % {"unit": unit}
    values = [r["nusd_per_correct"] / per for r in shown]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "name": _("cost"),
        "y": [str(r["key"]) for r in shown],
        "x": values,
        "marker": {"color": PRIVATE, "size": 10, "symbol": "diamond"},
        "error_x": error(
            [
                {
                    "v": r["nusd_per_correct"] / per,
                    **{k: r[k] / per for k in ("low", "high") if r.get(k) is not None},
                }
                for r in shown
            ],
            "v",
        ),
        "hovertemplate": f"%{{y}}: %{{x:.4~g}} {title}<extra></extra>",
    }
    spread = max(values) / min(values) if values else 1
    axis: dict[str, Any] = {
        "title": {"text": title},
        "type": "log" if spread > 30 else "linear",
    }
    if spread <= 30:
        axis["rangemode"] = "tozero"
    else:
        axis |= {"dtick": 1, "tickformat": "~r"}
    names_axis = rows_axis([str(r["key"]) for r in shown])
    return {
        "data": [trace],
        "layout": layout(max(160, 80 + 34 * len(shown)), xaxis=axis, yaxis=names_axis, showlegend=False),
    }


def counterfactual(totals: Row) -> Figure:
    """What it cost, and what one side alone or the policy of the period before would have."""
    names = [_("all external"), _("all private"), _("as it was")]
    amounts = [totals["all_external_nusd"], totals["all_private_nusd"], totals["actual_nusd"]]
    colours = [EXTERNAL, PRIVATE, ACTUAL]
    if totals.get("last_policy_nusd") is not None:
        names.insert(2, _("as before"))
        amounts.insert(2, totals["last_policy_nusd"])
        colours.insert(2, IDLE)
    size, unit = money_unit(largest(amounts))
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": [None if a is None else a / size for a in amounts],
        "marker": {"color": colours},
        "hovertemplate": f"%{{y}}: %{{x:.4~g}} {unit}<extra></extra>",
    }
    return {
        "data": [trace],
        "layout": layout(190, xaxis={"title": {"text": unit}}, bargap=0.4, showlegend=False),
    }


def node_bill(rows: Sequence[Row]) -> Figure:
    """Each node's bill, the used part and the idle rest."""
    used = _("used")
    names = [f"{r['key']} · {r['used_nusd'] / (r['bill_nusd'] or 1):.2%} {used}" for r in rows]
    size, unit = money_unit(largest(r["bill_nusd"] for r in rows))
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": names,
            "x": [r[column] / size for r in rows],
            "marker": {"color": colour},
            "hovertemplate": f"%{{y}}, {name}: %{{x:.4~g}} {unit}<extra></extra>",
        }
        for name, column, colour in ((used, "used_nusd", PRIVATE), (_("idle"), "idle_nusd", IDLE))
    ]
    return {
        "data": data,
        "layout": layout(
            max(180, 110 + 34 * len(names)), barmode="stack", bargap=0.4, xaxis={"title": {"text": unit}}
        ),
    }


def learning_curve(points: Sequence[Row]) -> Figure:
    """Loss by step of a job. Points {"step", "loss", "accuracy"?}."""
    steps = [p["step"] for p in points]
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": _("loss"),
            "x": steps,
            "y": [p.get("loss") for p in points],
            "line": {"color": PRIVATE},
        }
    ]
    if any(p.get("accuracy") is not None for p in points):
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": _("accuracy"),
                "yaxis": "y2",
                "x": steps,
                "y": [p.get("accuracy") for p in points],
                "line": {"color": EXTERNAL, "dash": "dot"},
            }
        )
    second = {"overlaying": "y", "side": "right", "automargin": True, "tickformat": ".0%", "showgrid": False}
    return {"data": data, "layout": layout(240, xaxis={"title": {"text": _("step")}}, yaxis2=second)}
