"""The estimated event of a call that is about to begin: what is booked should nobody live to settle it.

Nearly all of it is the same from request to request of a key, so that is encoded once; ids, time, tokens and cost are put in.
"""

from __future__ import annotations

from typing import Any

import orjson

from costs.contracts import Checkpoint, Usage
from routing import quote
from routing.contracts import DeploymentInfo
from routing.kept import forgets
from routing.run import Run

KNOWN = 4096


class Checkpoints:
    """One per process."""

    def __init__(self) -> None:
        # what decides about the rest of the event → (the objects whose identity counts, head, tail)
        self._known: dict[tuple[Any, ...], tuple[tuple[Any, ...], bytes, bytes]] = {}
        forgets(self)

    def forget(self) -> None:
        self._known.clear()

    def of(self, run: Run, purpose: str) -> Checkpoint:
        request, decision = run.request, run.decision
        assert decision is not None
        target = run.target(decision.hops[0])
        workload = request.workload
        name = workload.name if workload else ""
        sensitivity = run.facts.sensitivity if run.facts else ""
        tokens_in = len(request.raw) // 4
        accelerator_ns = target.usual_accelerator_ns.get(name, 0)
        searches = request.apart.searches if target.side == "external" else 0
        used = Usage(
            tokens_in=tokens_in, accelerator_ns=accelerator_ns, source="estimated", searches=searches or None
        )
        charge = quote.attempt_charge(used, target)
        key = (
            id(request.key), id(workload), id(target), request.surface or request.endpoint, request.task, request.stream,
            request.origin, sensitivity, purpose, decision.rule, decision.policy_version, decision.policy_hash,
        )  # fmt: skip
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= KNOWN:
                self._known.clear()
            held = (request.key, workload, target)  # identities stay taken while they are known
            known = self._known[key] = (held, *_encoded(run, target, sensitivity, purpose, accelerator_ns))
        ids = orjson.dumps(
            {
                "event_id": request.request_id, "request_id": request.request_id, "decision_id": request.decision_id,
                "at_ns": request.received_ns, "cost_nusd": charge.cost_nusd,
            }
        )  # fmt: skip
        body = b'%b,%b{"at_ns":%d,"tokens_in":%d,"searches":%d,"cost_nusd":%d,"legs":%b,%b' % (
            ids[:-1], known[1], request.received_ns, tokens_in, searches, charge.cost_nusd, orjson.dumps(charge.legs),
            known[2],
        )  # fmt: skip
        return Checkpoint(body, charge.cost_nusd, request.decision_id)


def _encoded(
    run: Run, target: DeploymentInfo, sensitivity: str, purpose: str, accelerator_ns: int
) -> tuple[bytes, bytes]:
    """(what stands before the attempt's own figures, what stands after them)."""
    request, decision = run.request, run.decision
    assert decision is not None
    event = {
        "kind": "usage", "origin": request.origin, "organisation_id": request.key.organisation_id, "lob": request.key.lob,
        "purpose": purpose, "application": request.key.application, "key_id": request.key.id,
        "workload": request.workload.name if request.workload else "", "task": request.task,
        "tier": request.workload.tier if request.workload else "core", "endpoint": request.surface or request.endpoint,
        "stream": request.stream, "sensitivity": sensitivity, "side": "", "deployment": "", "model": "",
        "policy_version": decision.policy_version, "policy_hash": decision.policy_hash, "rule": decision.rule, "status": 0,
        "error_code": "process_lost", "other_side_cost_nusd": None, "other_side_deployment": None, "latency_ms": 0.0,
        "overhead_ms": 0.0, "answers": 0, "cache": "", "facts": {}, "trace": [], "candidates": [], "prices": {},
        "guard": {"verdict": "pass", "mode": "off"}, "sealed_answers": "", "confidence": None,
    }  # fmt: skip
    attempt = {
        "attempt": 0, "deployment": target.name, "side": target.side, "model": target.model,
        "node": target.rate.node if target.rate else "", "status": "cut", "error": "lost", "duration_ms": 0.0, "tokens_out": 0,
        "cached_tokens_in": 0, "reasoning_tokens": 0, "accelerator_ns": accelerator_ns, "usage_source": "estimated",
        "price_version": Run.price_of(target), "http_status": 0,
    }  # fmt: skip
    return orjson.dumps(event)[1:-1] + b',"attempts":[', orjson.dumps(attempt)[1:-1] + b"}]}"
