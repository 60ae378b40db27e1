"""A guard reads what goes out: feed text, get a verdict. It never raises past metering."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from routing.guards.pieces import pieces

log = logging.getLogger(__name__)
Verdict = Literal["pass", "amend", "withhold", "guard_unavailable"]
ORDER = ("pass", "amend", "guard_unavailable", "withhold")


TIMED_TOGETHER = 16  # pieces that the time limit holds for: a long answer isn't a slow guard
# What a route of a policy may ask of the guard. A policy can make it stricter than the line of business has it, never laxer.
GUARDS = frozenset({"bias", "enforce", "hold_back", "buffer_all", "block_when_unavailable"})


class RiskScorer(Protocol):
    """Scores texts in [0, 1]; modelhub.serving.runners.risk has the shipped one. One that has `kind_of(text)` tells the kind
    of a risky text as well; one that has `passes(text)` says of a whole answer that nothing in it needs scoring."""

    def score(self, texts: list[str]) -> Any: ...


@dataclass(slots=True)
class GuardReport:
    """What the guard found in one answer; goes into the event, without the text unless the LOB opted in."""

    mode: str
    threshold: float
    verdict: Verdict = "pass"
    kind: str = ""
    score: float = 0.0
    spans: list[tuple[int, int]] = field(default_factory=list)
    text: str = ""
    probed: dict[str, list[int]] = field(
        default_factory=dict
    )  # kind of group an input named → [probed, flipped]
    named: list[str] | None = None  # kinds of group that the answer names; None: not looked at

    def note(
        self,
        verdict: Verdict,
        *,
        kind: str,
        score: float,
        span: tuple[int, int] | None = None,
        text: str = "",
    ) -> None:
        """Keep the gravest finding; every span counts."""
        if span is not None:
            self.spans.append(span)
        if ORDER.index(verdict) > ORDER.index(self.verdict) or not self.kind:
            self.verdict, self.kind, self.score, self.text = verdict, kind, round(score, 4), text

    def as_json(self) -> dict[str, Any]:
        body = {
            "verdict": self.verdict, "mode": self.mode, "kind": self.kind, "score": self.score,
            "threshold": self.threshold, "spans": self.spans,
        }  # fmt: skip
        if self.text:
            body["text"] = self.text
        if self.probed:
            body["probed"] = self.probed
        if self.named is not None:
            body["named"] = self.named
        return body


class RiskGuard:
    """Scores text and says whether it may go out.

    `observe` records and lets pass; `enforce` withholds. A scorer that is missing, fails or is slower than
    `timeout_ms` makes the verdict `guard_unavailable`: an enforcing line of business then gets nothing, since it
    asked for no unchecked answers; an observing one gets its answer, unless its policy says `block_when_unavailable`.
    `whole_only`: a stream is released once all of it has its verdict (`buffer_all`), not sentence by sentence.
    """

    def __init__(
        self,
        scorer: RiskScorer | None,
        *,
        mode: str,
        threshold: float,
        keep_text: bool,
        timeout_ms: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.scorer, self.timeout_ms, self.keep_text, self._clock = scorer, timeout_ms, keep_text, clock
        self.report = GuardReport(mode, threshold)
        self.whole_only = False
        self.naming: Callable[[str], Sequence[str]] | None = (
            None  # set for the answers whose naming is counted
        )
        self._must_answer = False

    def obey(self, guards: Sequence[str]) -> None:
        """What the policy's route asks for; only ever stricter than before."""
        asked = set(guards)
        if asked & {"enforce", "hold_back", "buffer_all"}:
            self.report.mode = "enforce"
        elif asked & {"bias", "block_when_unavailable"} and self.report.mode == "off":
            self.report.mode = "observe"
        self.whole_only = self.whole_only or "buffer_all" in asked
        self._must_answer = self._must_answer or "block_when_unavailable" in asked

    @property
    def holding(self) -> bool:
        """Whether a stream must wait for its verdict: an enforcing guard's, or one whose silence would withhold it."""
        return self.enforcing or self._must_answer

    @property
    def enforcing(self) -> bool:
        return self.report.mode == "enforce"

    def allows(self, text: str, *, offset: int = 0) -> bool:
        """Whether this text may be released. `offset`: where it starts in the whole answer."""
        if self.report.mode == "off" or (self.naming is None and self._passes(text)):
            return True
        return self.judge(pieces(text, offset))

    def judge(self, parts: Sequence[tuple[int, str]]) -> bool:
        """Whether all of these (offset, text) may be released; each risky one is a finding."""
        report = self.report
        if report.mode == "off" or not parts:
            return True
        texts = [text for _, text in parts]
        if self.naming is not None:
            self._count_names(texts)
        scores = self._scores(texts)
        if scores is None:
            report.note("guard_unavailable", kind="guard_unavailable", score=0.0)
            return not (self.enforcing or self._must_answer)
        # NaN is among them as well: what is not surely below the threshold is risky.
        risky = [i for i, score in enumerate(scores) if not score < report.threshold]
        if not risky and not report.kind:  # while nothing is found the report tells the highest score
            report.score = max(report.score, round(max(scores), 4))
        for i in risky:
            (start, text), score = parts[i], scores[i]
            kept = text if self.keep_text else ""
            verdict: Verdict = "withhold" if self.enforcing else "pass"
            span = (start, start + len(text))
            report.note(verdict, kind=self._kind_of(text), score=score, span=span, text=kept)
        return not risky or not self.enforcing

    def _count_names(self, texts: Sequence[str]) -> None:
        """Which kinds of group the answer names, so that what is withheld can be compared with what isn't."""
        assert self.naming is not None
        try:
            found = self.naming("\n".join(texts))  # no name of a group runs over the end of a line
        except Exception:
            log.exception("the guard could not look for names of groups")
            return
        self.report.named = sorted({*found, *(self.report.named or ())})

    def flag(self, kind: str, score: float) -> bool:
        """Record a finding of another kind (a flipped label). True when the answer may still go out."""
        self.report.note("withhold" if self.enforcing else "pass", kind=kind, score=score)
        return not self.enforcing

    def withheld_by_model(self, risk: Mapping[str, Any]) -> None:
        """A model with an operator of its own gave no answer: withheld whatever the mode is, since there is none to give.

        `risk`: its scores by kind. What is no number counts as certain.
        """
        told = {kind: score for kind, score in risk.items() if isinstance(score, int | float)}
        scores = {kind: float(score) if math.isfinite(score) else 1.0 for kind, score in told.items()}
        kind = max(scores, key=lambda name: scores[name], default="harm")
        self.report.note("withhold", kind=kind, score=scores.get(kind, 1.0))

    def _passes(self, text: str) -> bool:
        """Whether the scorer lets the whole of a text pass at a look. In doubt it doesn't."""
        tell = getattr(self.scorer, "passes", None)
        try:
            return tell is not None and tell(text) is True
        except Exception:
            log.exception("the guard's scorer could not look at a text")
            return False

    def _kind_of(self, text: str) -> str:
        tell = getattr(self.scorer, "kind_of", None)
        try:
            return str(tell(text)) if tell is not None else "harm"
        except Exception:
            log.exception("the guard's scorer could not name a kind")
            return "harm"

    def _scores(self, texts: list[str]) -> list[float] | None:
        if self.scorer is None:
            return None
        scores: list[float] = []
        for start in range(0, len(texts), TIMED_TOGETHER):
            some, started = texts[start : start + TIMED_TOGETHER], self._clock()
            try:
                found = list(map(float, self.scorer.score(some)))
            except Exception:
                log.exception("the guard's scorer failed")
                return None
            if (self._clock() - started) * 1000 > self.timeout_ms or len(found) != len(some):
                return None
            scores += found
        return scores
