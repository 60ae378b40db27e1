"""What all figures share: colours, units, axes, error bars. Words are in the reader's language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

Figure = dict[str, Any]
Row = Mapping[str, Any]

PRIVATE, EXTERNAL, IDLE, ACTUAL = "#2f7ebc", "#d9691c", "#8b95a1", "#0f8a6d"
SIDE_COLOURS = {"private": PRIVATE, "external": EXTERNAL, "idle": IDLE, "labels": "#a1569b"}
SERIES = [PRIVATE, EXTERNAL, ACTUAL, "#a1569b", "#b08400", "#5d6fd0", "#c4476a", "#4c8f9f"]
# (smallest amount shown in this unit, nano-dollars in one unit, name)
UNITS = [
    (1_000_000_000, 1_000_000_000, gettext_noop("US dollars")),
    (1_000_000, 10_000_000, gettext_noop("US cents")),
    (0, 1_000, gettext_noop("micro-dollars")),
]


def money_unit(largest_nusd: int | float) -> tuple[int, str]:
    """(nano-dollars in one unit, its name to the reader): the unit in which the largest amount reads best."""
    _least, size, name = next((one for one in UNITS if abs(largest_nusd) >= one[0]), UNITS[-1])
    return size, _(name)


def layout(height: int = 270, **extra: Any) -> Figure:
    shown: Figure = {
        "height": height,
        "margin": {"l": 56, "r": 24, "t": 8, "b": 40},
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
        "showlegend": True,
        "xaxis": {"automargin": True},
        "yaxis": {"automargin": True},
    }
    for name, value in extra.items():
        shown[name] = {**shown[name], **value} if isinstance(shown.get(name), dict) else value
    return shown


def largest(values: Iterable[int | float | None]) -> float:
    return max((abs(v) for v in values if v is not None), default=0)


def error(rows: Sequence[Row], value: str, size: int = 1) -> Figure:
    """Plotly's error bars are distances from the value, never negative."""
    up = [max(0.0, (r["high"] - r[value]) / size) if r.get("high") is not None else 0.0 for r in rows]
    down = [max(0.0, (r[value] - r["low"]) / size) if r.get("low") is not None else 0.0 for r in rows]
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 2, "width": 5}


def rows_axis(names: Sequence[str]) -> Figure:
    """Names as rows, with half a row of air above and below, so that few of them don't stick to the edges."""
    return {"range": [-0.6, len(names) - 0.4]}


def ordered_sides(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda n: (n != "private", n != "external", n))
