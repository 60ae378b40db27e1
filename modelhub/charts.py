"""Figures of models: rows → Plotly figure dicts, pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# white → blue, the same in print and for readers who can't tell red from green
HEAT = [[0.0, "#f4f7fa"], [0.25, "#bcd4e8"], [0.5, "#7fb0d6"], [0.75, "#3f83bb"], [1.0, "#123f66"]]
LITTLE, NEITHER, MUCH = "#b9722d", "#f4f4f2", "#1d5f91"


def heat_map(
    values: Sequence[Sequence[float]],
    columns: Sequence[str],
    rows: Sequence[str],
    *,
    unit: str,
    centre: float | None = None,
    highest: float | None = None,
) -> dict[str, Any]:
    """A table of numbers as colours; row 0 on top. `centre`: the value that is neither much nor
    little (white); it lies under `highest`."""
    top = highest or max((v for row in values for v in row), default=1.0) or 1.0
    scale = HEAT if centre is None else [[0.0, LITTLE], [centre / top, NEITHER], [1.0, MUCH]]
    trace: dict[str, Any] = {
        "type": "heatmap", "z": [list(row) for row in values], "x": list(columns), "y": list(rows), "zmin": 0, "zmax": top,
        "colorscale": scale, "colorbar": {"title": {"text": unit}, "thickness": 12},
        "hovertemplate": "%{y} · %{x}<br>%{z:.2f} " + unit + "<extra></extra>", "xgap": 1, "ygap": 1,
    }  # fmt: skip
    layout = {
        "height": max(170, 70 + 24 * len(rows)), "margin": {"l": 130, "r": 20, "t": 8, "b": 44}, "showlegend": False,
        "xaxis": {"type": "category", "automargin": True, "tickangle": 0, "nticks": 24},
        "yaxis": {"type": "category", "autorange": "reversed", "automargin": True},
    }  # fmt: skip
    return {"data": [trace], "layout": layout}


def bars(names: Sequence[str], values: Sequence[float], *, unit: str) -> dict[str, Any]:
    """Lying bars, the first on top."""
    trace: dict[str, Any] = {
        "type": "bar", "orientation": "h", "x": list(values), "y": list(names), "marker": {"color": MUCH},
        "hovertemplate": "%{y}<br>%{x:.3~g} " + unit + "<extra></extra>",
    }  # fmt: skip
    layout = {
        "height": max(170, 70 + 26 * len(names)), "margin": {"l": 130, "r": 20, "t": 8, "b": 44}, "showlegend": False,
        "bargap": 0.4, "xaxis": {"title": {"text": unit}, "rangemode": "tozero"},
        "yaxis": {"type": "category", "autorange": "reversed", "automargin": True},
    }  # fmt: skip
    return {"data": [trace], "layout": layout}
