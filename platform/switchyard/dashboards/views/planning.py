"""Break-even of the private side, and the capacity planner with its purchase advice; every assumption is in the address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from django.http import HttpResponse, QueryDict
from django.utils.translation import gettext as _

from costs.charts import planning as figures
from costs.models import Node
from costs.reports.arrivals import private_arrivals
from costs.reports.base import Report
from costs.reports.break_even import break_even as break_even_report
from costs.reports.capacity import PARAMETERS as CAPACITY
from costs.reports.capacity import capacity as capacity_report
from costs.reports.planning_words import riding_part
from costs.reports.purchase import PARAMETERS as PURCHASE
from costs.reports.purchase import purchase_advice
from switchyard.core.clock import now
from switchyard.dashboards.pages import Ask, Column, PageRequest, Panel, page, show_panels
from switchyard.dashboards.selectors import has_demonstration, workloads
from switchyard.dashboards.templatetags.pages import usd

BY_DEVICE = ("price_usd", "cloud_usd", "watts")


@page
def break_even(request: PageRequest) -> HttpResponse:
    ask = request.ask
    report = break_even_report(**ask.report())
    chosen = _chosen(report, request.GET.get("workload", ""))
    builders = {
        "break-even": partial(_bills, chosen),
        "break-even-advice": partial(_sentences, report),
        "break-even-by-workload": partial(_by_workload, report),
    }
    context = {
        "names": [row["key"] for row in report.rows], "chosen": chosen["key"] if chosen else "",
        "sentence": chosen["sentence"] if chosen else report.totals["sentence"],
    }  # fmt: skip
    if "csv" not in request.GET:
        context["demonstration"] = has_demonstration(ask)
    return show_panels(request, "costs/break_even.html", builders, context)


def _chosen(report: Report, name: str) -> dict[str, Any] | None:
    """The row that was asked for, else the first whose lines can be drawn, else the first."""
    named = next((row for row in report.rows if row["key"] == name), None)
    drawn = next((row for row in report.rows if figures.bills(row)), None)
    return named or drawn or next(iter(report.rows), None)


def _bills(row: dict[str, Any] | None) -> Panel:
    points = figures.bills(row) if row else []
    return Panel(
        "break-even", _("What a day costs on either side, by volume"),
        [Column(_("Answers a day"), "number"), Column(_("Private"), "usd"), Column(_("External"), "usd")],
        [[round(p["volume"], 1), p["private_nusd"], p["external_nusd"]] for p in points],
        figures.break_even(row) if row and points else None, wide=True,
        note=_bills_note(row),
        empty=_("Both lines need a machine with a cost and an external price."),
    )  # fmt: skip


def _bills_note(row: dict[str, Any] | None) -> str:
    if row and row.get("rides_free"):
        return _("Private is what this work adds at home to the machines' bill of %(bill)s a day, which is due either way: "
                 "nothing.") % {"bill": usd(row["machines_nusd_per_day"])}  # fmt: skip
    # xgettext:no-python-format
    return _("A machine is paid for whether it works or not, so the private line is flat up to what it can do as planned, "
             "and climbs with the machines beyond. The band is the 95 % interval of the crossing.")  # fmt: skip


def _sentences(report: Report) -> Panel:
    """What many rows would repeat is said once, below the title."""
    told = riding_part()
    riding = any(r["sentence"].endswith(told) for r in report.rows)
    return Panel(
        "break-even-advice", _("What follows, workload by workload"),
        [Column(_("Workload")), Column(_("Line of business")), Column(_("What it says"))],
        [[r["key"], r["lob"] or "–", r["sentence"].replace(told, _("It rides along."))] for r in report.rows],
        wide=True, empty=report.totals["sentence"],
        note=_("“Rides along”: by its share of the machines' bills it would be cheaper outside at today's volume; but the "
               "machines stay for work that may not leave and have room for it, so at home it costs nothing more.")
        if riding else "",
    )  # fmt: skip


def _by_workload(report: Report) -> Panel:
    return Panel(
        "break-even-by-workload", _("Break-even by workload"),
        [Column(_("Workload")), Column(_("Line of business")), Column(_("Answers a day"), "number"),
         Column(_("Break-even"), "number"), Column(_("Low"), "number"), Column(_("High"), "number"),
         Column(_("Machines a day"), "usd"), Column(_("Private, 1,000"), "usd"),
         Column(_("External, 1,000"), "usd"), Column(_("Paid-for answers a day"), "number", detail=True),
         Column(_("May leave"), "rate", detail=True), Column(_("Whole days"), "count", detail=True)],
        [[r["key"], r["lob"] or "–", r["answers_per_day"], r["break_even_per_day"], r["low"], r["high"],
          r["private_fixed_nusd_per_day"], r["private_nusd_per_1000"], r["external_nusd_per_1000"], r["capacity_per_day"],
          r["movable_share"], r["days"]] for r in report.rows],
        wide=True, empty=report.totals["sentence"],
        # xgettext:no-python-format
        note=_("Machines: the workload's share of their bills by use, or a machine of its own where you see no others. "
               "Private: what 1,000 answers take of a machine that is used as planned. Break-even is in answers a day, with its "
               "95 % interval."),
    )  # fmt: skip


@page
def capacity(request: PageRequest) -> HttpResponse:
    ask = request.ask
    faults: list[str] = []
    own = _read(CAPACITY, request.GET, faults)
    terms = _terms(request.GET, faults)
    shared = {name: own[name] for name in ("target_ms", "percentile") if name in own}
    once = cache(private_arrivals)  # both reports replay the same arrivals
    asked = ask.report(arrivals_of=once)
    planned = cache(lambda: _guarded(partial(capacity_report, **asked, **own), "capacity", faults))
    advised = cache(
        lambda: _guarded(partial(purchase_advice, **asked, **terms, **shared), "purchase-advice", faults)
    )
    builders: dict[str, Callable[[], Panel]] = {
        "capacity": lambda: _capacity(planned()),
        "purchase-advice": lambda: _devices(advised()),
        "leaving": lambda: _leaving(advised()),
        "operators": lambda: _operators(advised()),
        "assumptions": lambda: _assumptions(advised()),
    }
    context: dict[str, Any] = {}
    if "csv" not in request.GET:
        context = {
            "asked": _asked(request.GET, planned()), "sentence": planned().totals["sentence"],
            "advice": advised().totals["sentence"], "fields": _fields(advised()), "changed": bool(terms),
            "totals": planned().totals,
            "demonstration": has_demonstration(ask), "faults": faults, "given": _given(request.GET),
            "workloads": [row.name for row in workloads(ask)], "pools": _pools(ask),
        }  # fmt: skip
    return show_panels(request, "costs/capacity.html", builders, context)


def _read(
    readers: Mapping[str, Callable[[str], Any]], query: Mapping[str, str], faults: list[str]
) -> dict[str, Any]:
    """What the address says, without what can't be read; why not goes to `faults`."""
    found: dict[str, Any] = {}
    for name, read in readers.items():
        text = query.get(name, "").strip()
        if not text:
            continue
        try:
            found[name] = read(text)
        except ValueError as fault:
            faults.append(str(fault))
    return found


