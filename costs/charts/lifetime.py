"""Figures of lifetime cost and of business events."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from costs.charts.style import (
    ACTUAL,
    EXTERNAL,
    IDLE,
    PRIVATE,
    Figure,
    Row,
    largest,
    layout,
    money_unit,
    rows_axis,
)
from switchyard.core.money import format_usd

# Part → (name, colour), from the left: what is spent before an answer, then what answering takes.
PARTS = {
    "labels": (gettext_noop("data and labels"), "#a1569b"),
    "training": (gettext_noop("training"), "#b08400"),
    "inference": (gettext_noop("inference"), PRIVATE),
    "people": (gettext_noop("people"), IDLE),
}
SPREAD = 30  # bars of amounts that lie further apart than this can't be read side by side
WORTH_NAMING = 0.06  # a part's share that has room for its figure


def lifetime_cost(rows: Sequence[Row]) -> Figure:
    """One bar a workload, dearest on top: the four parts of 1,000 answers. Rows of the report `lifetime-cost`.

    Bars are dollars while they can be compared by eye; where they lie further apart each is its own whole (100 %), with
    the dollars in its name.
    """
    shown = sorted((r for r in rows if (r.get("nusd_per_1000") or 0) > 0), key=lambda r: r["nusd_per_1000"])
    amounts = [r["nusd_per_1000"] for r in shown]
    by_share = bool(amounts) and max(amounts) > SPREAD * min(amounts)
    size, unit = money_unit(largest(amounts))
    names = [f"{r['workload'] or '–'} · ${_short(r['nusd_per_1000'])}" for r in shown]
    data = []
    of_answers = _("of 1,000 answers")
    for part, (word, colour) in PARTS.items():
        name = _(word)
        shares = [r[f"{part}_share"] or 0.0 for r in shown]
        values = [r[f"{part}_nusd_per_1000"] for r in shown]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": name,
                "y": names,
                "x": shares if by_share else [value / size for value in values],
                "marker": {"color": colour},
                "text": [f"{share:.0%}" if share >= WORTH_NAMING else "" for share in shares],
                "textposition": "inside",
                "insidetextanchor": "middle",
                "customdata": [[f"${_short(v)}", s] for v, s in zip(values, shares, strict=True)],
                "hovertemplate": f"%{{y}}<br>{name}: %{{customdata[0]}} {of_answers}, %{{customdata[1]:.2%}}<extra></extra>",
            }
        )
    axis = (
        {"title": {"text": _("share of what 1,000 answers cost")}, "tickformat": ".0%", "range": [0, 1]}
        if by_share
        else {"title": {"text": _("%(unit)s per 1,000 answers") % {"unit": unit}}, "rangemode": "tozero"}
    )
    height = max(200, 110 + 36 * len(shown))
    return {
        "data": data,
        "layout": layout(height, barmode="stack", bargap=0.35, xaxis=axis, yaxis=rows_axis(names)),
    }


def unit_economics(rows: Sequence[Row]) -> Figure:
    """What an event costs and what it brings, this period and the one before. Rows of the report `unit-economics`."""
    shown = [r for r in rows if r.get("nusd_per_event") is not None]
    names = [f"{r['event']} · {r['workload']}" for r in shown]
    series = (
        (_("costs"), "nusd_per_event", EXTERNAL),
        (_("brings"), "value_nusd_per_event", ACTUAL),
        (_("cost before"), "before_nusd_per_event", IDLE),
    )
    size, unit = money_unit(largest(r.get(column) for r in shown for _word, column, _colour in series))
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": names,
            "x": [None if r.get(column) is None else r[column] / size for r in shown],
            "marker": {"color": colour},
            "hovertemplate": f"%{{y}} {name}: %{{x:.4~g}} {unit}<extra></extra>",
        }
        for name, column, colour in series
    ]
    axis = {"title": {"text": _("%(unit)s an event") % {"unit": unit}}, "rangemode": "tozero"}
    return {
        "data": data,
        "layout": layout(max(200, 110 + 60 * len(names)), barmode="group", bargap=0.35, xaxis=axis),
    }


def _short(nusd: int) -> str:
    """Dollars with as many places as tell something: 12,345 · 1.23 · 0.0012."""
    if nusd >= 100_000_000_000:
        return f"{round(nusd / 1_000_000_000):,}"
    if nusd >= 10_000_000:
        return f"{nusd / 1_000_000_000:.2f}"
    digits = 10 - len(str(nusd))  # two figures that count
    return f"{nusd / 1_000_000_000:.{min(9, digits + 1)}f}" if nusd else format_usd(0)
