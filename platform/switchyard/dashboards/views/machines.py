"""Own machines: what an hour of them costs and why, how much was used, what they did and what that really cost; one machine
with its dated costs, its restatements, and a change that is seen before it is made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache, partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from costs.charts import node_bill as used_and_idle
from costs.charts import nodes as charts
from costs.models import Node, NodeCost, Restatement
from costs.nodes.forms import CostForm, RestateForm
from costs.nodes.terms import PARTS
from costs.reports.nodes import node_bill, node_costs, node_hours
from costs.reports.true_cost import true_cost
from switchyard.core.errors import ValidationFailed
from switchyard.core.money import format_usd
from switchyard.dashboards.pages import Ask, Column, PageRequest, Panel, page, require_role, show_panels

WRITERS = ("finance", "operator")
TOO_LONG = 50  # times the longest bar of work
NOT_YET = gettext_lazy(
    "No hour of this period is closed yet: an hour's bill stands here within ten minutes of its end."
)
LISTED = 50
Rows = list[dict[str, Any]]
FORMS: dict[str, type[CostForm] | type[RestateForm]] = {"cost": CostForm, "restate": RestateForm}


def part_words() -> dict[str, str]:
    words = (_("Cloud"), _("Purchase"), _("Power"), _("Rack"), _("People"), _("Operations"))
    return dict(zip(PARTS, words, strict=True))


@page
def machines(request: PageRequest) -> HttpResponse:
    """Who sees one line of business sees what the machines did for it; the machines are the organisation's."""
    ask = request.ask
    did = cache(lambda: true_cost(**ask.report(group="purpose,lob")).rows)  # two panels of one report
    bills = cache(lambda: node_bill(**ask.report()).rows)
    builders = {"machine-work": partial(_work, did, "purpose"), "machine-lobs": partial(_work, did, "lob")}
    names: list[str] = []
    if ask.scope.lob_ids is None:
        names = list(_nodes(ask).order_by("name").values_list("name", flat=True))
        builders = {
            "node-costs": partial(_costs, ask), "node-bill": partial(_bills, bills), "pools": partial(_pools, bills),
            "node-hours": partial(_hours, ask), **builders,
            "cost-versions": partial(_versions, _versions_of(ask)), "restatements": partial(_restatements, _restated(ask)),
        }  # fmt: skip
    return show_panels(request, "costs/machines.html", builders, {"names": names})


@page
@require_http_methods(["GET", "HEAD", "POST"])
def machine(request: PageRequest, name: str) -> HttpResponse:
    """One machine. POST takes `form` (cost or restate) and `act` (preview or apply)."""
    ask = request.ask
    if ask.scope.lob_ids is not None:
        raise Http404
    node = get_object_or_404(_nodes(ask), name=name)
    forms: dict[str, Any] = {kind: form(instance=node, prefix=kind) for kind, form in FORMS.items()}
    seen: Restatement | None = None
    if request.method == "POST":
        if require_role(request, *WRITERS).lob_ids is not None:
            raise PermissionDenied
        kind = request.POST.get("form", "")
        if kind not in FORMS:
            raise Http404
        form = forms[kind] = FORMS[kind](request.POST, instance=Node.objects.get(pk=node.pk), prefix=kind)
        if form.is_valid():
            if request.POST.get("act") == "apply" and _applied(request, form):
                return redirect("dashboards:machine", name=node.name)
            seen = form.moves
            if seen is None and not form.errors:
                messages.info(request, _("Nothing that is closed would move."))
    builders = {
        "node-hours": partial(_hours, ask, node.name), "cost-versions": partial(_versions, _versions_of(ask, node)),
        "restatements": partial(_restatements, _restated(ask, node)),
    }  # fmt: skip
    if seen is not None:
        builders = {"preview": partial(_preview, seen), **builders}
    may_write = ask.scope.narrowed(*WRITERS).lob_ids is None and ask.scope.has_role(*WRITERS)
    return show_panels(
        request, "costs/machine.html", builders, {"node": node, "forms": forms, "may_write": may_write}
    )


def _applied(request: PageRequest, form: CostForm | RestateForm) -> bool:
    try:
        done = form.apply(request.user)
    except ValidationFailed as fault:
        form.add_error(None, fault.message)
        return False
    moved = done.hours if done is not None else 0
    messages.success(request, _("Done; %(n)d hours were billed again.") % {"n": moved})
    return True


def _nodes(ask: Ask) -> Any:
    return Node.objects.filter(organisation_id=ask.scope.organisation_id)


def _versions_of(ask: Ask, node: Node | None = None) -> Any:
    rows = NodeCost.objects.filter(node__organisation_id=ask.scope.organisation_id).select_related("node")
    return (rows.filter(node=node) if node else rows).order_by("-created_at", "-pk")[:LISTED]


def _restated(ask: Ask, node: Node | None = None) -> Any:
    rows = Restatement.objects.filter(organisation_id=ask.scope.organisation_id)
    return (rows.filter(node=node.name) if node else rows).order_by("-at", "-pk")[:LISTED]


