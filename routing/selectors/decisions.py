"""One decision as it is told: by `/v1/decisions/{id}`, the REST API and the page, from event or record alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.models import DecisionRecord
from switchyard.core.clock import from_ns
from switchyard.core.money import format_usd

KEPT = ("facts", "trace", "candidates", "attempts", "prices", "guard", "rule", "tier", "task", "stream", "confidence", "shadow",
        "learned", "found", "masked", "beside", "other_side_deployment", "cache", "at_ns")  # fmt: skip


def record_of(decision_id: str, organisation_id: int, lob: str) -> dict[str, Any] | None:
    """The stored decision in the shape of its event; None when unknown or a neighbour's."""
    rows = DecisionRecord.objects.filter(pk=decision_id, organisation_id=organisation_id, lob=lob)
    row = rows.first()
    return as_event(row) if row else None


def as_event(row: DecisionRecord) -> dict[str, Any]:
    names = (
        "request_id", "organisation_id", "lob", "application", "key_id", "workload", "endpoint", "sensitivity", "side",
        "deployment", "model", "policy_version", "policy_hash", "status", "error_code", "cost_nusd",
        "other_side_cost_nusd", "latency_ms", "overhead_ms", "answers", "sealed_answers", "origin",
    )  # fmt: skip
    event = {name: getattr(row, name) for name in names}
    event |= {"decision_id": row.pk, "at_ns": int(row.at.timestamp() * 1e9)}
    return event | row.detail


def explain(event: Mapping[str, Any]) -> dict[str, Any]:
    """What a caller may read about a decision: no prompt, no answer, costs in dollars."""
    other = event.get("other_side_cost_nusd")
    return {
        "id": event["decision_id"], "object": "decision", "request_id": event["request_id"],
        "at": from_ns(event["at_ns"]).isoformat(), "lob": event["lob"], "application": event["application"],
        "workload": event["workload"], "endpoint": event["endpoint"], "status": event["status"],
        "error_code": event["error_code"], "route": event["side"], "deployment": event["deployment"], "model": event["model"],
        "facts": event.get("facts", {}), "rule": event.get("rule", ""), "trace": event.get("trace", []),
        "candidates": [_candidate(c) for c in event.get("candidates", [])],
        "attempts": [_attempt(a) for a in event.get("attempts", [])],
        "policy": {"version": event["policy_version"], "hash": event["policy_hash"]}, "prices": event.get("prices", {}),
        "cost_usd": format_usd(event["cost_nusd"]), "other_side_cost_usd": None if other is None else format_usd(other),
        "other_side_deployment": event.get("other_side_deployment"), "latency_ms": event["latency_ms"],
        "overhead_ms": event["overhead_ms"], "answers": event["answers"], "confidence": event.get("confidence"),
        "guard": {k: v for k, v in event.get("guard", {}).items() if k != "text"}, "origin": event["origin"],
        "cache": event.get("cache", ""), "shadow": event.get("shadow"),
        "found": event.get("found", {}), "masked": event.get("masked", {}),
    }  # fmt: skip


def _candidate(row: Mapping[str, Any]) -> dict[str, Any]:
    cost = row.get("cost_nusd")
    plain = {name: row[name] for name in ("deployment", "side", "eligible", "reasons")}
    plain |= {"chance": row["chance"]} if "chance" in row else {}  # where a learned choice knew one
    return plain | {"cost_usd": None if cost is None else format_usd(cost)}


def _attempt(row: Mapping[str, Any]) -> dict[str, Any]:
    plain = {
        name: value for name, value in row.items() if name not in ("cost_nusd", "at_ns", "legs", "saved")
    }
    parts = {
        f"{name}_usd": {k: format_usd(v) for k, v in row[name].items()}
        for name in ("legs", "saved")
        if name in row
    }
    return plain | parts | {"at": from_ns(row["at_ns"]).isoformat(), "cost_usd": format_usd(row["cost_nusd"])}
