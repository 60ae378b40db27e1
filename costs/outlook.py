"""Forecasts and anomalies, made from the roll-ups and kept in rows, so that pages need neither time nor numpy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from statistics import median
from typing import Any

from django.db import transaction
from django.db.models import Sum
from django.utils.translation import gettext as _

from costs.alerts import raise_alert
from costs.foresight.factors import Day, Use
from costs.models import LEGS, Anomaly, Forecast, SpendDay, SpendHour
from costs.rollups import hour_of
from switchyard.core.clock import now
from switchyard.core.money import format_usd

FORECAST_DAYS, ANOMALY_DAYS, BURST_DAYS, PROFILE_DAYS = 400, 120, 15, 28
JUDGED_DAYS = 3  # late work of the last days may still change them
NAMES = ("lob", "workload", "deployment")
ANSWERS = "answer"  # the purpose whose spending is judged
# kind of unit → (what counts it, the legs that pay for it)
UNITS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "input": (("tokens_in",), ("input", "cached_input", "cache_write", "audio_input")),
    "output": (("tokens_out",), ("output", "reasoning", "audio_output")),
    "compute": (("accelerator_ns",), ("compute",)),
    "seconds": (("duration_ms",), ("seconds",)),
    "calls": (("requests",), ("calls", "minimum", "searches")),
}
SUMS = (
    "requests",
    "tokens_in",
    "tokens_out",
    "accelerator_ns",
    "duration_ms",
    "cost_nusd",
    *(f"{leg}_nusd" for leg in LEGS),
)
Group = tuple[str, str]  # (line of business, workload)


def forecast_month(organisation_id: int, at: datetime | None = None) -> list[Forecast]:
    """Foresee this month's spend of the organisation and of every line of business; what has too few days has no row."""
    from costs.foresight import backtest

    today = (at or now()).astimezone(UTC).date()
    days = _daily(organisation_id, today - timedelta(days=FORECAST_DAYS), today)
    gone = _gone_of_day(organisation_id, at or now())
    month = today.replace(day=1)
    made = []
    for lob, spends in sorted(days.items()):
        first = min(spends)
        whole = [spends.get(first + timedelta(days=i), 0) for i in range((today - first).days)]
        try:
            end = backtest.month_end(whole, first, spends.get(today, 0), gone_of_today=gone.get(lob))
        except backtest.NotEnoughDays:
            continue
        values = {
            "made_at": at or now(), "spent_nusd": end.spent, "estimate_nusd": end.estimate, "low_nusd": end.low,
            "high_nusd": end.high, "method": end.foreseen.method, "mape": end.foreseen.mape,
            "coverage": end.foreseen.coverage, "backtests": end.foreseen.backtests, "points": end.points,
        }  # fmt: skip
        key = {"organisation_id": organisation_id, "lob": lob, "month": month}
        made.append(Forecast.objects.update_or_create(**key, defaults=values)[0])
    # What was foreseen of a line of business whose books no longer reach back far enough doesn't stand.
    stale = Forecast.objects.filter(organisation_id=organisation_id, month=month)
    stale.exclude(pk__in=[row.pk for row in made]).delete()
    return made


