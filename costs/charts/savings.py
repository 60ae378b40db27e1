"""Where savings came from, as a way down from the list price to what was paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.utils.translation import gettext as _

from costs.charts.style import ACTUAL, EXTERNAL, IDLE, Figure, Row, largest, layout, money_unit

SAVED, LOST = "#3d9970", "#b3402a"


def savings_waterfall(totals: Row, parts: Sequence[str], labels: Mapping[str, str]) -> Figure:
    """Bars that hang from where the one before ended. `totals`: list_nusd, <part>_nusd each (None: not known), actual_nusd.

    `labels`: part, "list" and "actual" → what a reader sees. The steps land on the actual cost: what isn't known is no step.
    """
    steps = [part for part in parts if totals.get(f"{part}_nusd") is not None] if totals else []
    size, unit = money_unit(largest([totals.get("list_nusd"), totals.get("actual_nusd")]))
    names, bases, heights, colours, notes = (
        [labels["list"]],
        [0.0],
        [totals.get("list_nusd", 0) / size],
        [EXTERNAL],
        [""],
    )
    left = totals.get("list_nusd", 0)
    for part in steps:
        saved = totals[f"{part}_nusd"]
        names.append(labels[part])
        bases.append(min(left, left - saved) / size)
        heights.append(abs(saved) / size)
        colours.append(SAVED if saved > 0 else LOST if saved < 0 else IDLE)
        notes.append(_("saved") if saved >= 0 else _("cost more"))
        left -= saved
    names.append(labels["actual"])
    bases.append(0.0)
    heights.append(totals.get("actual_nusd", 0) / size)
    colours.append(ACTUAL)
    notes.append("")
    trace = {
        "type": "bar",
        "x": names,
        "y": heights,
        "base": bases,
        "marker": {"color": colours},
        "customdata": notes,
        "hovertemplate": f"%{{x}}: %{{y:.4~g}} {unit} %{{customdata}}<extra></extra>",
    }
    return {
        "data": [trace],
        "layout": layout(320, yaxis={"title": {"text": unit}}, bargap=0.35, showlegend=False),
    }
