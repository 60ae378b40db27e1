"""Price sheets over time, as steps: a price holds until the next sheet begins."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.translation import gettext as _

from costs.charts.style import SERIES, Figure, Row, largest, layout, money_unit

MOST_LINES = 8


def price_history(rows: Sequence[Row]) -> Figure:
    """One colour a deployment, input dashed and output solid. Rows {"key": deployment, "start", "end" (None: still),
    "input_nusd", "output_nusd"} in order of time; amounts are nano-dollars per million tokens, times ISO text."""
    names = list(dict.fromkeys(str(r["key"]) for r in rows))[:MOST_LINES]
    size, unit = money_unit(largest(r[f"{side}_nusd"] for r in rows for side in ("input", "output")))
    data = []
    for colour, name in zip(SERIES, names, strict=False):
        own = [r for r in rows if r["key"] == name]
        for side, word, dash in (("output", _("output"), "solid"), ("input", _("input"), "dash")):
            times, amounts = [], []
            for row in own:
                times += [row["start"], row["end"]]
                amounts += [row[f"{side}_nusd"] / size] * 2
            data.append({
                "type": "scatter", "mode": "lines", "name": f"{name}, {word}", "x": times, "y": amounts,
                "line": {"color": colour, "width": 2, "dash": dash, "shape": "hv"},
                "hovertemplate": f"{name}, {word}: %{{y:.6~g}} {unit}, %{{x}}<extra></extra>",
            })  # fmt: skip
    axis = {"title": {"text": _("%(unit)s per million tokens") % {"unit": unit}}, "rangemode": "tozero"}
    return {"data": data, "layout": layout(320, yaxis=axis)}


def repriced(rows: Sequence[Row]) -> Figure:
    """Booked beside repriced, by token class. Rows {"key", "booked_nusd", "repriced_nusd"}."""
    size, unit = money_unit(largest(r[f"{n}_nusd"] for r in rows for n in ("booked", "repriced")))
    data = [
        {
            "type": "bar", "name": name, "x": [r["key"] for r in rows], "y": [r[f"{column}_nusd"] / size for r in rows],
            "marker": {"color": colour}, "hovertemplate": f"%{{x}}, {name}: %{{y:.4~g}} {unit}<extra></extra>",
        }
        for column, name, colour in (("booked", _("booked"), SERIES[0]), ("repriced", _("repriced"), SERIES[1]))
    ]  # fmt: skip
    return {"data": data, "layout": layout(barmode="group", yaxis={"title": {"text": unit}})}
