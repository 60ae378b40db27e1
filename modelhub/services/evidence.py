"""The evidence pack of one audit: JSON and HTML that an auditor can keep, signed as artifacts are.

It holds counts, rates and digests; no text, no person, and no cell under twenty.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from django.template.loader import render_to_string

from modelhub.models import BiasAudit, ModelVersion
from switchyard.audit.models import AuditEvent
from switchyard.core.clock import now
from switchyard.core.crypto import keyed_digest

SMALLEST_CELL = 20
METRIC = "excess compression gap: (A_T,g − A_S,g) − (A_T,rest − A_S,rest), paired"
LIMITS = (
    "Groups are what a text names or what our templates say; of the people who ask nothing is known or guessed.",
    "Groups under 60 rows can't be cleared at a limit of five points, whatever the answers; they can only fail.",
    "Templates and public suites are made in English and Chinese; other languages were not examined.",
    "Rows are the workload's held-back rows; live traffic may differ, and the live monitors watch it.",
    "Intervals are the wider of a normal and a stratified bootstrap one (2,000 draws, seeded), Holm within the audit.",
)  # fmt: skip


def pack(
    audit: BiasAudit,
    interceptions: list[dict[str, Any]] | None = None,
    monitors: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The whole pack with its signature. `interceptions`, `monitors`: counts that the caller may see, by kind and axis."""
    report = audit.report
    body = {
        "kind": "switchyard.bias-evidence", "version": 1, "made_at": now().isoformat(), "audit": audit.pk,
        "at": audit.at.isoformat(),
        "system": "Switchyard", "lob": audit.workload.lob.slug, "workload": audit.workload.name,
        "purpose": audit.workload.note or f"{audit.workload.task} for {audit.workload.lob.name}",
        "models": report.get("models") or {}, "recipe": {"job": audit.job_id, "ran_on": audit.device},
        "data": report.get("data") or {},
        "metric": METRIC, "limit": report.get("limit"), "n": report.get("n"), "verdict": audit.verdict,
        "n_needed": report.get("n_needed"),
        "overall": {name: report.get(name) for name in ("teacher_accuracy", "student_accuracy", "lost_overall", "disagreement")},
        "groups": [_group(row) for row in report.get("groups") or ()],
        "counterfactual": report.get("counterfactual"),
        "suites": report.get("suites") or {}, "interceptions": [_suppressed(row) for row in interceptions or ()],
        "monitors": monitors or [], "actions": _actions(audit), "approver": _approver(audit),
        "known_limits": list(LIMITS),
        "asked_for_by": ["EU AI Act Art. 10, 12, 15, 72", "NIST AI RMF MS-2.11", "NYC Local Law 144", "ISO/IEC 42001"],
    }  # fmt: skip
    return body | {"signature": sign(body)}


def _group(row: dict[str, Any]) -> dict[str, Any]:
    names = (
        "group",
        "n",
        "teacher",
        "student",
        "excess_gap",
        "p_holm",
        "verdict",
        "n_needed",
        "note",
        "decides",
        "quality",
    )
    return {name: row[name] for name in names if name in row}


def _suppressed(row: dict[str, Any]) -> dict[str, Any]:
    """Counts under twenty are not told."""
    return {
        name: (
            None
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value < SMALLEST_CELL
            else value
        )
        for name, value in row.items()
    }


def _actions(audit: BiasAudit) -> list[dict[str, Any]]:
    """What people did with the audited version: from the audit log."""
    version = _version(audit)
    if version is None:
        return []
    rows = AuditEvent.objects.filter(target=f"version:{version.pk}").order_by("pk")
    return [{"at": row.at.isoformat(), "action": row.action, "actor": row.actor} for row in rows[:50]]


def _approver(audit: BiasAudit) -> str | None:
    promoted = [row for row in _actions(audit) if row["action"] == "model.promoted"]
    return promoted[-1]["actor"] if promoted else None


def _version(audit: BiasAudit) -> ModelVersion | None:
    told = (audit.report.get("models") or {}).get("student") or {}
    rows = ModelVersion.objects.filter(workload=audit.workload, deployment__name=audit.student)
    return rows.filter(version=told.get("version", "")).first()


def canonical(body: dict[str, Any]) -> bytes:
    """What is signed: keys sorted, no spaces, UTF-8, without the signature itself."""
    told = {name: value for name, value in body.items() if name != "signature"}
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str).encode()


def sign(body: dict[str, Any]) -> dict[str, str]:
    """HMAC-SHA256 under this installation's key for artifacts, and the plain digest beside it."""
    key = keyed_digest("signatures of artifacts").encode()
    told = canonical(body)
    return {
        "algorithm": "HMAC-SHA256",
        "value": hmac.new(key, told, hashlib.sha256).hexdigest(),
        "sha256": hashlib.sha256(told).hexdigest(),
    }


def holds(body: dict[str, Any]) -> bool:
    """Whether a pack is as this installation signed it."""
    told = body.get("signature")
    return isinstance(told, dict) and hmac.compare_digest(str(told.get("value", "")), sign(body)["value"])


def as_html(body: dict[str, Any]) -> str:
    """The same pack for people; every value is escaped."""
    return render_to_string("modelhub/evidence.html", {"pack": body, "worst": _worst_first(body["groups"])})


def _worst_first(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    shown = [row for row in groups if row.get("excess_gap")]
    hidden = [row for row in groups if not row.get("excess_gap")]
    return sorted(shown, key=lambda row: -row["excess_gap"]["value"]) + hidden