def _terms(query: QueryDict, faults: list[str]) -> dict[str, Any]:
    """Purchase advice's own: `price_usd.<device>` fields are gathered, and its factor has a name of its own here."""
    plain = {
        name: query.get(name, "") for name in PURCHASE if name not in ("factor", "target_ms", "percentile")
    }
    plain["factor"] = query.get("purchase_factor", "")
    for name in BY_DEVICE:
        parts = [
            f"{key.partition('.')[2]}:{value}"
            for key, value in query.items()
            if key.startswith(f"{name}.") and value
        ]
        plain[name] = ",".join([*([plain[name]] if plain[name] else []), *parts])
    return _read(PURCHASE, plain, faults)


def _guarded(report: Callable[[], Report], name: str, faults: list[str]) -> Report:
    """A question that can't be asked (a pool without machines, …) is answered with why, not with an error page."""
    try:
        return report()
    except ValueError as fault:
        faults.append(str(fault))
        return Report(name, now(), [], {"sentence": str(fault)})


def _asked(query: Mapping[str, str], report: Report) -> dict[str, Any]:
    totals = report.totals
    return {
        "factor": query.get("factor") or ", ".join(f"{factor:.10g}" for factor in totals.get("factors", ())),
        "target_ms": f"{totals.get('target_ms', 1000):g}", "percentile": f"{totals.get('percentile', 95):g}",
        "workload": query.get("workload", ""), "pool": query.get("pool", ""),
    }  # fmt: skip


def _pools(ask: Ask) -> list[str]:
    if ask.scope.lob_ids is not None:
        return []
    rows = Node.objects.filter(organisation_id=ask.scope.organisation_id).exclude(pool="")
    return list(rows.order_by("pool").values_list("pool", flat=True).distinct())


def _given(query: Mapping[str, str]) -> list[tuple[str, str]]:
    """What the other form said, to be carried along."""
    return [(name, value) for name, value in query.items() if name not in ("csv", "before") and value]


def _fields(report: Report) -> list[dict[str, str]]:
    """One field an assumption; what was not changed is shown as a hint and stays out of the address."""
    names = {"factor": "purchase_factor"}
    return [
        row | {"field": names.get(row["parameter"], row["parameter"])}
        for row in report.totals.get("assumptions", [])
        if row["parameter"] and row["parameter"] not in ("target_ms", "percentile")
    ]


