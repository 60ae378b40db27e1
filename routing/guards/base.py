"""A guard reads what goes out: feed text, get a verdict. It never raises past metering."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from routing.guards.pieces import pieces

log = logging.getLogger(__name__)
Verdict = Literal["pass", "amend", "withhold", "guard_unavailable"]
ORDER = ("pass", "amend", "guard_unavailable", "withhold")


class RiskScorer(Protocol):
    """Scores texts in [0, 1]; modelhub.serving.runners.risk has the shipped one."""

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
        return body | ({"text": self.text} if self.text else {})


class RiskGuard:
    """Scores text and says whether it may go out.

    `observe` records and lets pass; `enforce` withholds. A scorer that is missing, fails or is slower than
    `timeout_ms` makes the verdict `guard_unavailable`: an enforcing line of business then gets nothing, since it
    asked for no unchecked answers; an observing one gets its answer.
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

    @property
    def enforcing(self) -> bool:
        return self.report.mode == "enforce"

    def allows(self, text: str, *, offset: int = 0) -> bool:
        """Whether this text may be released. `offset`: where it starts in the whole answer."""
        if self.report.mode == "off":
            return True
        return self.judge(pieces(text, offset))

    def judge(self, parts: Sequence[tuple[int, str]]) -> bool:
        """Whether all of these (offset, text) may be released; each risky one is a finding."""
        report = self.report
        if report.mode == "off" or not parts:
            return True
        scores = self._scores([text for _, text in parts])
        if scores is None:
            report.note("guard_unavailable", kind="guard_unavailable", score=0.0)
            return not self.enforcing
        safe = True
        for (start, text), score in zip(parts, scores, strict=True):
            if score < report.threshold:
                report.score = max(report.score, round(score, 4)) if not report.kind else report.score
                continue
            # NaN lands here as well: what is not surely below the threshold is risky.
            safe = False
            kept = text if self.keep_text else ""
            verdict: Verdict = "withhold" if self.enforcing else "pass"
            report.note(verdict, kind="harm", score=score, span=(start, start + len(text)), text=kept)
        return safe or not self.enforcing

    def flag(self, kind: str, score: float) -> bool:
        """Record a finding of another kind (a flipped label). True when the answer may still go out."""
        self.report.note("withhold" if self.enforcing else "pass", kind=kind, score=score)
        return not self.enforcing

    def _scores(self, texts: list[str]) -> list[float] | None:
        if self.scorer is None:
            return None
        started = self._clock()
        try:
            scores = [float(score) for score in self.scorer.score(texts)]
        except Exception:
            log.exception("the guard's scorer failed")
            return None
        late = (self._clock() - started) * 1000 > self.timeout_ms
        return None if late or len(scores) != len(texts) else scores
