"""Facts of one request from its whole conversation, tool results included. Finds, never decides."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from routing.contracts import Facts, GatewayRequest, Snapshot
from routing.inspection import pii, secrets
from routing.inspection.difficulty import difficulty, language
from routing.inspection.sensitivity import classify, declared
from routing.policy.facts import empty_facts


class LiveFacts(Protocol):
    """Facts that move by themselves (routing.pipeline.Live)."""

    budget_used_ppm: dict[str, int]
    private_queue_s: float


def texts_of(body: Mapping[str, Any]) -> Iterator[str]:
    """Every text a caller can put into a request: messages, tool calls and results, prompts, inputs, records."""
    for name in ("messages", "prompt", "input", "records", "tools", "user", "metadata", "instructions"):
        if name in body:
            yield from _strings(body[name])


def _strings(value: Any) -> Iterator[str]:
    """All strings inside, without recursion: nested bodies are bounded by the depth limit already."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)


def entities_in(text: str) -> set[str]:
    return {kind for kind, _, _ in pii.find(text)} | {kind for kind, _, _ in secrets.find(text)}


def inspect(request: GatewayRequest, world: Snapshot, live: LiveFacts) -> Facts:
    """Whole facts. Raises InvalidRequest for an unknown class in the header."""
    workload, lob = request.workload, world.lobs[request.key.lob]
    text = "\n".join(texts_of(request.body))
    entities = entities_in(text)
    base = workload.sensitivity if workload else lob.highest_sensitivity
    facts = empty_facts()
    body = request.body
    facts["request"].update(
        model=str(body.get("model") or ""), wish=request.wish, stream=request.stream, tokens_in=len(text.encode()) // 4,
        max_tokens=int(body.get("max_completion_tokens") or body.get("max_tokens") or 0),
        has_tools=bool(body.get("tools")), language=language(text), difficulty=difficulty(text),
    )  # fmt: skip
    facts["workload"].update(
        name=workload.name if workload else "", task=request.task, tier=workload.tier if workload else "core",
        sensitivity=base,
    )  # fmt: skip
    facts["lob"].update(slug=request.key.lob, application=request.key.application)
    facts["data"].update(
        sensitivity=classify(base, declared(request.declared_sensitivity), entities),
        entities=sorted(entities),
    )
    facts["budget"]["used_pct"] = live.budget_used_ppm.get(request.key.id, 0) / 10_000
    facts["private"]["queue_s"] = live.private_queue_s
    facts["quality"].update(_quality(request, world))
    at = (
        datetime.fromtimestamp(request.received_ns / 1e9, UTC)
        if request.received_ns
        else datetime.fromtimestamp(time.time(), UTC)
    )
    facts["time"].update(hour=at.hour, weekday=at.weekday())
    return Facts(facts)


def _quality(request: GatewayRequest, world: Snapshot) -> dict[str, Any]:
    if request.workload is None:
        return {}
    name = request.workload.name
    best = max((d.quality[name] for d in world.deployments.values() if name in d.quality), default=(0.0, 0))
    return {"accuracy": best[0], "rows": best[1]}