def _capacity(report: Report) -> Panel:
    totals = report.totals
    return Panel(
        "capacity", _("Response times by machines and load"),
        [Column(_("Load"), "number"), Column(_("Machines"), "count"), Column(_("Busy"), "rate"),
         Column(_("Wait, median ms"), "number"), Column(_("Wait, 95 % ms"), "number"), Column(_("Wait, 99 % ms"), "number"),
         Column(_("Response, median ms"), "number"), Column(_("Response, 95 % ms"), "number"),
         Column(_("Response, 99 % ms"), "number"),
         Column(_("Over the target"), "rate"), Column(_("Meets it"))],
        [[r["factor"], r["servers"], r["utilisation"],
          *(r[f"{kind}_p{p}_ms"] for kind in ("wait", "response") for p in (50, 95, 99)), r["over_target"],
          _("yes") if r["meets"] else _("no, and ever slower") if not r["stable"] else _("no")]
         for r in report.rows],
        figures.response_by_servers(report.rows, totals["target_ms"]) if report.rows else None, wide=True,
        note=_("SIMULATED: measured arrivals and service times through an exact first-come-first-served queue. Machines are "
               "taken to be alike. Hollow: more work comes than can be done."),
        empty=totals["sentence"],
    )  # fmt: skip


def _devices(report: Report) -> Panel:
    return Panel(
        "purchase-advice", _("Devices at your arrivals"),
        [Column(_("Device")), Column(_("Origin"), detail=True), Column(_("Figures")), Column(_("Machines"), "count"),
         Column(_("How")),
         Column(_("Once"), "usd"), Column(_("A month"), "usd"), Column(_("1,000 answers"), "usd"),
         Column(_("A correct answer"), "usd"), Column(_("Low"), "usd", detail=True), Column(_("High"), "usd", detail=True),
         Column(_("Busy"), "rate"), Column(_("Response, 95 % ms"), "number"),
         Column(_("Work on fallback operators"), "rate"), Column(_("Time in them"), "rate", detail=True),
         Column(_("Pays against external from month"), "count"), Column(_("Pays against today from month"), "count")],
        [[r["name"], r["origin"], _("SIMULATED") if r["simulated"] else _("measured"), r["servers"], r["how"], r["once_nusd"],
          r["nusd_per_month"], r["nusd_per_1000"], r["nusd_per_correct"], r["low"], r["high"], r["utilisation"],
          r["response_p95_ms"], r["fallback_share"], r["fallback_time_share"], r["month_against_external"],
          r["month_against_today"]] for r in report.rows],
        figures.devices(report.rows) if any(r["nusd_per_1000"] is not None for r in report.rows) else None, wide=True,
        note=_("Other devices' times are SIMULATED: measured times scaled by a roofline with the efficiency below; operators "
               "that a provider doesn't run take their time on the CPU. No month: it never pays within its life."),
        empty=report.totals["sentence"],
    )  # fmt: skip


def _leaving(report: Report) -> Panel:
    return Panel(
        "leaving", _("If you must leave the vendor"),
        [Column(_("From")), Column(_("Vendor")), Column(_("To the best of another vendor")), Column(_("Once"), "usd"),
         Column(_("Difference a month"), "usd")],
        [[r["name"], r["vendor"], r["leave_to"], r["leave_once_nusd"], r["leave_nusd_per_month"]]
         for r in report.rows if r["leave_to"]],
        empty=report.totals["sentence"], wide=True,
        note=_("Once: moving the work and buying the other machines. The difference is negative where leaving is cheaper."),
    )  # fmt: skip


def _operators(report: Report) -> Panel:
    coverage: dict[str, dict[str, str]] = report.totals.get("coverage", {})
    names = [n for n in next(iter(coverage.values()), {}) if n not in ("origin", "date", "source")]
    return Panel(
        "operators", _("Which operators run where"),
        [Column(_("Provider")), *(Column(name.replace("_", " ")) for name in names), Column(_("Says who")), Column(_("Date")),
         Column(_("Source"))],
        [[provider, *(row[name] for name in names), row["origin"], row["date"], row["source"]]
         for provider, row in coverage.items()],
        empty=report.totals["sentence"], wide=True,
        note=_("native: on the device; fallback: handed to the CPU; missing: no such operator, so on the CPU until somebody "
               "writes it. Our statement from the vendors' documentation, not measured."),
    )  # fmt: skip


def _assumptions(report: Report) -> Panel:
    return Panel(
        "assumptions", _("Every assumption"),
        [Column(_("Assumption")), Column(_("Value")), Column(_("Unit")), Column(_("Origin")), Column(_("Source")),
         Column(_("Name in the address"))],
        [[r["name"], r["value"], r["unit"], r["origin"], r["source"], r["parameter"]]
         for r in report.totals.get("assumptions", [])],
        empty=report.totals["sentence"], wide=True,
    )  # fmt: skip
