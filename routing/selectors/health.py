"""How each upstream does right now, of what the asker may see: breaker, last look, last failure, share of the calls."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import redis
from django.db.models import Count, Max, Q

from costs.breakers import Breaker, read_breakers
from costs.budgets.counters import client
from costs.models import Attempt
from modelhub.models import Deployment
from routing.models import DecisionRecord
from switchyard.core.clock import now
from switchyard.tenancy.querysets import Scope

SHARE_OVER, FAILURES_OVER = timedelta(minutes=5), timedelta(minutes=15)
FAILED = ("error",)  # what a caller cut off himself is no failure of the server


@dataclass(frozen=True, slots=True)
class UpstreamHealth:
    """`breaker`, `look`: None while Valkey can't be reached, or nobody looked. `share`: of the asker's calls in five minutes."""

    deployment: Deployment
    breaker: Breaker | None
    look: dict[str, Any] | None
    calls: int
    failures: int
    share: float | None
    failed_at: datetime | None
    failure: str
    everybody: bool  # the breaker's counts are everybody's calls, and the asker may see everybody's

    @property
    def state(self) -> str:
        return self.breaker.state if self.breaker is not None else "unknown"

    @property
    def looked_at(self) -> datetime | None:
        return datetime.fromtimestamp(self.look["at"], UTC) if self.look else None


def upstream_health(
    scope: Scope, *, lob: str | None = None, connection: redis.Redis | None = None
) -> list[UpstreamHealth]:
    """One row a deployment of the scope; with `lob` those that it may use, and its own calls alone."""
    rows = Deployment.objects.for_tenant(scope).prefetch_related("lobs")
    found = [row for row in rows if lob is None or _usable(row, lob)]
    if scope.organisation_id is None or not found:
        return []
    names = [row.name for row in found]
    link = connection if connection is not None else client()
    breakers = read_breakers(link, scope.organisation_id, names)
    looks = _looks(link, scope.organisation_id, names) if breakers is not None else {}
    calls = _calls(scope, lob)
    total = sum(row["calls"] for row in calls.values())
    why = _reasons(scope, calls)
    everybody = scope.lob_slugs is None and lob is None
    told = []
    for row in found:
        own = calls.get(row.name, {"calls": 0, "failures": 0, "failed_at": None})
        told.append(
            UpstreamHealth(
                row, breakers[row.name] if breakers is not None else None, looks.get(row.name), own["calls"], own["failures"],
                own["calls"] / total if total else None, own["failed_at"], why.get(row.name, ""), everybody,
            )
        )  # fmt: skip
    return told


def _usable(row: Deployment, lob: str) -> bool:
    named = {one.slug for one in row.lobs.all()}
    return not named or lob in named


def _looks(connection: redis.Redis, organisation_id: int, names: list[str]) -> dict[str, dict[str, Any]]:
    """What the last health probe found (routing.execution.probes)."""
    try:
        raw: Any = connection.mget([f"sy:health:{organisation_id}:{name}" for name in names])
    except (redis.RedisError, OSError):
        return {}
    return {name: orjson.loads(value) for name, value in zip(names, raw, strict=True) if value}


def _calls(scope: Scope, lob: str | None) -> dict[str, dict[str, Any]]:
    """Deployment → the asker's own calls and failures of five minutes, and when one failed within fifteen."""
    at = now()
    rows = Attempt.objects.for_tenant(scope).filter(
        at__gte=at - FAILURES_OVER, superseded=False, origin="live"
    )
    if lob is not None:
        rows = rows.filter(lob=lob)
    lately, failed = Q(at__gte=at - SHARE_OVER), Q(status__in=FAILED)
    told = rows.values("deployment").annotate(
        calls=Count("pk", filter=lately), failures=Count("pk", filter=lately & failed), failed_at=Max("at", filter=failed)
    )  # fmt: skip
    return {row["deployment"]: row for row in told.order_by()}


def _reasons(scope: Scope, calls: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Deployment → what was wrong with its last call that failed: the kind and, where there was one, the status."""
    moments = {name: row["failed_at"] for name, row in calls.items() if row["failed_at"] is not None}
    if not moments:
        return {}
    failed = Attempt.objects.for_tenant(scope).filter(
        at__in=set(moments.values()), deployment__in=moments, status__in=FAILED
    )
    which = {row.deployment: row.request_id for row in failed if row.at == moments[row.deployment]}
    records = DecisionRecord.objects.for_tenant(scope).filter(request_id__in=set(which.values()))
    detail = {row.request_id: row.detail for row in records}
    return {name: _told(detail.get(request_id) or {}, name) for name, request_id in which.items()}


def _told(detail: dict[str, Any], name: str) -> str:
    for attempt in reversed(detail.get("attempts") or []):
        if attempt.get("deployment") == name and attempt.get("status") in FAILED:
            status = attempt.get("http_status")
            return " ".join(filter(None, (attempt.get("error") or attempt["status"], str(status or ""))))
    return ""