def _costs(ask: Ask) -> Panel:
    report, words = node_costs(**ask.report()), part_words()
    return Panel(
        "node-costs", _("What an hour of each machine is made of"),
        [Column(_("Machine")), Column(_("Pool")), Column(_("An hour"), "usd"),
         *(Column(word, "usd") for word in words.values()),
         Column(_("An hour of measured work"), "usd"), Column(_("Planned utilisation"), "rate"), Column(_("Version"))],
        [[r["key"], r["pool"], r["hourly_nusd"], *(r[f"{part}_nusd"] for part in words), r["standard_nusd"],
          r["planned_utilisation"], r["version"]] for r in report.rows]
        + [[name, "", *[None] * (len(words) + 3), fault] for name, fault in report.totals.get("faults", {}).items()],
        charts.node_costs(report.rows, words) if report.rows else None, wide=True,
        note=_("As it stands now, used or not; power at the average of the tariff. Work is metered at the cost per hour "
               "divided by the planned utilisation."),
        empty=_("No machine has a cost yet."),
    )  # fmt: skip


def _hours(ask: Ask, name: str = "") -> Panel:
    rows = node_hours(**ask.report(group=f"node,{ask.period.bucket}" if name else ask.period.bucket)).rows
    if name:
        rows = [r | {"key": r["key"].partition("|")[2]} for r in rows if r["key"].startswith(f"{name}|")]
    return Panel(
        "node-hours", _("Used and idle over time"),
        [Column(_("Time (UTC)")), Column(_("Bill"), "usd"), Column(_("Used"), "usd"), Column(_("Idle"), "usd"),
         Column(_("Utilisation"), "rate")],
        [[r["key"], r["bill_nusd"], r["used_nusd"], r["idle_nusd"], r["utilisation"]] for r in rows],
        charts.node_hours(rows) if rows else None, wide=True,
        note=_("Closed hours; used and idle add up to the bill to the nano-dollar."), empty=NOT_YET,
    )  # fmt: skip


def _bills(bills: Callable[[], Rows]) -> Panel:
    rows = bills()
    words = {"nobody": _("nobody"), "pool": _("the pool"), "lob_share": _("lines of business")}
    return Panel(
        "node-bill", _("Bill of each machine: used and idle"),
        [Column(_("Machine")), Column(_("Pool")), Column(_("Hours"), "count"), Column(_("Bill"), "usd"),
         Column(_("Used"), "usd"), Column(_("Idle"), "usd"), Column(_("Utilisation"), "rate"),
         Column(_("Idle is carried by")), Column(_("Carried by lines of business"), "usd")],
        [[r["key"], r["pool"], round(r["hours"]), r["bill_nusd"], r["used_nusd"], r["idle_nusd"], r["utilisation"],
          words.get(r["idle_rule"], ""), r["carried_nusd"]] for r in rows],
        used_and_idle(rows) if rows else None, wide=True,
        note=_("Closed hours of the period. Idle is nobody's request: it stands on its own line and adds up with the used "
               "part to the bill. Pool and rule are those of today; each hour was closed under its own."),
        empty=NOT_YET,
    )  # fmt: skip


def _pools(bills: Callable[[], Rows]) -> Panel:
    """Machines that are bought and judged together."""
    sums: dict[str, dict[str, float]] = {}
    for row in bills():
        pool = sums.setdefault(
            row["pool"] or _("no pool"), dict.fromkeys(("n", "bill", "used", "idle", "hours", "busy"), 0)
        )
        pool["n"] += 1
        for name in ("bill", "used", "idle"):
            pool[name] += row[f"{name}_nusd"]
        pool["hours"] += row["hours"]
        pool["busy"] += row["hours"] * row["utilisation"]
    return Panel(
        "pools", _("Pools"),
        [Column(_("Pool")), Column(_("Machines"), "count"), Column(_("Bill"), "usd"), Column(_("Used"), "usd"),
         Column(_("Idle"), "usd"), Column(_("Utilisation"), "rate")],
        [[key, p["n"], p["bill"], p["used"], p["idle"], p["busy"] / p["hours"] if p["hours"] else None]
         for key, p in sorted(sums.items())],
        wide=True, empty=NOT_YET,
    )  # fmt: skip


def _work(did: Callable[[], Rows], group: str) -> Panel:
    rows = _summed(did(), 0 if group == "purpose" else 1)
    titles = {
        "purpose": (_("What the machines did"), _("Purpose")),
        "lob": (_("Metered and loaded by line of business"), _("Line of business")),
    }
    title, key = titles[group]
    drawn = _comparable(rows)
    return Panel(
        f"machine-{'work' if group == 'purpose' else 'lobs'}", title,
        [Column(key), Column(_("Metered"), "usd"), Column(_("Loaded"), "usd"), Column(_("Difference"), "usd"),
         Column(_("Accelerator seconds"), "number"), Column(_("Answers"), "count"),
         Column(_("Metered per 1,000 answers"), "usd"), Column(_("Loaded per 1,000 answers"), "usd")],
        [[r["key"], r["metered_nusd"], r["loaded_nusd"], r["variance_nusd"], round(r["accelerator_s"], 3), r["answers"],
          *(r[f"{what}_nusd"] * 1000 / r["answers"] if r["answers"] else None for what in ("metered", "loaded"))]
         for r in rows],
        charts.metered_and_loaded(drawn) if drawn else None, wide=True,
        note=_("Metered: measured time at the standard rate, what budgets count. Loaded: the share of the machines' bills, "
               "with the idle time that is carried by use. Other idle time stands on lines of its own.")
        + ("" if drawn == rows else " " + _("They are so long that only the table shows them.")),
        empty=_("The machines did nothing in this period."),
    )  # fmt: skip


