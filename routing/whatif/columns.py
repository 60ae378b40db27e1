"""Decision records as columns: one pass over the database, rows of equal facts in one group. No prompt is read: none is kept.

A row is one request that somebody waited for and that was answered or refused by policy; what ended otherwise (limits, budgets,
broken upstreams, callers who left) says nothing about where policy sends things and is counted apart.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from routing.policy.facts import FactError, whole
from routing.whatif.relevant import Candidate, Relevant

REFUSALS = frozenset({"policy_denied", "no_deployment_available", "residency_capacity_unavailable"})
SAMPLES = 3  # ids kept for each group and deployment
DAY_S = 86_400
NOBODY = -1  # the code of "no deployment"


class RecordedCandidate(msgspec.Struct, gc=False):
    deployment: str
    cost_nusd: int | None = None
    chance: float | None = None


class RecordedAttempt(msgspec.Struct, gc=False):
    deployment: str
    status: str = "ok"
    tokens_in: int = 0
    tokens_out: int = 0
    accelerator_ns: int = 0
    duration_ms: float = 0.0
    cost_nusd: int = 0


class Recorded(msgspec.Struct, gc=False):
    """The part of a record's detail that is read."""

    facts: dict[str, dict[str, Any]] = {}
    candidates: list[RecordedCandidate] = []
    attempts: list[RecordedAttempt] = []
    confidence: float | None = None
    shadow: dict[str, Any] | None = None


read_detail = msgspec.json.Decoder(Recorded).decode
# id, moment, lob, workload, deployment, status, error code, cost, latency, answers, detail as JSON
Row = tuple[str, datetime, str, str, str, int, str, int, float, int, str | bytes]


@dataclass(slots=True)
class Group:
    """Requests that no compared version can tell apart; `facts` and worst cases are those of the first."""

    lob: str
    workload: str
    task: str
    stratum: Hashable
    facts: dict[str, dict[str, Any]]
    worst_case: dict[str, int]
    chances: dict[str, float]
    samples: dict[int, list[str]] = field(default_factory=dict)  # code of the first deployment → ids


@dataclass
class Traffic:
    """Rows and attempts in columns. Codes of deployments index `deployments`; money in nano-dollars, times in ms."""

    groups: list[Group]
    deployments: list[str]
    blocks: int
    rows: dict[
        str, NDArray[Any]
    ]  # group block day segment first last escalated confidence cost latency judged correct
    tries: dict[
        str, NDArray[Any]
    ]  # group block segment deployment tokens_in tokens_out accelerator_ns ms cost size
    left_out: Counter[str]

    @property
    def requests(self) -> int:
        return len(self.rows["group"])


ROWS = {
    "group": "q", "block": "q", "day": "q", "segment": "q", "first": "q", "last": "q", "escalated": "b", "confidence": "d",
    "cost": "q", "latency": "d", "judged": "q", "correct": "q", "size": "q",
}  # fmt: skip
TRIES = {
    "group": "q", "block": "q", "segment": "q", "deployment": "q", "tokens_in": "q", "tokens_out": "q",
    "accelerator_ns": "q", "ms": "d", "cost": "q", "size": "q",
}  # fmt: skip


