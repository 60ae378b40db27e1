"""Facts of one request from its whole conversation, tool results included. Finds, never decides."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from routing.contracts import Facts, GatewayRequest, Snapshot
from routing.inspection import pii, secrets
from routing.inspection.difficulty import difficulty, language
from routing.inspection.sensitivity import classify, declared
from routing.policy.facts import empty_facts

LONG_NUMBER = 10**8  # a number as long as this may be a card's or an ID's
_INVISIBLE, _DASHES = "\u200b\u200c\u200d\u2060\ufeff\u00ad", "\u2010\u2011\u2012\u2013\u2014\u2212"
_DISGUISES = dict.fromkeys(map(ord, _INVISIBLE)) | dict.fromkeys(map(ord, _DASHES), "-")
_ODD = re.compile(
    f"[{_INVISIBLE}{_DASHES}\uff0e\uff10-\uff19\uff20-\uff3a\uff41-\uff5a\U0001d400-\U0001d7ff]"
)
_ESCAPED = re.compile(r"\\u(00[0-9a-fA-F]{2})")


class LiveFacts(Protocol):
    """Facts that move by themselves (routing.pipeline.Live)."""

    budget_used_ppm: dict[str, int]
    private_queue_s: float


def texts_of(body: Mapping[str, Any]) -> Iterator[str]:
    """Everything a caller can put into a request and an upstream would see: all of the body but the model's name."""
    return _strings([value for name, value in body.items() if name != "model"])


def _strings(value: Any) -> Iterator[str]:
    """All strings inside, names of columns and long numbers too; without recursion, a name that repeats once."""
    stack: list[Any] = [value]
    names: set[Any] = set()
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            names.update(item)
            stack.extend(list(item.values())[::-1])
        elif isinstance(item, list | tuple):
            stack.extend(item[::-1])
        elif isinstance(item, int) and abs(item) >= LONG_NUMBER:
            yield str(item)
    yield from (name for name in names if isinstance(name, str))


def entities_in(text: str) -> set[str]:
    """Kinds of personal data and credentials, however their characters are written."""
    if not text.isascii() and _ODD.search(text):
        text = unicodedata.normalize("NFKC", text.translate(_DISGUISES))
    if "\\u00" in text:  # JSON inside a string, as the arguments of tools are
        text = _ESCAPED.sub(lambda match: chr(int(match.group(1), 16)), text)
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
        max_tokens=_whole(body.get("max_completion_tokens")) or _whole(body.get("max_tokens")),
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


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _quality(request: GatewayRequest, world: Snapshot) -> dict[str, Any]:
    if request.workload is None:
        return {}
    name = request.workload.name
    best = max((d.quality[name] for d in world.deployments.values() if name in d.quality), default=(0.0, 0))
    return {"accuracy": best[0], "rows": best[1]}
