"""Decisions, newest first, and why each one went where it went."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404

from costs.models import Attempt, LedgerEntry
from routing.models import DecisionRecord, Feedback
from switchyard.dashboards.pages import Ask, Column, PageRequest, Panel, csv_of, page, show
from switchyard.dashboards.selectors import workloads

PAGE_SIZE = 50
CSV_ROWS = 10_000
FILTERS = ("workload", "side", "sensitivity", "guard_verdict", "origin")


@page
def decisions(request: PageRequest) -> HttpResponse:
    """Keyset paging: `before` is "<ISO time>~<id>" of the last row seen."""
    ask = request.ask
    rows = _filtered(ask, request.GET)
    if "csv" in request.GET:
        return csv_of(_panel(rows[:CSV_ROWS]))
    found = list(_before(rows, request.GET.get("before", ""))[: PAGE_SIZE + 1])
    more = found[PAGE_SIZE - 1] if len(found) > PAGE_SIZE else None
    return show(request, "routing/decisions.html", {
        "rows": found[:PAGE_SIZE], "next": f"{more.at.isoformat()}~{more.pk}" if more else "", "workloads": workloads(ask),
        "sensitivities": ("public", "internal", "confidential", "restricted"), "sides": ("private", "external"),
        "verdicts": ("pass", "amend", "withhold", "unavailable"), "statuses": ("ok", "refused"),
    })  # fmt: skip


def _filtered(ask: Ask, query: Any) -> QuerySet[DecisionRecord]:
    rows = DecisionRecord.objects.for_tenant(ask.scope).filter(
        at__gte=ask.period.start, at__lt=ask.period.end
    )
    if ask.lob:
        rows = rows.filter(lob=ask.lob)
    rows = rows.filter(**{name: query[name] for name in FILTERS if query.get(name)})
    if query.get("status") == "ok":
        rows = rows.filter(status__lt=400)
    elif query.get("status") == "refused":
        rows = rows.filter(status__gte=400)
    if query.get("find"):
        text = query["find"].strip()
        rows = rows.filter(Q(pk=text) | Q(request_id=text))
    return rows.defer("detail", "sealed_answers").order_by("-at", "-pk")


def _before(rows: QuerySet[DecisionRecord], mark: str) -> QuerySet[DecisionRecord]:
    if not mark:
        return rows
    time, _tilde, key = mark.partition("~")
    try:
        at = datetime.fromisoformat(time)
    except ValueError:
        raise Http404 from None
    return rows.filter(Q(at__lt=at) | Q(at=at, pk__lt=key))


def _panel(rows: Any) -> Panel:
    columns = ["id", "at", "lob", "application", "workload", "sensitivity", "side", "deployment", "model", "policy_version",
               "status", "error_code", "cost_nusd", "other_side_cost_nusd", "latency_ms", "guard_verdict", "origin"]  # fmt: skip
    kinds = {"at": "time", "cost_nusd": "usd", "other_side_cost_nusd": "usd"}
    return Panel(
        "decisions", "", [Column(name.removesuffix("_nusd"), kinds.get(name, "text")) for name in columns],
        [[getattr(row, name) for name in columns] for row in rows],
    )  # fmt: skip


@page
def decision(request: PageRequest, decision_id: str) -> HttpResponse:
    """Explain this request. Somebody else's decision does not exist."""
    row = get_object_or_404(DecisionRecord.objects.for_tenant(request.ask.scope), pk=decision_id)
    mine = {"organisation_id": row.organisation_id}
    feedback = Feedback.objects.for_tenant(request.ask.scope).filter(decision_id=row.pk)
    return show(request, "routing/decision.html", {
        "row": row, "detail": row.detail, "facts": flat_facts(row.detail.get("facts", {})),
        "attempts": row.detail.get("attempts") or list(Attempt.objects.filter(request_id=row.request_id, **mine).values()),
        "ledger": LedgerEntry.objects.filter(request_id=row.request_id, **mine).order_by("pk"),
        "feedback": feedback.order_by("index")[:50],
        "difference": None if row.other_side_cost_nusd is None else row.other_side_cost_nusd - row.cost_nusd,
    })  # fmt: skip


def flat_facts(facts: Any) -> list[tuple[str, Any]]:
    """Flat "group.name" → value, in the order they were found."""
    flat = []
    for group, values in facts.items():
        pairs = values.items() if isinstance(values, dict) else [("", values)]
        for name, value in pairs:
            shown = ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else value
            flat.append((f"{group}.{name}" if name else group, shown))
    return flat
