"""What makes two requests the same question: everything that could change the answer, and nothing else. Pure."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import orjson

from routing.contracts import GatewayRequest
from routing.execution.base import shown_model, upstream_model
from routing.run import Run

# Says who asks, or how the answer is carried, not what it is.
LEFT_OUT = frozenset(
    {"model", "user", "stream", "stream_options", "metadata", "store", "safety_identifier", "prompt_cache_key",
     "prompt_cache_retention", "service_tier"}
)  # fmt: skip
SAMPLED = ("chat", "completion")


def wants_variety(request: GatewayRequest) -> bool:
    """A caller who asks for several answers, or for chance without saying which (no seed), asked for another each time.

    Where neither temperature nor seed is named the caller left it open, and the policy that keeps answers decides.
    """
    body = request.body
    if request.task not in SAMPLED or body.get("seed") is not None:
        return False
    if (body.get("n") or 1) > 1 or (body.get("best_of") or 1) > 1:
        return body.get("temperature") != 0
    return bool(body.get("temperature"))


def identity(run: Run) -> bytes:
    """Digest of the question and of everything under which it is answered.

    Whose it is (organisation, line of business, application), the policy in force, the guard's rules, every deployment that
    may answer with the version it would be asked for, the class of the data, and the body whatever the order of its names.
    A publish, a promoted version or another threshold therefore finds nothing that was kept before it.
    """
    request, decision, guard = run.request, run.decision, run.guard
    assert decision is not None and run.facts is not None
    by = sorted({(hop.deployment, upstream_model(request, run.target(hop))) for hop in decision.hops})
    report = guard.report if guard is not None else None
    told: list[Any] = [
        request.key.organisation_id, request.key.lob, request.key.application, decision.policy_version,
        decision.policy_hash, by, run.facts.sensitivity, request.endpoint, request.task, shown_model(request),
        request.stream and request.task in SAMPLED,
        [report.mode, report.threshold, guard.whole_only, sorted(decision.guards)] if report and guard else [],
        {name: value for name, value in request.body.items() if name not in LEFT_OUT},
    ]  # fmt: skip
    return sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).digest()
