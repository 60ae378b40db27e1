"""Figures of own machines: what an hour of them is made of, used and idle, metered beside loaded, what a restatement moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from costs.charts.style import (
    ACTUAL,
    IDLE,
    PRIVATE,
    SERIES,
    Figure,
    Row,
    largest,
    layout,
    money_unit,
    rows_axis,
)

# One colour a part, the same in every figure.
PART_COLOURS = {
    "cloud": SERIES[3], "purchase": PRIVATE, "power": "#b08400", "rack": IDLE, "people": ACTUAL, "operations": SERIES[5],
}  # fmt: skip


def _bars(name: str, names: Sequence[str], values: Sequence[float], colour: Any, unit: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": list(names),
        "x": list(values),
        "marker": {"color": colour},
        "hovertemplate": f"%{{y}}, {name}: %{{x:.4~g}} {unit}<extra></extra>",
    }


def node_costs(rows: Sequence[Row], labels: Mapping[str, str]) -> Figure:
    """An hour of each machine, stacked by its parts. Rows {"key", "hourly_nusd", "<part>_nusd" …}; `labels`: part → word.
    Parts that no machine has are left out."""
    names = [str(r["key"]) for r in rows]
    size, unit = money_unit(largest(r["hourly_nusd"] for r in rows))
    data = [
        _bars(label, names, [r[f"{part}_nusd"] / size for r in rows], PART_COLOURS[part], unit)
        for part, label in labels.items()
        if any(r[f"{part}_nusd"] for r in rows)
    ]
    axis = {"title": {"text": _("%(unit)s an hour") % {"unit": unit}}}
    return {
        "data": data,
        "layout": layout(max(180, 110 + 34 * len(names)), barmode="stack", bargap=0.4, xaxis=axis, yaxis=rows_axis(names)),
    }  # fmt: skip


def node_hours(rows: Sequence[Row]) -> Figure:
    """Used and idle over time, stacked to the bill. Rows {"key": time, "used_nusd", "idle_nusd"}."""
    times = [str(r["key"]) for r in rows]
    size, unit = money_unit(largest(r["used_nusd"] + r["idle_nusd"] for r in rows))
    data = [
        {
            "type": "bar",
            "name": name,
            "x": times,
            "y": [r[f"{part}_nusd"] / size for r in rows],
            "marker": {"color": colour},
            "hovertemplate": f"%{{x}}, {name}: %{{y:.4~g}} {unit}<extra></extra>",
        }
        for part, name, colour in (("used", _("used"), PRIVATE), ("idle", _("idle"), IDLE))
    ]
    return {"data": data, "layout": layout(barmode="stack", bargap=0.2, yaxis={"title": {"text": unit}})}


def metered_and_loaded(rows: Sequence[Row]) -> Figure:
    """Two bars a row: at the standard rate, and with its share of the machines' bills. Idle time that no work carries has
    a loaded bar alone, in grey."""
    names = [str(r["key"]) for r in rows]
    size, unit = money_unit(largest(max(r["metered_nusd"], r["loaded_nusd"]) for r in rows))
    colours = [IDLE if r.get("kind") == "idle" else PRIVATE for r in rows]
    data = [
        _bars(_("metered"), names, [r["metered_nusd"] / size for r in rows], SERIES[3], unit),
        _bars(_("loaded"), names, [r["loaded_nusd"] / size for r in rows], colours, unit),
    ]
    axis = {"title": {"text": unit}}
    height = max(200, 100 + 44 * len(names))
    return {
        "data": data,
        "layout": layout(height, barmode="group", bargap=0.3, xaxis=axis, yaxis=rows_axis(names)),
    }


def moved(by_carrier: Mapping[str, int]) -> Figure:
    """What a restatement moved, by who carries it: dearer to the right, cheaper to the left."""
    names = sorted(by_carrier, key=lambda name: by_carrier[name])
    size, unit = money_unit(largest(by_carrier.values()))
    colours = [SERIES[6] if by_carrier[name] > 0 else ACTUAL for name in names]
    data = [_bars(_("moved"), names, [by_carrier[name] / size for name in names], colours, unit)]
    axis = {"title": {"text": unit}, "zeroline": True}
    shown = layout(max(160, 90 + 30 * len(names)), xaxis=axis, yaxis=rows_axis(names), showlegend=False)
    return {"data": data, "layout": shown}