def _comparable(rows: Rows) -> Rows:
    """Without idle lines where work beside them would be too short to be seen."""
    work = [row for row in rows if row["kind"] == "work"]
    longest = max((row["loaded_nusd"] for row in work), default=0)
    idle = max((row["loaded_nusd"] for row in rows if row["kind"] != "work"), default=0)
    return work if longest and idle > TOO_LONG * longest else rows


def _summed(rows: Rows, index: int) -> Rows:
    """Rows of "purpose|lob" by one of the two; idle lines stay as they are, at the end."""
    names = ("metered_nusd", "loaded_nusd", "variance_nusd", "accelerator_s", "answers")
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = row["key"].split("|")[index] if row["kind"] == "work" else row["key"]
        sums = found.setdefault(
            (row["kind"], key), {"key": key, "kind": row["kind"]} | dict.fromkeys(names, 0)
        )
        for name in names:
            sums[name] += row[name]
    return [row for _key, row in sorted(found.items(), key=lambda item: (item[0][0] == "idle", item[0][1]))]


def _versions(rows: Any) -> Panel:
    return Panel(
        "cost-versions", _("Versions of costs, as they were written"),
        [Column(_("Machine")), Column(_("Version")), Column(_("In force from"), "time"), Column(_("Until"), "time"),
         Column(_("Cost")), Column(_("Reason")), Column(_("Written"), "time"), Column(_("By"))],
        [[v.node.name, v.version, v.valid_from, v.valid_to, _in_words(v), v.reason, v.created_at, v.created_by] for v in rows],
        wide=True, note=_("Nothing is edited: a later version wins over the time it covers."),
    )  # fmt: skip


def _in_words(cost: NodeCost) -> str:
    """`$0.05 an hour`, or what was paid and over how long."""
    if cost.usd_per_hour is None:
        return _("%(capex)s USD less %(salvage)s over %(months)s months, %(watts)s W") % {
            "capex": cost.capex_usd, "salvage": cost.salvage_usd, "months": cost.life_months, "watts": cost.watts,
        }  # fmt: skip
    text = _("%(usd)s USD an hour") % {"usd": cost.usd_per_hour.normalize()}
    if not cost.commitment_months:
        return text
    return text + _("; %(usd)s committed and %(upfront)s upfront for %(months)s months") % {
        "usd": (cost.commitment_usd_per_hour or 0), "upfront": cost.commitment_upfront_usd, "months": cost.commitment_months,
    }  # fmt: skip


def _restatements(rows: Any) -> Panel:
    return Panel(
        "restatements", _("Restatements"),
        [Column(_("Machine")), Column(_("From"), "time"), Column(_("To"), "time"), Column(_("Hours"), "count"),
         Column(_("Before")), Column(_("After")), Column(_("Bill before"), "usd"), Column(_("Bill after"), "usd"),
         Column(_("Moved, USD")), Column(_("Reason")), Column(_("When"), "time"), Column(_("By"))],
        [[r.node, r.start, r.end, r.hours, r.old_version, r.new_version, r.before_nusd, r.after_nusd, _moves(r.moved),
          r.reason, r.at, r.by] for r in rows],
        wide=True, note=_("Both versions are kept; what moved sums to the difference."),
        empty=_("Nothing was billed again so far."),
    )  # fmt: skip


def _moves(moved: dict[str, int]) -> str:
    return ", ".join(
        f"{name} {'+' if nusd > 0 else '−'}{format_usd(abs(nusd))}" for name, nusd in moved.items()
    )


def _preview(row: Restatement) -> Panel:
    """What would move, before it does."""
    rows: list[list[Any]] = [[name, nusd] for name, nusd in row.moved.items()]
    words = {
        "hours": row.hours, "before": format_usd(row.before_nusd), "after": format_usd(row.after_nusd),
        "from": _day(row.start), "to": _day(row.end),
    }  # fmt: skip
    return Panel(
        "preview", _("What would move"), [Column(_("Carried by")), Column(_("More or less"), "usd")],
        [*rows, [_("Total"), sum(row.moved.values())]], charts.moved(row.moved) if row.moved else None, wide=True,
        note=_("%(hours)d hours of %(from)s to %(to)s: %(before)s USD would become %(after)s USD. Nothing is booked yet.")
        % words,
    )  # fmt: skip


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
