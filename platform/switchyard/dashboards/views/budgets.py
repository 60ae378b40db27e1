"""Budgets: their use, how they burn down and when they will have run out, and the top-ups of their periods."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from costs import budgets as money
from costs import charts
from costs.budgets.burn import Burn, burns
from costs.models import Budget, BudgetExtra
from switchyard.core.errors import SwitchyardError
from switchyard.core.money import usd_to_nusd
from switchyard.dashboards.pages import Ask, Column, Link, PageRequest, Panel, page, require_role, show_panels
from switchyard.dashboards.typed import keep_typed, typed_in

ASKS, DECIDES, WRITES = ("finance", "operator"), ("finance",), ("finance",)
MOST_POINTS = 60  # of a small chart, and rows of the table under it
BURN_DOWNS = 6  # more small charts than that are looked at by nobody; the table has every budget
DECISIONS = {"approve": money.approve_top_up, "refuse": money.refuse_top_up}


@page
def budgets(request: PageRequest) -> HttpResponse:
    """The organisation's budgets too: they bind everyone, though only those who see all of it see them here."""
    ask = request.ask
    rows = Budget.objects.for_tenant(ask.scope).select_related("lob")
    if ask.lob:
        rows = rows.filter(lob__slug=ask.lob)
    # What pays for answers first, labels below: each by name.
    found = burns(rows.order_by("covers", "lob__slug", "scope", "pk"))
    spent = sorted(
        (burn for burn in found if burn.room.spent_nusd > 0), key=lambda burn: -burn.room.spent_nusd
    )
    writing = ask.scope.narrowed(*WRITES)
    own = set(Budget.objects.for_tenant(writing).values_list("pk", flat=True))
    builders = {"budget-use": partial(_use, spent), "headroom": partial(_headroom, found, own)}
    builders |= {f"burn-down-{burn.budget.pk}": partial(_burn_down, burn) for burn in spent[:BURN_DOWNS]}
    context = _top_ups(ask, [burn.budget for burn in found])
    context |= {"may_write": writing.organisation_id is not None, "typed": typed_in(request, "top-up")}
    return show_panels(request, "costs/budgets.html", builders, context)


def _top_ups(ask: Ask, rows: list[Budget]) -> dict[str, Any]:
    asking, deciding = ask.scope.narrowed(*ASKS), ask.scope.narrowed(*DECIDES)
    extras = BudgetExtra.objects.for_tenant(ask.scope).filter(budget__in=rows)
    mine = set(Budget.objects.for_tenant(asking).values_list("pk", flat=True))
    decidable = set(Budget.objects.for_tenant(deciding).values_list("pk", flat=True))
    return {
        "extras": extras.select_related("budget", "requested_by", "decided_by")[:50],
        "askable": [{"pk": row.pk, "name": name_of(row)} for row in rows if row.pk in mine],
        "decidable": decidable,
    }


def name_of(budget: Budget) -> str:
    """`legal · month`; other scopes than a line of business keep their prefix (app:, key:, …)."""
    parts = [budget.scope.removeprefix("lob:"), budget.period]
    if budget.covers == "labels":
        parts.append(_("labels"))
    return " · ".join(parts)


def _use(rows: list[Burn]) -> Panel:
    """Of the budgets something was spent of, the fullest on top."""
    figures = [
        {
            "key": name_of(burn.budget),
            "spent_nusd": burn.room.spent_nusd,
            "limit_nusd": burn.room.limit_nusd,
            "used": burn.room.spent_nusd / burn.room.limit_nusd if burn.room.limit_nusd else 1.0,
            "warn_pct": burn.budget.warn_pct,
        }
        for burn in rows
    ]
    figures.sort(key=lambda f: -f["used"])
    return Panel(
        "budget-use",
        _("Budgets in their present period"),
        [
            Column(_("Budget")),
            Column(_("Spent"), "usd"),
            Column(_("Limit"), "usd"),
            Column(_("Used"), "rate"),
            Column(_("Warns at %"), "count"),
        ],
        [[f["key"], f["spent_nusd"], f["limit_nusd"], f["used"], f["warn_pct"]] for f in figures],
        charts.budget_use(figures[::-1]) if figures else None,  # drawn from below
        wide=True,
        note=_("Requests and jobs count; the replayed demonstration history does not: nobody spent it."),
        empty=_("Nothing was spent of any budget in its present period."),
    )


def _headroom(rows: list[Burn], own: set[int]) -> Panel:
    """`own`: the budgets that the reader may change."""
    columns = [
        Column(_("Budget")), Column(_("Period")), Column(_("From"), "time", detail=True),
        Column(_("Until"), "time", detail=True), Column(_("Limit"), "usd"), Column(_("Carried over"), "usd", detail=True),
        Column(_("Topped up"), "usd", detail=True), Column(_("Added"), "usd"), Column(_("Spent"), "usd"),
        Column(_("Reserved"), "usd"), Column(_("Left"), "usd"), Column(_("Runs out")),
        Column(_("Runs out at"), "time", detail=True), Column(_("Not before (95 %)"), "time", detail=True),
        Column(_("Not after (95 %)"), "time", detail=True), Column(_("Forecast"), detail=True), Column(_("At the limit")),
    ]  # fmt: skip
    return Panel(
        "headroom",
        _("Headroom"),
        columns,
        [
            [
                _led(b.budget, own), _span(b), b.room.start, b.room.end, b.budget.limit_nusd, b.carried_nusd, b.topped_up_nusd,
                b.carried_nusd + b.topped_up_nusd, b.room.spent_nusd, b.room.reserved_nusd, b.room.left_nusd, _ending(b),
                b.forecast.at, b.forecast.low, b.forecast.high, _pace(b), b.budget.action,
            ]
            for b in rows
        ],
        wide=True,
        note=_("Added: carried over and topped up. A dash under “runs out”: it lasts to the end of its period."),
    )  # fmt: skip


