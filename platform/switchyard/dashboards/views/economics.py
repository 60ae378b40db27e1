"""The economics replay: six lines of business over real arrivals, every assumption on the page and changeable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext as _

from costs.charts import economics as figures
from costs.reports.economics import economics as report_of
from costs.reports.economics import sensitivity
from switchyard.dashboards.pages import Column, PageRequest, Panel, page, show_panels

RATIOS = ("share_of_all_external_large", "share_of_cheapest_single_side", "ratio_to_hindsight")


def _plans() -> dict[str, str]:
    return {
        "hybrid": _("Hybrid"),
        "hindsight": _("Best in hindsight"),
        "all_external_large": _("All external, large model"),
        "all_external_small": _("All external, small model"),
        "all_private": _("All private"),
        "external_but_bound": _("External but for bound work"),
        "random_split": _("Random split"),
    }


def _ratios() -> dict[str, str]:
    return {
        "share_of_all_external_large": _("Hybrid ÷ all external, large model"),
        "share_of_cheapest_single_side": _("Hybrid ÷ cheapest lawful single side"),
        "ratio_to_hindsight": _("Hybrid ÷ best in hindsight"),
    }


def _changes(query: Mapping[str, str]) -> tuple[dict[str, float], str]:
    """What the address changes, and a sentence about what of it can't be read."""
    from costs.economics.assumptions import DEFAULTS, values

    changes: dict[str, float] = {}
    for name, one in DEFAULTS.items():
        raw = query.get(name, "").strip()
        if not raw:
            continue
        try:
            value = float(raw)
            values({name: value})
        except ValueError:
            return {}, _("%(name)s = %(value)s can't be; showing the defaults.") % {
                "name": name,
                "value": raw[:40],
            }
        if value != one.value:
            changes[name] = value
    return changes, ""


@page
def economics(request: PageRequest) -> HttpResponse:
    changes, fault = _changes(request.GET)
    ask = request.ask
    report = report_of(scope=ask.scope, start=ask.period.start, end=ask.period.end, **changes)
    wanted = request.GET.get("ratio", "")
    ratio = wanted if wanted in RATIOS else "share_of_cheapest_single_side"
    builders = {
        "plans": lambda: _plans_panel(report.rows),
        "ratios": lambda: _ratios_panel(report.totals),
        "tornado": lambda: _tornado_panel(ratio, changes),
        "assumptions": lambda: _assumptions_panel(changes),
    }
    context = {
        "fault": fault, "fields": _fields(changes), "changed": bool(changes), "ratio": ratio, "ratios": _ratios().items(),
        "delta": report.totals["accuracy_delta_points"], "distance": abs(report.totals["accuracy_delta_points"]),
    }  # fmt: skip
    return show_panels(request, "costs/economics.html", builders, context)


def _fields(changes: Mapping[str, float]) -> list[dict[str, Any]]:
    from costs.economics.assumptions import DEFAULTS

    return [
        {"one": one, "value": f"{changes.get(one.name, one.value):g}", "changed": one.name in changes}
        for one in DEFAULTS.values()
    ]


def _plans_panel(rows: list[dict[str, Any]]) -> Panel:
    names = _plans()
    return Panel(
        "plans",
        _("Every plan, by cost and accuracy (simulated)"),
        [
            Column(_("Plan")), Column(_("Cost, six days"), "usd"), Column(_("of it machines"), "usd"),
            Column(_("Share right"), "rate"), Column(_("Bound work that waited"), "rate"),
            Column(_("Keeps residency")), Column(_("Meets every floor")), Column(_("Of all external large"), "rate"),
        ],
        [
            [
                names[r["key"]], r["cost_nusd"], r["machines_nusd"], r["right"], r["late_share"],
                _("yes") if r["lawful"] else _("no"), _("yes") if r["floors"] else _("no"), r["share"],
            ]
            for r in rows
        ],
        figures.plans(rows, names),
        wide=True,
        note=_("Hollow marks break residency or an accuracy floor. The accelerator's speed is an assumption, not measured here."),
    )  # fmt: skip


def _ratios_panel(totals: Mapping[str, Any]) -> Panel:
    names = _ratios()
    rows = []
    for name in RATIOS:
        ratio = totals[name] or {"value": None, "low": None, "high": None}
        rows.append([names[name], ratio["value"], ratio["low"], ratio["high"]])
    return Panel(
        "ratios",
        _("What the hybrid costs against others"),
        [
            Column(_("Ratio")),
            Column(_("Value"), "number"),
            Column(_("Low"), "number"),
            Column(_("High"), "number"),
        ],
        rows,
        wide=True,
        # xgettext:no-python-format
        note=_("95 % intervals over six resampled days, widened. Empty: no single side keeps residency and every floor."),
    )  # fmt: skip


def _tornado_panel(ratio: str, changes: Mapping[str, float]) -> Panel:
    bars = [
        {"key": bar.assumption.name, "at_low": bar.at_low, "at_high": bar.at_high, "base": bar.base,
         "low": bar.assumption.low, "high": bar.assumption.high}
        for bar in sensitivity(ratio, tuple(sorted(changes.items())))
    ]  # fmt: skip
    return Panel(
        "tornado",
        _("What matters: %(ratio)s") % {"ratio": _ratios()[ratio]},
        [
            Column(_("Assumption")), Column(_("Low value"), "number"), Column(_("Ratio there"), "number"),
            Column(_("High value"), "number"), Column(_("Ratio there"), "number"),
        ],
        [[b["key"], b["low"], b["at_low"], b["high"], b["at_high"]] for b in bars],
        figures.tornado(bars) if bars else None,
        wide=True,
        note=_("Each assumption alone at its low and its high value; farthest first."),
    )  # fmt: skip


def _assumptions_panel(changes: Mapping[str, float]) -> Panel:
    from costs.economics.assumptions import DEFAULTS

    return Panel(
        "assumptions",
        _("Every assumption"),
        [
            Column(_("Assumption")), Column(_("Value"), "number"), Column(_("Low"), "number"), Column(_("High"), "number"),
            Column(_("Unit")), Column(_("Origin")), Column(_("Source")),
        ],
        [
            [one.name, changes.get(one.name, one.value), one.low, one.high, one.unit, one.origin, one.source]
            for one in DEFAULTS.values()
        ],
        wide=True,
    )  # fmt: skip
