"""Chances for one request, as the pipeline asks for them: a workload's own scorer first, the shipped router where it knows the
models and the prompt. Whatever fails gives no chance, and the evaluated quality of a deployment speaks instead."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from routing.contracts import DeploymentInfo, Facts, GatewayRequest
from routing.learned.embedding import WIDTH
from routing.learned.features import MOST_CHARACTERS, Reads
from routing.learned.feedback import WorkloadScorer, fact_features
from routing.learned.files import Router

log = logging.getLogger(__name__)
MOST_TEXTS = 4  # of a request with many inputs: they share one decision
MARK = 4  # bytes of the student's digest in front of a sketch
SPAN = 4.0  # of an embedding's numbers; what lies outside is cut
ENOUGH_CHARACTERS = 1_500  # per text: what a prompt is about stands in its first screen


@dataclass(slots=True)
class Clock:
    """What scoring cost and how often it failed, for the metrics page."""

    asked: int = 0
    failed: int = 0
    seconds: float = 0.0


CLOCK = Clock()


@dataclass(frozen=True, slots=True)
class Told:
    """`chances`: deployment → chance of a right answer, those nothing is known of left out. `sketch`: the prompt's embedding as
    bytes, one a number, for lines of business that keep texts; else empty."""

    chances: Mapping[str, float] = field(default_factory=dict)
    sketch: bytes = b""

    def as_json(self) -> dict[str, Any]:
        """For the record of the decision."""
        told: dict[str, Any] = {"chances": {name: round(chance, 4) for name, chance in self.chances.items()}}
        return told | ({"sketch": base64.b64encode(self.sketch).decode()} if self.sketch else {})


@dataclass(frozen=True, slots=True)
class Learned:
    """What is known of chances in one organisation. `lobs`: those whose live policy asks for them; others pay nothing."""

    lobs: frozenset[str]
    router: Router | None = None
    reader: Reads | None = None
    workloads: Mapping[str, WorkloadScorer] = field(default_factory=dict)

    def ask(
        self, request: GatewayRequest, facts: Facts, candidates: Sequence[DeploymentInfo], *, keeps_text: bool
    ) -> Told | None:
        """None when this line of business's policy doesn't ask, or when anything fails. Never raises."""
        if request.key.lob not in self.lobs:
            return None
        began = time.perf_counter()
        CLOCK.asked += 1
        try:
            return self._ask(request, facts, candidates, keeps_text)
        except Exception:
            CLOCK.failed += 1
            log.exception("chances could not be worked out: evaluated quality is used")
            return None
        finally:
            CLOCK.seconds += time.perf_counter() - began

    def _ask(
        self, request: GatewayRequest, facts: Facts, candidates: Sequence[DeploymentInfo], keeps_text: bool
    ) -> Told:
        names = {target.name for target in candidates}
        own = self.workloads.get(request.workload.name) if request.workload is not None else None
        keeps = keeps_text and facts.sensitivity != "restricted" and self.reader is not None
        drawn = _drawn(prompts_of(request), self.reader) if keeps and self.reader is not None else b""
        found: dict[str, float] = {}
        if own is not None and (not own.sketch or own.sketch == edge_of(drawn)):
            features = fact_features(facts.values) + (from_sketch(drawn) if own.sketch else [])
            found = {
                name: chance for name, chance in own.chances(np.array(features)).items() if name in names
            }
        known = {
            t.name: m for t in candidates if t.name not in found and (m := self._model_of(t)) is not None
        }
        if known and self.router is not None and self.reader is not None:
            found |= self._by_router(request, known)
        return Told({name: chance for name, chance in found.items() if 0.0 <= chance <= 1.0}, drawn)

    def _model_of(self, target: DeploymentInfo) -> int | None:
        """The place of the router's model that a deployment serves, by the model's name at its server."""
        if self.router is None:
            return None
        served = target.model.rpartition("/")[2].lower()
        for place, name in enumerate(self.router.scorer.models):
            if served == name or served.startswith(f"{name}-"):
                return place
        return None

    def _by_router(self, request: GatewayRequest, known: Mapping[str, int]) -> dict[str, float]:
        assert self.router is not None and self.reader is not None
        texts = prompts_of(request)
        if not texts:
            return {}
        rows = self.router.read(texts, self.reader)
        scored = self.router.scorer.score(rows)
        if not scored.familiar.all():
            return {}
        chance = scored.chance
        for i, place in enumerate(scored.domain.tolist()):
            if not self.router.speaks(place):
                chance[i] = self.router.scorer.parts.prior[place]
        mean = chance.mean(axis=0)
        return {name: float(mean[place]) for name, place in known.items()}


def _drawn(texts: list[str], reader: Reads) -> bytes:
    """A sketch, or nothing where the student can't draw one: chances that need none are told all the same."""
    try:
        return sketch(texts, reader)
    except Exception:
        log.exception("a prompt could not be sketched: chances that were learned with sketches aren't told")
        return b""


def sketch(texts: list[str], reader: Reads) -> bytes:
    """The edge student's mean embedding of a request's prompts: four bytes say which student, then one a number within ±SPAN. No
    text can be read back."""
    mean = reader.embed(reader.ids(texts or [""], MOST_CHARACTERS)).mean(axis=0)
    numbers = np.rint(np.clip(mean / SPAN, -1, 1) * 127).astype(np.int8)
    return bytes.fromhex(reader.body[: 2 * MARK]) + numbers.tobytes()


def edge_of(drawn: bytes) -> str:
    """Which student drew a sketch; empty for none."""
    return drawn[:MARK].hex()


def from_sketch(drawn: bytes) -> list[float]:
    """The numbers of a sketch again. Raises ValueError for one of another length."""
    if len(drawn) != MARK + WIDTH:
        raise ValueError(f"a sketch has {MARK + WIDTH} bytes, this one {len(drawn)}")
    return (np.frombuffer(drawn[MARK:], np.int8).astype(float) * SPAN / 127).tolist()


def prompts_of(request: GatewayRequest) -> list[str]:
    """What is asked: the last user message, the prompt, or the first few inputs; each cut to its beginning."""
    return [
        text[:ENOUGH_CHARACTERS] for _, text in zip(range(MOST_TEXTS), _prompts(request.body), strict=False)
    ]


def _prompts(body: Mapping[str, Any]) -> Iterator[str]:
    messages = body.get("messages")
    if isinstance(messages, list):
        asked = [m for m in messages if isinstance(m, dict) and m.get("role") == "user"]
        yield from _texts(asked[-1].get("content") if asked else None)
        return
    yield from _texts(body.get("input", body.get("prompt")))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item.get("text") if isinstance(item, dict) else item)
