"""Facts of one request from its whole conversation, tool results included. Finds, never decides.

Whatever goes wrong here makes the class stricter: what could not be read counts as restricted (`uninspected`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from modelhub.ml.inspect.look import Look
from routing.contracts import RANK, Facts, GatewayRequest, Snapshot, strictest
from routing.inspection import scan
from routing.inspection.dictionaries import Dictionaries
from routing.inspection.difficulty import difficulty, language
from routing.inspection.disguises import plain, uncovered
from routing.inspection.gather import gather, texts_of
from routing.inspection.learned import classifier
from routing.inspection.sensitivity import classify, declared

__all__ = ["Findings", "LiveFacts", "entities_in", "inspect", "inspect_text", "look_into", "texts_of"]
log = logging.getLogger(__name__)
MAX_CHARS = 2_000_000  # some 100 ms of one core; what is longer isn't read and counts as restricted
NOTHING = Dictionaries()
HOUR_NS = 3_600_000_000_000
THURSDAY = 3  # the weekday of the epoch


class LiveFacts(Protocol):
    """Facts that move by themselves (routing.pipeline.Live)."""

    budget_used_ppm: dict[str, int]
    private_queue_s: float


@dataclass(slots=True)
class Findings:
    """Kinds and how many of each; `floor`: the class that the customer's own terms ask for, or empty."""

    counts: dict[str, int] = field(default_factory=dict)
    floor: str = ""

    def add(self, kind: str, count: int = 1) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + count

    def also(self, other: Findings) -> None:
        """What another look at the same text found: the greater count of each kind."""
        for kind, count in other.counts.items():
            self.counts[kind] = max(count, self.counts.get(kind, 0))
        self.floor = strictest(self.floor or other.floor, other.floor) if other.floor else self.floor

    @property
    def kinds(self) -> list[str]:
        return sorted(self.counts)


def look_into(
    texts: Sequence[str],
    *,
    documents: Sequence[str] = (),
    asides: Sequence[str] = (),
    media: bool = False,
    dictionaries: Dictionaries = NOTHING,
    names: bool = True,
) -> Findings:
    """What is found in some texts. `documents`: those of them that are only to be read; `asides`: parts of them put together in
    another way (gather.py); `names`: whether the learned finder of names is asked as well. Never raises."""
    return _look_into("\n".join(texts), documents, asides, media, dictionaries, names)


def _look_into(
    text: str,
    documents: Sequence[str],
    asides: Sequence[str],
    media: bool,
    dictionaries: Dictionaries,
    names: bool,
) -> Findings:
    findings = Findings()
    if media:
        findings.add("media")
    if len(text) > MAX_CHARS:
        findings.add("uninspected")
        return findings
    try:
        look, read = Look(plain(text)), plain("\n".join(documents)) if documents else ""
        _look(look, read, dictionaries, findings, names)
        hidden = "\n".join(filter(None, (*map(plain, asides), uncovered(look))))
        if hidden:
            beside = Findings()
            _look(Look(hidden), uncovered(Look(read)) if read else "", dictionaries, beside, names)
            findings.also(beside)
    except Exception:
        log.exception("inspection failed: the request counts as restricted")
        findings.add("uninspected")
    return findings


def _look(look: Look, documents: str, dictionaries: Dictionaries, findings: Findings, names: bool) -> None:
    _patterns(look, dictionaries, findings)
    _learned(look, documents, findings, names)


def _patterns(look: Look, dictionaries: Dictionaries, findings: Findings) -> None:
    for kind, _, _ in scan.find(look.text, None, look):
        findings.add(kind)
    if dictionaries:
        for _, _, sensitivity in dictionaries.find(look):
            findings.add("customer_term")
            findings.floor = strictest(findings.floor or sensitivity, sensitivity)


def _learned(look: Look, documents: str, findings: Findings, names: bool) -> None:
    model = classifier()
    if model.is_injection(look) or (documents and model.is_injection(documents, document=True)):
        findings.add("injection")
    if names:
        count = sum(1 for _ in model.names_in(look))
        if count > findings.counts.get("person_name", 0):
            findings.counts["person_name"] = count


def inspect_text(text: str, *, document: bool = False, dictionaries: Dictionaries = NOTHING) -> Findings:
    """One text (a line of a batch, a row of a file): kinds with counts. `document`: it is only to be read. Never raises."""
    return look_into([text], documents=[text] if document else (), dictionaries=dictionaries)


def entities_in(text: str) -> set[str]:
    """Kinds of personal data, credentials and markers in one text."""
    return set(inspect_text(text).counts)


def inspect(request: GatewayRequest, world: Snapshot, live: LiveFacts) -> Facts:
    """Whole facts. Raises InvalidRequest for an unknown class in the header."""
    workload, lob = request.workload, world.lobs[request.key.lob]
    read = gather(request.body)
    dictionaries = world.dictionaries.get(lob.slug, NOTHING)
    text = "\n".join(read.texts)
    findings = _look_into(text, read.documents, read.asides, read.media, dictionaries, world.wants_names)
    base = workload.sensitivity if workload else lob.highest_sensitivity
    body = request.body
    hours = (request.received_ns or time.time_ns()) // HOUR_NS
    # Written out: every fact of routing.policy.facts.FACTS, and no other.
    facts = {
        "request": {
            "model": str(body.get("model") or ""), "wish": request.wish, "stream": request.stream,
            "tokens_in": (len(text) if text.isascii() else len(text.encode("utf-8", "replace"))) // 4,  # bytes / 4
            "max_tokens": _whole(body.get("max_completion_tokens")) or _whole(body.get("max_tokens")),
            "has_tools": bool(body.get("tools")), "language": language(text), "difficulty": difficulty(text),
        },
        "workload": {
            "name": workload.name if workload else "", "task": request.task,
            "tier": workload.tier if workload else "core", "sensitivity": base,
        },
        "lob": {"slug": request.key.lob, "application": request.key.application},
        "data": {
            "sensitivity": _class(base, request.declared_sensitivity, findings),
            "entities": findings.kinds if findings.counts else [],
        },
        "budget": {"used_pct": live.budget_used_ppm.get(request.key.id, 0) / 10_000},
        "private": {"queue_s": live.private_queue_s},
        "quality": _quality(request, world),
        "time": {"hour": hours % 24, "weekday": (hours // 24 + THURSDAY) % 7},
    }  # fmt: skip
    return Facts(facts, findings.counts)


def _class(base: str, header: str, findings: Findings) -> str:
    if not (header or findings.counts or findings.floor):
        return base if base in RANK else strictest(base)
    found = classify(base, declared(header), findings.counts)
    return strictest(found, findings.floor) if findings.floor else found


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _quality(request: GatewayRequest, world: Snapshot) -> dict[str, Any]:
    if request.workload is None:
        return {"accuracy": 0.0, "rows": 0}
    name = request.workload.name
    best = world.memo.get(("quality", name))
    if best is None:
        told = [d.quality[name] for d in world.deployments.values() if name in d.quality]
        best = world.memo["quality", name] = max(told, default=(0.0, 0))
    return {"accuracy": best[0], "rows": best[1]}
