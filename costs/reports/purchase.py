"""Which device to buy or rent for the private side's own arrivals, when it pays, and what leaving its vendor would take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from django.db.models import Min, Sum

from costs.contracts import NodeRate
from costs.models import SpendHour
from costs.planning.advice import Facts, Offer, Terms, compare, leave
from costs.planning.devices import MEASURED, PRECISIONS, load
from costs.reports import planning_words as words
from costs.reports.arrivals import Arrivals, NothingToQueue, private_arrivals
from costs.reports.assumptions import listed
from costs.reports.base import Report, groups_of, zone_of
from costs.reports.capacity import machines_of, month_nusd, strictest_target
from costs.reports.options import by_device, dollars, number, one_of, whole
from costs.rollups import HOUR, as_of, hour_of
from costs.statistics import wilson
from switchyard.core.clock import now
from switchyard.core.money import nusd_to_usd
from switchyard.tenancy.querysets import Scope

PARAMETERS = {
    "factor": number("factor", 0.01, 10_000),
    "target_ms": number("target_ms", 0.001, 3_600_000),
    "percentile": number("percentile", 50, 99.9),
    "precision": one_of("precision", tuple(PRECISIONS)),
    "efficiency": number("efficiency", 0.01, 1),
    "overhead_us": number("overhead_us", 0, 1_000_000),
    "utilisation": number("utilisation", 0.01, 1),
    "life_months": whole("life_months", 1, 240),
    "usd_per_kwh": dollars("usd_per_kwh", 10),
    "pue": dollars("pue", 5),
    "host_usd": dollars("host_usd", 1_000_000),
    "host_watts": whole("host_watts", 0, 100_000),
    "upkeep_usd_per_month": dollars("upkeep_usd_per_month", 10_000_000),
    "move_usd": dollars("move_usd", 100_000_000),
    "price_usd": by_device("price_usd", dollars("price_usd", 10_000_000)),
    "cloud_usd": by_device("cloud_usd", dollars("cloud_usd", 100_000)),
    "watts": by_device("watts", whole("watts", 1, 100_000)),
}


def purchase_advice(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "lob",
    lob: str | None = None,
    tz: str = "UTC",
    arrivals_of: Callable[..., Arrivals] = private_arrivals,
    **terms: Any,
) -> Report:
    """Rows by device, the cheapest first {"key", "name", "vendor", "origin", "simulated", "servers", "nusd_per_month",
    "nusd_per_correct", "low", "high", "fallback_share", "missing", "month_against_external", "leave_to", …}.

    `terms` are costs.planning.advice.Terms, all of them assumptions and listed in the totals. Machines are bought for
    everyone: those who see a part of the organisation get no rows and are told so. ValueError for unknown terms.
    """
    groups_of(group), zone_of(tz)  # rows are always devices; what is wrong is refused all the same
    unknown = set(terms) - {f.name for f in fields(Terms)}
    if unknown:
        raise ValueError(f"Purchase advice knows no {', '.join(sorted(unknown))}: {', '.join(PARAMETERS)}.")
    rates = machines_of(scope)
    if rates is None:
        return Report("purchase-advice", as_of(), [], {"sentence": words.machines_are_shared()})
    given = dict(terms)
    given.setdefault("target_ms", strictest_target(scope, lob))
    if rates:
        hourly = nusd_to_usd(round(sum(r.nusd_per_hour for r in rates.values()) / len(rates)))
        given["cloud_usd"] = {MEASURED: hourly} | given.get("cloud_usd", {})
    asked = Terms(**given)
    devices = load()
    try:
        arrivals = arrivals_of(scope, start, end, lob=lob, workload=None, nodes=None)
    except NothingToQueue:
        return Report("purchase-advice", as_of(), [], {"sentence": words.nothing_to_queue()})
    facts = _facts(scope, start, end, lob, rates)
    offers = compare(arrivals.trace, devices, facts, asked)
    rows = [_row(offer, offers, asked) for offer in offers]
    return Report("purchase-advice", as_of(), rows, _totals(rows, arrivals, facts, asked, set(terms)))


def _facts(
    scope: Scope, start: datetime, end: datetime, lob: str | None, rates: dict[str, NodeRate]
) -> Facts:
    """What the private side did in the period. Today's machines serve everyone: they stand beside all work only."""
    rows = SpendHour.objects.for_tenant(scope).filter(
        side="private", purpose="answer", start__gte=hour_of(start), start__lt=end
    )
    rows = (rows.filter(lob=lob) if lob else rows).order_by()
    names = ("answers", "requests", "judged", "correct", "other_side_cost_nusd", "other_side_known")
    found = list(rows.values("workload").annotate(**{f"{n}_": Sum(n) for n in names}, first=Min("start")))
    total = {n: sum(row[f"{n}_"] for row in found) for n in names}
    begins = min((row["first"] for row in found), default=hour_of(start))
    hours = max(1, -((begins - min(end, now())) // HOUR))
    known = [row for row in found if row["other_side_known_"]]
    priced = sum(
        (Fraction(row["answers_"] * row["other_side_known_"], row["requests_"]) for row in known), Fraction(0)
    )
    low, high = wilson(total["correct"], total["judged"])
    return Facts(
        answers_per_day=Fraction(total["answers"] * 24, hours),
        correct=(Fraction(total["correct"], total["judged"]), low, high) if total["judged"] else None,
        external_nusd=Fraction(total["other_side_cost_nusd"]) / priced if priced else None,
        movable_share=Fraction(total["other_side_known"], total["requests"])
        if total["requests"]
        else Fraction(0),
        today_nusd_per_month=0 if lob else month_nusd(rates),
        today_machines=0 if lob else len(rates),
    )


def _row(offer: Offer, offers: list[Offer], terms: Terms) -> dict[str, Any]:
    profile, carried, move = offer.profile, offer.carried, leave(offer, offers, terms)
    middle, low, high = offer.correct_nusd or (None, None, None)
    return {
        "key": profile.id, "name": profile.name, "vendor": profile.vendor, "origin": profile.origin,
        "simulated": offer.simulated, "provider": profile.provider, "precision": carried.precision,
        "service_ms": offer.service_ms, "servers": offer.servers, "utilisation": offer.utilisation,
        "response_p95_ms": offer.response_ms, "how": offer.how, "once_nusd": offer.once_nusd,
        "running_nusd_per_month": offer.running_nusd_per_month, "nusd_per_month": offer.month_nusd,
        "nusd_per_1000": None if offer.answer_nusd is None else round(offer.answer_nusd * 1000),
        "nusd_per_correct": middle, "low": low, "high": high,
        "fallback_share": carried.fallback_share, "fallback_time_share": carried.fallback_time_share,
        "fallback": ", ".join(carried.fallback), "missing": ", ".join(carried.missing),
        "month_against_external": offer.month_against_external, "month_against_today": offer.month_against_today,
        "leave_to": move.to.profile.name if move else "", "leave_once_nusd": move.once_nusd if move else None,
        "leave_nusd_per_month": move.month_nusd if move else None,
    }  # fmt: skip


def _totals(
    rows: list[dict[str, Any]], arrivals: Arrivals, facts: Facts, terms: Terms, changed: set[str]
) -> dict[str, Any]:
    devices = load()
    external = facts.external_nusd
    answers = facts.answers_per_day * Fraction(Decimal(str(terms.factor)))
    return {
        "sentence": words.purchase(rows, facts, terms), "answers_per_day": float(answers),
        "correct_share": float(facts.correct[0]) if facts.correct else None,
        "external_nusd_per_1000": None if external is None else round(external * 1000),
        "movable_share": float(facts.movable_share), "sample_rows": arrivals.rows, "sample_from": arrivals.start,
        "sample_to": arrivals.end, "target_ms": terms.target_ms, "percentile": terms.percentile,
        "assumptions": listed(terms, devices, changed),
        "coverage": {
            name: dict(p.coverage) | {"origin": p.origin, "date": p.date.isoformat(), "source": p.source}
            for name, p in devices.providers.items()
        },
    }  # fmt: skip