def _led(budget: Budget, own: set[int]) -> str | Link:
    """Its name, leading to its form where the reader may change it."""
    name = name_of(budget)
    return Link(name, reverse("dashboards:budget", args=[budget.pk])) if budget.pk in own else name


def _span(burn: Burn) -> str:
    """The days of its period, the last one included."""
    if burn.room.end is None:
        return _("no end")
    return f"{burn.room.start:%Y-%m-%d} – {burn.room.end - timedelta(seconds=1):%Y-%m-%d}"


def _ending(burn: Burn) -> str:
    """`2026-11-28 (11-27 – 11-30)`: when it will have run out, between the ends of nine in ten."""
    forecast = burn.forecast
    if forecast.at is None:
        return "–"
    ends = [f"{at:%m-%d}" if at else "…" for at in (forecast.low, forecast.high)]
    return f"{forecast.at:%Y-%m-%d} ({' – '.join(ends)})"


def _pace(burn: Burn) -> str:
    """What the forecast rests on, in words."""
    words = {
        "spent": _("it is spent"), "week": _("by the hours of the weeks before"), "even": _("at an even pace"),
        "none": _("nothing was spent yet"),
    }  # fmt: skip
    return words[burn.forecast.pace]


def _burn_down(burn: Burn) -> Panel:
    """By hour from the roll-ups; what they don't hold (labels, a call of this second) is in the last known point."""
    left = burn.room.limit_nusd
    first = min(burn.hours) if burn.room.end is None and burn.hours else burn.room.start
    known = [(first, left)]
    for hour, nusd in burn.hours.items():
        left -= nusd
        known.append((hour, left))
    points = [_point(at, nusd) for at, nusd in _thinned(known)]
    if burn.forecast.path:
        points += [_point(at, nusd, expected=True) for at, nusd in burn.forecast.path]
        points[-1] |= {"low": _text(burn.forecast.low), "high": _text(burn.forecast.high)}
    rows = [
        [p["key"], None if p["expected"] else p["left_nusd"], p["left_nusd"] if p["expected"] else None]
        for p in points
    ]
    return Panel(
        f"burn-down-{burn.budget.pk}",
        _("Left of %(scope)s") % {"scope": name_of(burn.budget)},
        [Column(_("Moment")), Column(_("Left"), "usd"), Column(_("Expected to be left"), "usd")],
        rows,
        charts.burn_down(points, burn.room.limit_nusd),
        note=_outlook(burn),
    )


def _thinned(points: Sequence[tuple[datetime, int]]) -> list[tuple[datetime, int]]:
    """At most MOST_POINTS of them, the first and the last too: each says what was left then, so leaving some out is exact."""
    step = -(-len(points) // MOST_POINTS)
    return [*points[:-1][:: max(1, step)], *points[-1:]]


def _outlook(burn: Burn) -> str:
    forecast = burn.forecast
    if forecast.pace in ("spent", "none"):
        return _pace(burn).capitalize() + "."
    if forecast.at is None:
        last = (
            _("It lasts to the end of its period, %(how)s.")
            if burn.room.end
            else _("It lasts for a year, %(how)s.")
        )
        return last % {"how": _pace(burn)}
    return _("It runs out about %(at)s, %(how)s; nine times in ten between %(low)s and %(high)s.") % {
        "at": _moment(forecast.at), "how": _pace(burn), "low": _moment(forecast.low),
        "high": _moment(forecast.high) if forecast.high else _("the end of its period"),
    }  # fmt: skip


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else "–"


def _text(at: datetime | None) -> str | None:
    return at.strftime("%Y-%m-%d %H:%M") if at else None


def _point(at: datetime, left_nusd: int, *, expected: bool = False) -> dict[str, Any]:
    return {"key": _text(at), "left_nusd": left_nusd, "expected": expected}


@require_POST
@page
def request_top_up(request: PageRequest) -> HttpResponse:
    scope = require_role(request, *ASKS)
    pk = request.POST.get("budget", "")
    row = get_object_or_404(Budget.objects.for_tenant(scope), pk=int(pk) if pk.isdecimal() else 0)
    try:
        money.request_top_up(
            budget=row, user=request.user, amount_nusd=_amount(request.POST.get("amount_usd", "")),  # type: ignore[arg-type]
            reason=request.POST.get("reason", ""), period=request.POST.get("period", "current"),
        )  # fmt: skip
    except SwitchyardError as error:
        messages.error(request, error.message)
        keep_typed(request, "top-up")
        return redirect("dashboards:budgets")
    messages.success(request, _("Asked for: somebody else decides."))
    return redirect("dashboards:budgets")


def _amount(text: str) -> int:
    """Nano-dollars; what is no amount is none, which the service refuses in words."""
    try:
        return usd_to_nusd(Decimal(text))
    except (InvalidOperation, ValueError, OverflowError):
        return 0


@require_POST
@page
def decide_top_up(request: PageRequest, extra_id: int, decision: str) -> HttpResponse:
    scope = require_role(request, *DECIDES)
    extra = get_object_or_404(BudgetExtra.objects.for_tenant(scope).filter(kind="top_up"), pk=extra_id)
    if decision not in DECISIONS:
        raise Http404
    try:
        DECISIONS[decision](extra=extra, user=request.user)  # type: ignore[arg-type]
    except SwitchyardError as error:
        messages.error(request, error.message)
    else:
        messages.success(
            request, _("Approved: it counts within two seconds.") if decision == "approve" else _("Refused.")
        )
    return redirect("dashboards:budgets")
