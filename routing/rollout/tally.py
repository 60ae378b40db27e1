"""Shadows' sampled decisions, summed up by day: what a page reads instead of every record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from django.db import transaction

from routing.models import DecisionRecord, Policy, ShadowMark, ShadowTally
from routing.rollout.outcomes import AT_ONCE, SETTLED
from switchyard.core.clock import now

MOST_SAMPLES = 5
Key = tuple[str, date, str, str, str, str]  # policy, day, lob, workload, live, shadow


@transaction.atomic
def tally(organisation_id: int) -> int:
    """Read what is new; gives how many sampled decisions were counted. Each is counted once."""
    if not Policy.objects.filter(organisation_id=organisation_id, state="shadow").exists():
        return 0
    mark, _created = ShadowMark.objects.select_for_update().get_or_create(organisation_id=organisation_id)
    rows = DecisionRecord.objects.filter(
        organisation_id=organisation_id, pk__gt=mark.decision_id, at__lte=now() - SETTLED
    )
    rows = list(rows.order_by("pk").values("id", "at", "lob", "workload", "detail__beside")[:AT_ONCE])
    sums: dict[Key, dict[str, Any]] = {}
    for row in rows:
        _add(row, sums)
    known = set(
        Policy.objects.filter(organisation_id=organisation_id, pk__in={k[0] for k in sums}).values_list(
            "pk", flat=True
        )
    )
    for key, values in sums.items():
        if key[0] in known:
            _keep(key, values)
    if rows:
        mark.decision_id = rows[-1]["id"]
        mark.save()
    return sum(values["requests"] for values in sums.values())


def _add(row: Mapping[str, Any], sums: dict[Key, dict[str, Any]]) -> None:
    said: Iterable[Mapping[str, Any]] = row["detail__beside"] or ()
    for one in said:
        if "error" in one:
            continue
        key = (one["policy"], row["at"].date(), row["lob"], row["workload"], one["live"], one["hop"])
        values = sums.setdefault(
            key, {"requests": 0, "crossings": 0, "live_worst_nusd": 0, "shadow_worst_nusd": 0, "samples": [],
                  "live_side": one["live_side"], "shadow_side": one["side"]},
        )  # fmt: skip
        values["requests"] += 1
        values["crossings"] += bool(one["crosses"])
        values["live_worst_nusd"] += one["live_worst_nusd"]
        values["shadow_worst_nusd"] += one["worst_nusd"]
        values["samples"] = [*values["samples"], row["id"]][-MOST_SAMPLES:]


def _keep(key: Key, values: dict[str, Any]) -> None:
    policy, day, lob, workload, live, shadow = key
    row, created = ShadowTally.objects.select_for_update().get_or_create(
        policy_id=policy, day=day, lob=lob, workload=workload, live=live, shadow=shadow, defaults=values
    )
    if created:
        return
    for name in ("requests", "crossings", "live_worst_nusd", "shadow_worst_nusd"):
        setattr(row, name, getattr(row, name) + values[name])
    row.samples = [*row.samples, *values["samples"]][-MOST_SAMPLES:]
    row.save()
