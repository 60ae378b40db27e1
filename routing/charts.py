"""Figures of what-if reports: rows → Plotly figure dicts, pure. Money is nano-dollars, shares lie in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.translation import gettext as _

from costs.charts.style import EXTERNAL, IDLE, PRIVATE, Figure, Row, largest, layout, money_unit


def cost_change(rows: Sequence[Row]) -> Figure:
    """A dot and its 90 % interval for each row's change of cost; what costs more lies to the right of zero.

    Rows {"key", "change_nusd", "low_nusd", "high_nusd"}.
    """
    size, unit = money_unit(
        largest([abs(v) for r in rows for v in (r["low_nusd"], r["high_nusd"], r["change_nusd"])])
    )
    return _intervals(
        [str(r["key"]) for r in rows],
        [(r["change_nusd"] / size, r["low_nusd"] / size, r["high_nusd"] / size) for r in rows],
        {"title": {"text": _("change of cost, %(unit)s") % {"unit": unit}}}, "%{x:.3~g} " + unit,
        "(%{customdata[0]:.3~g} – %{customdata[1]:.3~g})",
    )  # fmt: skip


def accuracy_change(rows: Sequence[Row]) -> Figure:
    """The same for accuracy, in points. Rows {"key", "change", "low", "high"}; only those with enough data."""
    return _intervals(
        [str(r["key"]) for r in rows], [(100 * r["change"], 100 * r["low"], 100 * r["high"]) for r in rows],
        {"title": {"text": _("change of accuracy, points")}}, "%{x:.2f}", "(%{customdata[0]:.2f} – %{customdata[1]:.2f})",
    )  # fmt: skip


def _intervals(
    names: Sequence[str],
    values: Sequence[tuple[float, float, float]],
    axis: Figure,
    value_format: str,
    interval_format: str,
) -> Figure:
    trace: Figure = {
        "type": "scatter", "mode": "markers", "y": list(names), "x": [v for v, _low, _high in values],
        "marker": {"size": 9, "color": [EXTERNAL if v > 0 else PRIVATE for v, _low, _high in values]},
        "error_x": {
            "type": "data", "symmetric": False, "color": IDLE, "thickness": 2,
            "array": [max(0.0, high - v) for v, _low, high in values],
            "arrayminus": [max(0.0, v - low) for v, low, _high in values],
        },
        "customdata": [[low, high] for _v, low, high in values],
        "hovertemplate": f"%{{y}}: {value_format} {interval_format}<extra></extra>",
    }  # fmt: skip
    figure_layout = layout(
        max(190, 90 + 30 * len(names)), xaxis=axis | {"zeroline": True},
        yaxis={"type": "category", "range": [len(names) - 0.4, -0.6], "automargin": True}, showlegend=False,
    )  # fmt: skip
    return {"data": [trace], "layout": figure_layout}


def sides_before_after(rows: Sequence[Row]) -> Figure:
    """Where requests went and would go: two lying bars a row. Rows {"key", "private", "external", "refused"}, in requests."""
    names = [str(r["key"]) for r in rows]
    parts = (
        ("private", _("private"), PRIVATE),
        ("external", _("external"), EXTERNAL),
        ("refused", _("refused"), IDLE),
    )
    data = [
        {
            "type": "bar", "orientation": "h", "name": title, "y": names, "x": [r[part] for r in rows],
            "marker": {"color": colour}, "hovertemplate": "%{y}: %{x:,} " + title + "<extra></extra>",
        }
        for part, title, colour in parts
    ]  # fmt: skip
    return {
        "data": data,
        "layout": layout(
            max(190, 100 + 26 * len(names)), barmode="stack", bargap=0.35, xaxis={"title": {"text": _("requests")}},
            yaxis={"type": "category", "autorange": "reversed", "automargin": True},
        ),
    }  # fmt: skip


def cost_by_day(rows: Sequence[Row]) -> Figure:
    """Cost by day as it was and as it would have been. Rows {"key": day, "before_nusd", "after_nusd"}."""
    size, unit = money_unit(largest([v for r in rows for v in (r["before_nusd"], r["after_nusd"])]))
    data = [
        {
            "type": "scatter", "mode": "lines+markers", "name": title, "x": [r["key"] for r in rows],
            "y": [r[part] / size for r in rows], "line": {"color": colour, "width": 2} | extra,
            "hovertemplate": "%{x}: %{y:.3~g} " + unit + f"<extra>{title}</extra>",
        }
        for part, title, colour, extra in (
            ("before_nusd", _("as it was"), IDLE, {}),
            ("after_nusd", _("under the new version"), PRIVATE, {"dash": "dash"}),
        )
    ]  # fmt: skip
    return {"data": data, "layout": layout(240, yaxis={"title": {"text": unit}, "rangemode": "tozero"})}
