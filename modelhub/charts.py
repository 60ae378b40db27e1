"""Figures of models: rows → Plotly figure dicts, pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# white → blue, the same in print and for readers who can't tell red from green
HEAT = [[0.0, "#f4f7fa"], [0.25, "#bcd4e8"], [0.5, "#7fb0d6"], [0.75, "#3f83bb"], [1.0, "#123f66"]]
LITTLE, NEITHER, MUCH = "#b9722d", "#f4f4f2", "#1d5f91"


def heat_map(
    values: Sequence[Sequence[float | None]],
    columns: Sequence[str],
    rows: Sequence[str],
    *,
    unit: str,
    centre: float | None = None,
    highest: float | None = None,
) -> dict[str, Any]:
    """A table of numbers as colours; row 0 on top, None left blank. `centre`: the value that is neither much nor
    little (white); it lies under `highest`."""
    top = highest or max((v for row in values for v in row if v is not None), default=1.0) or 1.0
    scale = HEAT if centre is None else [[0.0, LITTLE], [centre / top, NEITHER], [1.0, MUCH]]
    trace: dict[str, Any] = {
        "type": "heatmap", "z": [list(row) for row in values], "x": list(columns), "y": list(rows), "zmin": 0,
        "zmax": top,
        "colorscale": scale, "colorbar": {"title": {"text": unit}, "thickness": 12},
        "hovertemplate": "%{y} · %{x}<br>%{z:.2f} " + unit + "<extra></extra>", "xgap": 1, "ygap": 1,
    }  # fmt: skip
    layout = {
        "height": max(170, 70 + 24 * len(rows)), "margin": {"l": 130, "r": 20, "t": 8, "b": 44},
        "showlegend": False,
        "xaxis": {"type": "category", "automargin": True, "tickangle": 0, "nticks": 16},
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
        "height": max(170, 70 + 26 * len(names)), "margin": {"l": 130, "r": 20, "t": 8, "b": 44},
        "showlegend": False,
        "bargap": 0.4, "xaxis": {"title": {"text": unit}, "rangemode": "tozero"},
        "yaxis": {"type": "category", "autorange": "reversed", "automargin": True},
    }  # fmt: skip
    return {"data": [trace], "layout": layout}


def gaps_with_interval(rows: Sequence[dict[str, Any]], limit: float) -> dict[str, Any]:
    """A dot and its interval for each group's excess gap, the worst on top; the limit as a line."""
    shown = sorted(rows, key=lambda row: row["excess_gap"]["value"], reverse=True)
    gaps = [row["excess_gap"] for row in shown]
    trace: dict[str, Any] = {
        "type": "scatter", "mode": "markers", "y": [row["group"] for row in shown],
        "x": [gap["value"] for gap in gaps],
        "marker": {"color": MUCH, "size": 9},
        "error_x": {
            "type": "data", "symmetric": False, "color": MUCH,
            "array": [gap["high"] - gap["value"] for gap in gaps],
            "arrayminus": [gap["value"] - gap["low"] for gap in gaps],
        },
        "customdata": [[gap["low"], gap["high"], row["n"]] for gap, row in zip(gaps, shown, strict=True)],
        "hovertemplate": "%{y}: %{x:.1%} (%{customdata[0]:.1%} – %{customdata[1]:.1%}, n = %{customdata[2]})<extra></extra>",
    }  # fmt: skip
    line = {
        "type": "line", "x0": limit, "x1": limit, "yref": "paper", "y0": 0, "y1": 1,
        "line": {"color": LITTLE, "dash": "dash"},
    }  # fmt: skip
    layout = {
        "height": max(170, 70 + 26 * len(shown)), "margin": {"l": 130, "r": 20, "t": 8, "b": 44},
        "showlegend": False,
        "shapes": [line], "xaxis": {"tickformat": ".0%", "zeroline": True},
        "yaxis": {"type": "category", "autorange": "reversed", "automargin": True},
    }  # fmt: skip
    return {"data": [trace], "layout": layout}
