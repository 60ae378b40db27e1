"""A what-if report as panels: each a chart where one helps, its table twin and its CSV. Not enough data is said aloud."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _

from routing import charts
from switchyard.core.money import usd_to_nusd
from switchyard.dashboards.pages import Column, Link, Panel

Row = Mapping[str, Any]
CHARTED = 20
_NONE: Mapping[str, Any] = {}


def panels_of(report: Row, truth: Row) -> dict[str, Callable[[], Panel]]:
    """Name → panel. `report`: see routing.whatif.services.what_if, narrowed to what the reader may see."""
    return {
        "by-lob": lambda: _cost("by-lob", _("Change of cost by line of business"), report.get("lobs") or []),
        "by-workload": lambda: _cost(
            "by-workload", _("Change of cost by workload"), report.get("workloads") or []
        ),
        "accuracy": lambda: _accuracy(report.get("workloads") or []),
        "latency": lambda: _latency(report.get("workloads") or []),
        "sides": lambda: _sides(report.get("workloads") or []),
        "by-day": lambda: _by_day(report.get("by_day") or []),
        "movers": lambda: _movers(report.get("movers") or []),
        "not-enough": lambda: _not_enough(report.get("not_enough") or []),
        "truth": lambda: _truth(truth),
    }


def nusd(value: Any) -> int | None:
    return None if value in (None, "") else usd_to_nusd(str(value))


def name_of(row: Row) -> str:
    return str(row.get("workload") or row.get("lob") or "–")


def _cost(name: str, title: str, rows: Sequence[Row]) -> Panel:
    """By line of business or workload: before, after, change with its 90 % interval, requests changed."""
    columns = [
        Column(_("Workload") if "workload" in (rows[0] if rows else _NONE) else _("Line of business"), "word"),
        Column(_("Requests"), "count"), Column(_("answered elsewhere"), "count"), Column(_("Before"), "usd"),
        Column(_("After"), "usd"), Column(_("Change"), "usd"), Column(_("Low (90 %)"), "usd"),
        Column(_("High (90 %)"), "usd"), Column(_("Change at today's prices"), "usd"),
    ]  # fmt: skip
    table, shown = [], []
    for row in rows:
        cost, today = row.get("cost") or _NONE, row.get("cost_today") or _NONE
        values = [nusd(cost.get(f"{part}_usd")) for part in ("before", "after", "change", "low", "high")]
        table.append(
            [name_of(row), row.get("requests"), row.get("changed"), *values, nusd(today.get("change_usd"))]
        )
        if None not in values:
            shown.append(
                {"key": name_of(row), "change_nusd": values[2], "low_nusd": values[3], "high_nusd": values[4]}
            )
    figure = charts.cost_change(shown[:CHARTED]) if any(r["change_nusd"] for r in shown) else None
    note = _(
        "At the prices of that time; the bar is the 90 % interval. To the right of zero it would cost more."
    )
    return Panel(
        name, title, columns, table, figure, note if figure else "", empty=_("Nothing was replayed.")
    )


def _accuracy(rows: Sequence[Row]) -> Panel:
    columns = [
        Column(_("Workload"), "word"), Column(_("Before"), "rate"), Column(_("After"), "rate"),
        Column(_("Change, points"), "number"), Column(_("Low (90 %)"), "number"), Column(_("High (90 %)"), "number"),
        Column(_("Judged answers"), "count"), Column(_("Verdict"), "verdict"),
    ]  # fmt: skip
    table, shown, silent = [], [], []
    for row in rows:
        found = row.get("accuracy") or _NONE
        enough = found.get("verdict") == "enough"
        points = [_points(found.get(part)) if enough else None for part in ("change", "low", "high")]
        table.append([
            name_of(row), found.get("before") if enough else None, found.get("after") if enough else None, *points,
            found.get("n", 0), "" if enough else "not_enough_data",
        ])  # fmt: skip
        if enough and found.get("change") is not None:
            shown.append({"key": name_of(row)} | {p: found[p] for p in ("change", "low", "high")})
        elif not enough:
            silent.append(name_of(row))
    note = _("Not enough data to say for: %(names)s.") % {"names": ", ".join(silent)} if silent else ""
    figure = charts.accuracy_change(shown[:CHARTED]) if any(r["change"] for r in shown) else None
    return Panel("accuracy", _("Change of accuracy by workload"), columns, table, figure, note)


def _points(share: Any) -> float | None:
    return None if share is None else round(100 * share, 3)


def _latency(rows: Sequence[Row]) -> Panel:
    columns = [
        Column(_("Workload"), "word"), Column(_("Before, ms"), "number"), Column(_("After, ms"), "number"),
        Column(_("Change, ms"), "number"), Column(_("Low (90 %)"), "number"), Column(_("High (90 %)"), "number"),
    ]  # fmt: skip
    parts = ("before", "after", "change", "low", "high")
    table = [[name_of(row), *((row.get("latency_ms") or _NONE).get(part) for part in parts)] for row in rows]
    return Panel("latency", _("Mean time of a call by workload"), columns, table)


def _sides(rows: Sequence[Row]) -> Panel:
    columns = [
        Column(_("Workload"), "word"), Column(_("When"), "word"), Column(_("Private"), "count"), Column(_("External"), "count"),
        Column(_("Refused"), "count"),
    ]  # fmt: skip
    table, shown = [], []
    for row in rows:
        for when, word in (("before", _("before")), ("after", _("after"))):
            found = (row.get("sides") or _NONE).get(when) or _NONE
            counts = [found.get(side, 0) for side in ("private", "external", "refused")]
            table.append([name_of(row), word, *counts])
            if len(shown) < CHARTED:
                shown.append(
                    {"key": f"{name_of(row)} · {word}", "private": counts[0], "external": counts[1], "refused": counts[2]}
                )  # fmt: skip
    figure = charts.sides_before_after(shown) if shown else None
    return Panel("sides", _("Which side answers, before and after"), columns, table, figure)


def _by_day(rows: Sequence[Row]) -> Panel:
    columns = [
        Column(_("Day"), "word"), Column(_("Before"), "usd"), Column(_("After"), "usd"), Column(_("Requests"), "count"),
    ]  # fmt: skip
    shown = [
        {"key": r["day"], "before_nusd": nusd(r["before_usd"]) or 0, "after_nusd": nusd(r["after_usd"]) or 0} for r in rows
    ]  # fmt: skip
    table = [
        [r["key"], r["before_nusd"], r["after_nusd"], row.get("requests")]
        for r, row in zip(shown, rows, strict=True)
    ]
    figure = charts.cost_by_day(shown) if len(shown) > 1 else None
    return Panel("by-day", _("Cost by day"), columns, table, figure)


def _movers(rows: Sequence[Row]) -> Panel:
    columns = [
        Column(_("Workload"), "word"), Column(_("Rule")), Column(_("From"), "word"), Column(_("To"), "word"),
        Column(_("Requests"), "count"), Column(_("Change of cost"), "usd"), Column(_("Change of accuracy, points"), "number"),
        Column(_("A decision to look at"), "word"),
    ]  # fmt: skip
    table = [
        [
            name_of(r), r.get("rule"), r.get("from") or _("nobody"), r.get("to") or _("nobody"), r.get("requests"),
            nusd(r.get("change_usd")), _points(r.get("accuracy_change")), _sample(r.get("samples") or []),
        ]
        for r in rows
    ]  # fmt: skip
    return Panel(
        "movers", _("Biggest movers"), columns, table, wide=True, empty=_("No request would be answered elsewhere."),
        note=_("Requests that would be answered by another deployment, the largest change of cost first."),
    )  # fmt: skip


def _sample(ids: Sequence[str]) -> Any:
    return Link(ids[0], reverse("dashboards:decision", args=[ids[0]])) if ids else None


def _not_enough(rows: Sequence[Row]) -> Panel:
    columns = [
        Column(_("Workload"), "word"), Column(_("Deployment"), "word"), Column(_("What is estimated"), "word"),
        Column(_("Known"), "count"), Column(_("Needed"), "count"), Column(_("Requests that rest on it"), "count"),
    ]  # fmt: skip
    what = {"accuracy": _("accuracy"), "tokens": _("tokens"), "confidence": _("confidence")}
    table = [
        [
            name_of(r), r.get("deployment"), what.get(r.get("what", ""), r.get("what")), r.get("n"), r.get("needed"),
            r.get("requests"),
        ]
        for r in rows
    ]  # fmt: skip
    return Panel(
        "not-enough", _("Not enough data"), columns, table, empty=_("Every estimate rests on enough."), wide=True,
        note=_("Estimates that rest on too little: read what follows from them with care.") if table else "",
    )  # fmt: skip


def _truth(truth: Row) -> Panel:
    """Prediction against what was measured after publishing, by workload and measure (routing.whatif.truth.as_told)."""
    columns = [
        Column(_("Workload"), "word"), Column(_("Figure"), "word"), Column(_("Predicted")),
        Column(_("Expected of the requests that came")), Column(_("Low (90 %)")), Column(_("High (90 %)")),
        Column(_("Measured")), Column(_("Error")), Column(_("Inside the interval"), "verdict"), Column(_("Requests"), "count"),
    ]  # fmt: skip
    rows = [{"workload": _("all"), **truth["totals"]}] if truth.get("totals") else []
    rows += truth.get("workloads") or []
    table = [line for row in rows for line in _truth_lines(row)]
    note = _(
        "Expected: the prediction, had it known which requests would come. Costs are per 1,000 requests."
    )
    return Panel(
        "truth", _("Prediction against truth"), columns, table, wide=True,
        note=note if table else "", empty=_("Compared once the version is live and enough has been answered."),
    )  # fmt: skip


def _truth_lines(row: Row) -> list[list[Any]]:
    measures = (
        ("cost", _("cost"), _dollars),
        ("accuracy", _("accuracy"), _percent),
        ("latency_ms", _("mean time"), _ms),
    )
    lines = []
    for name, title, written in measures:
        told = row.get(name) or _NONE
        if told.get("actual") is None:
            continue
        error = told.get("error_pct")
        lines.append([
            name_of(row), title, *(written(told.get(part)) for part in ("predicted", "expected", "low", "high", "actual")),
            None if error is None else f"{error:+.1f} %", _held(row, told), row.get("requests"),
        ])  # fmt: skip
    return lines


def _held(row: Row, told: Row) -> str:
    if row.get("verdict") != "enough" or told.get("held") is None:
        return "not_enough_data"
    return "pass" if told["held"] else "fail"


def _dollars(value: Any) -> str | None:
    return None if value is None else f"${value}"


def _percent(value: Any) -> str | None:
    return None if value is None else f"{100 * value:.2f} %"


def _ms(value: Any) -> str | None:
    return None if value is None else f"{value:.2f} ms"