def _daily(organisation_id: int, first: date, today: date) -> dict[str, dict[date, int]]:
    """Line of business → UTC day → nano-dollars; "" is all of them."""
    rows = SpendDay.objects.filter(
        organisation_id=organisation_id,
        start__gte=_midnight(first),
        start__lt=_midnight(today) + timedelta(days=1),
    )
    found: dict[str, dict[date, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows.order_by().values("start", "lob").annotate(cost=Sum("cost_nusd")):
        for name in (row["lob"], ""):
            found[name][row["start"].date()] += row["cost"]
    return found


def _gone_of_day(organisation_id: int, at: datetime) -> dict[str, float]:
    """Line of business → the share of a UTC day's spending that has usually come by this time of the day, from the hours of
    the last four weeks; "" is all of them. Nobody who spent nothing is in it."""
    today, moment = _midnight(at.astimezone(UTC).date()), at.astimezone(UTC)
    rows = SpendHour.objects.filter(
        organisation_id=organisation_id, start__gte=today - timedelta(days=PROFILE_DAYS), start__lt=today
    )
    hours: dict[str, list[int]] = defaultdict(lambda: [0] * 24)
    for lob, start, cost in rows.order_by().values_list("lob", "start").annotate(cost=Sum("cost_nusd")):
        for name in (lob, ""):
            hours[name][start.hour] += cost
    within = moment.minute / 60 + moment.second / 3600
    return {
        name: (sum(by[: moment.hour]) + by[moment.hour] * within) / sum(by)
        for name, by in hours.items()
        if sum(by) > 0
    }


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def find_anomalies(
    organisation_id: int, at: datetime | None = None, days: int = JUDGED_DAYS
) -> list[Anomaly]:
    """Judge the last `days` whole days of every workload against its own past; what stands out becomes a row and an alert.

    What answers cost is judged, and nothing else: evaluations, shadows and training come in bursts that somebody planned, and
    budgets watch what they cost.
    """
    from costs.foresight import detect

    today = (at or now()).astimezone(UTC).date()
    first, since = today - timedelta(days=ANOMALY_DAYS), today - timedelta(days=days)
    rows = SpendDay.objects.filter(
        organisation_id=organisation_id,
        purpose=ANSWERS,
        start__gte=_midnight(first),
        start__lt=_midnight(today),
    )
    grouped = _uses(rows)
    asked = _by_application(rows)
    usual = _usual_day(grouped)
    found = []
    for group, by_day in sorted(grouped.items()):
        begin = min(by_day).date()
        span = [_midnight(begin + timedelta(days=i)) for i in range((today - begin).days)]
        who = [asked.get(group, {}).get(day, {}) for day in span]
        spent = [by_day.get(day, {}) for day in span]
        for one in detect.find(
            spent, begin, usual_nusd=usual, workloads=len(grouped), since=since, applications=who, say=_
        ):
            values = {
                "spent_nusd": one.spent, "expected_nusd": one.expected, "low_nusd": one.low, "high_nusd": one.high,
                "score": one.score, "cause": one.cause, "parts": dict(one.parts),
            }  # fmt: skip
            found.append(_keep(organisation_id, group, one.day, values))
    return found


def find_bursts(organisation_id: int, at: datetime | None = None) -> list[Anomaly]:
    """Look at the running hour and the one before: a workload that spends a good part of a day in an hour is told at once.

    Only what answers cost, as in `find_anomalies`.
    """
    from costs.foresight import bursts

    hour = hour_of(at or now())
    latest = SpendHour.objects.filter(
        organisation_id=organisation_id,
        purpose=ANSWERS,
        start__gte=hour - timedelta(hours=1),
        start__lte=hour,
    )
    busy = set(latest.filter(cost_nusd__gt=0).values_list("lob", "workload"))
    if not busy:
        return []
    past = SpendHour.objects.filter(
        organisation_id=organisation_id,
        purpose=ANSWERS,
        start__gte=hour - timedelta(days=BURST_DAYS),
        start__lte=hour,
    )
    grouped = _uses(past)
    usual = _usual_day(grouped, hours=24)
    found = []
    for group in sorted(busy):
        by_hour = grouped[group]
        for looked_at in (hour - timedelta(hours=1), hour):
            span = _hours(min(by_hour), looked_at)
            burst = bursts.find_burst(
                [by_hour.get(h, {}) for h in span], by_hour.get(looked_at, {}), usual_nusd=usual, say=_
            )
            if burst is not None:
                span_of = _("%(from)s to %(to)s UTC") % {
                    "from": f"{looked_at:%H}:00",
                    "to": f"{looked_at:%H}:59",
                }
                values = {
                    "spent_nusd": burst.spent, "expected_nusd": burst.expected, "low_nusd": 0, "high_nusd": burst.dearest,
                    "score": burst.spent / max(1, burst.dearest), "cause": f"{span_of}: {burst.cause}", "parts": burst.parts,
                }  # fmt: skip
                found.append(_keep(organisation_id, group, looked_at.date(), values))
    return found


def _hours(first: datetime, until: datetime) -> Iterable[datetime]:
    return [first + timedelta(hours=i) for i in range(int((until - first).total_seconds() // 3600))]


def _uses(rows: Any) -> dict[Group, dict[datetime, dict[str, Use]]]:
    """(lob, workload) → start → deployment → what it did."""
    found: dict[Group, dict[datetime, dict[str, Use]]] = defaultdict(lambda: defaultdict(dict))
    asked = rows.order_by().values("start", *NAMES).annotate(**{f"{n}_": Sum(n) for n in SUMS})
    for row in asked:
        found[row["lob"], row["workload"]][row["start"]][row["deployment"]] = _use(row)
    return found


def _use(row: Mapping[str, Any]) -> Use:
    units, paid = {}, 0
    for kind, (counts, legs) in UNITS.items():
        cost = sum(row[f"{leg}_nusd_"] or 0 for leg in legs)
        paid += cost
        if cost:
            units[kind] = (float(sum(row[f"{n}_"] or 0 for n in counts)), float(cost))
    rest = (row["cost_nusd_"] or 0) - paid  # metered before costs were kept by their parts
    if rest:
        quantity, cost = units.get("calls", (float(row["requests_"] or 0), 0.0))
        units["calls"] = (quantity, cost + rest)
    return Use(float(row["requests_"] or 0), units)


def _by_application(rows: Any) -> dict[Group, dict[datetime, dict[str, float]]]:
    found: dict[Group, dict[datetime, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows.order_by().values("start", "lob", "workload", "application").annotate(n=Sum("requests")):
        found[row["lob"], row["workload"]][row["start"]][row["application"]] = float(row["n"])
    return found


def _usual_day(grouped: Mapping[Group, Mapping[datetime, Day]], hours: int = 0) -> float:
    """What the organisation spends on a middling day; `hours`: the buckets are hours, put into days here."""
    by_day: dict[Any, float] = defaultdict(float)
    for buckets in grouped.values():
        for start, day in buckets.items():
            by_day[start.date() if hours else start] += sum(use.cost_nusd for use in day.values())
    return median(by_day.values()) if by_day else 0.0


@transaction.atomic
def _keep(organisation_id: int, group: Group, day: date, values: dict[str, Any]) -> Anomaly:
    """The row is brought up to what is known now; people are told once a workload and day."""
    lob, workload = group
    key = {"organisation_id": organisation_id, "lob": lob, "workload": workload, "day": day}
    row, _new = Anomaly.objects.update_or_create(
        **key, defaults={k: v[:300] if k == "cause" else v for k, v in values.items()}
    )
    spent, expected = format_usd(values["spent_nusd"]), format_usd(values["expected_nusd"])
    raise_alert(
        organisation_id=organisation_id, kind="anomaly", lob=lob, subject=workload or lob,
        message=_("%(what)s spent $%(spent)s on %(day)s; its own past says $%(expected)s.")
        % {"what": workload or lob, "spent": spent, "day": day, "expected": expected},
        cause=values["cause"],
        unique_key=f"anomaly:{organisation_id}:{lob}:{workload}:{day}",
    )  # fmt: skip
    return row