class Reader:
    """Takes rows one by one; `traffic()` gives the columns."""

    def __init__(
        self,
        relevant: Relevant,
        *,
        since: datetime,
        block_s: float,
        blocks: int,
        segments: Sequence[datetime] = (),
        judged: Callable[[str], tuple[int, int]] = lambda decision_id: (0, 0),
    ) -> None:
        """`segments`: moments at which prices changed. `judged(decision id)` → (judged, correct answers)."""
        self.relevant, self.judged = relevant, judged
        self.since_s, self.block_s, self.blocks = since.timestamp(), block_s, blocks
        self.first = 0
        self.segments = [moment.timestamp() for moment in segments]
        self.groups: list[Group] = []
        self.left_out: Counter[str] = Counter()
        self._of_key: dict[Hashable, int] = {}
        self._codes: dict[str, int] = {}
        self._rows = {name: array(kind) for name, kind in ROWS.items()}
        self._tries = {name: array(kind) for name, kind in TRIES.items()}
        self._add_row = [column.append for column in self._rows.values()]
        self._add_try = [column.append for column in self._tries.values()]

    def read(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._one(row)

    def go_on(self, since: datetime, *, first: int, blocks: int) -> None:
        """What is read from now on is of another window, in the `blocks` blocks from `first` on."""
        self.since_s, self.first, self.blocks = since.timestamp(), first, first + blocks

    def _one(self, row: Row) -> None:
        pk, at, lob, workload, deployment, status, error_code, cost, latency, _answers, detail = row
        if status >= 400 and error_code not in REFUSALS:
            self.left_out[error_code or f"status {status}"] += 1
            return
        try:
            told = read_detail(detail)
        except msgspec.DecodeError:
            self.left_out["record can't be read"] += 1
            return
        if not told.facts or status < 200:
            self.left_out["process lost"] += 1
            return
        number = self._group(told, lob, workload)
        if number is None:
            self.left_out["facts can't be read"] += 1
            return
        stamp = at.timestamp()
        block = min(self.blocks - 1, self.first + max(0, int((stamp - self.since_s) / self.block_s)))
        segment = bisect_right(self.segments, stamp) if self.segments else 0
        size = told.facts["request"]["tokens_in"]
        first = self._code(told.attempts[0].deployment) if told.attempts else NOBODY
        last = self._code(deployment) if deployment else NOBODY
        escalated = first != last and bool(told.attempts) and told.attempts[0].status == "ok"
        for attempt in told.attempts:
            if attempt.status == "ok":
                values = (
                    number, block, segment, self._code(attempt.deployment), attempt.tokens_in, attempt.tokens_out,
                    attempt.accelerator_ns, attempt.duration_ms, attempt.cost_nusd, size,
                )  # fmt: skip
                for add, value in zip(self._add_try, values, strict=True):
                    add(value)
        if told.shadow is not None:  # nobody waited for it, but what it took was measured
            self.left_out["asked for comparison only"] += 1
            return
        if deployment and not told.attempts:  # it cost nothing, and would again
            self.left_out["answered from the cache"] += 1
            return
        judged, correct = self.judged(pk)
        confidence = float("nan") if told.confidence is None else told.confidence
        entry = (
            number, block, int(stamp // DAY_S), segment, first, last, escalated, confidence, cost, latency, judged, correct,
            size,
        )  # fmt: skip
        for add, value in zip(self._add_row, entry, strict=True):
            add(value)
        samples = self.groups[number].samples.setdefault(first, [])
        if len(samples) < SAMPLES:
            samples.append(pk)

    def _group(self, told: Recorded, lob: str, workload: str) -> int | None:
        facts = told.facts
        try:
            values = self.relevant.values(facts)
            size = facts["request"]["tokens_in"].bit_length() // 2
        except (KeyError, TypeError, AttributeError):
            try:  # recorded before there were as many facts as today
                facts = told.facts = whole(told.facts)
                values = self.relevant.values(facts)
                size = facts["request"]["tokens_in"].bit_length() // 2
            except FactError:
                return None
        candidates = told.candidates
        key = (lob, workload, values, size, self.relevant.of_candidates(candidates))  # type: ignore[arg-type]
        number = self._of_key.get(key)
        if number is None:
            try:
                facts = whole(facts)
            except FactError:
                return None
            number = self._of_key[key] = len(self.groups)
            self.groups.append(_group(lob, workload, facts, (values, size, key[4]), candidates))  # type: ignore[arg-type]
        return number

    def _code(self, name: str) -> int:
        code = self._codes.get(name)
        if code is None:
            code = self._codes[name] = len(self._codes)
        return code

    def traffic(self) -> Traffic:
        kinds = {"q": np.int64, "d": np.float64, "b": np.int8}

        def as_arrays(columns: dict[str, array], shape: dict[str, str]) -> dict[str, NDArray[Any]]:
            return {
                name: np.frombuffer(c, dtype=kinds[shape[name]])
                if len(c)
                else np.zeros(0, kinds[shape[name]])
                for name, c in columns.items()
            }

        return Traffic(
            groups=self.groups, deployments=list(self._codes), blocks=self.blocks, rows=as_arrays(self._rows, ROWS),
            tries=as_arrays(self._tries, TRIES), left_out=self.left_out,
        )  # fmt: skip


def _group(
    lob: str,
    workload: str,
    facts: dict[str, dict[str, Any]],
    stratum: Hashable,
    candidates: Sequence[Candidate],
) -> Group:
    return Group(
        lob=lob, workload=workload, task=facts["workload"]["task"], stratum=stratum, facts=facts,
        worst_case={c.deployment: c.cost_nusd for c in candidates if c.cost_nusd is not None},
        chances={c.deployment: c.chance for c in candidates if c.chance is not None},
    )  # fmt: skip


def blocks_of(since: datetime, until: datetime) -> tuple[float, int]:
    """(seconds, how many): days where there are eight of them, else twelve equal parts of at least an hour."""
    span = max(1.0, (until - since).total_seconds())
    seconds = float(DAY_S) if span >= 8 * DAY_S else max(3600.0, span / 12)
    return seconds, max(1, int(-(-span // seconds)))


def day_name(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_S, UTC).date().isoformat()
