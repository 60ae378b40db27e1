"""Pure: dated versions → which terms hold when. Nothing is ever edited: a later version wins over what it covers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from costs.nodes.terms import Terms
from costs.pricing import Unpriced

FIRST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Dated:
    """A version as it was written: `valid_to` is exclusive, None = open; `order` tells which was written later."""

    terms: Terms
    valid_from: datetime
    valid_to: datetime | None
    order: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Terms in force from `start` until the next segment starts."""

    start: datetime
    terms: Terms


class Timeline:
    """What holds when. The first version covers everything before it, too (work that was replayed from an earlier time)."""

    def __init__(self, versions: Iterable[Dated]) -> None:
        self.segments = _segments(sorted(versions, key=lambda v: v.order))
        self._starts = [segment.start for segment in self.segments]

    def at(self, moment: datetime) -> Terms:
        return self.segments[max(0, bisect_right(self._starts, moment) - 1)].terms

    def next_change(self, moment: datetime) -> datetime | None:
        """When other terms follow those in force at `moment`; None when they stay."""
        index = bisect_right(self._starts, moment)
        return self._starts[index] if index < len(self._starts) else None

    def spans(self, start: datetime, end: datetime) -> Iterator[tuple[Terms, datetime, datetime]]:
        """The span cut where other terms come into force."""
        while start < end:
            until = min(self.next_change(start) or end, end)
            yield self.at(start), start, until
            start = until

    def moments(self) -> set[datetime]:
        """Everything that changes the rate: versions, commitments that run out, machines that are written off."""
        found = set(self._starts[1:])
        for segment in self.segments:
            found |= {
                t for t in (segment.terms.committed_until, segment.terms.depreciated_at) if t is not None
            }
        return found


class Unreadable(Timeline):
    """Of a machine whose stored costs can't be read: whatever is asked raises Unpriced, with what is wrong."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def at(self, moment: datetime) -> Terms:
        raise Unpriced(self.fault)

    def next_change(self, moment: datetime) -> datetime | None:
        raise Unpriced(self.fault)

    def spans(self, start: datetime, end: datetime) -> Iterator[tuple[Terms, datetime, datetime]]:
        raise Unpriced(self.fault)

    def moments(self) -> set[datetime]:
        raise Unpriced(self.fault)


def _segments(versions: list[Dated]) -> list[Segment]:
    if not versions:
        raise ValueError("A timeline takes at least one version.")
    edges = sorted(
        {v.valid_from for v in versions} | {v.valid_to for v in versions if v.valid_to is not None}
    )
    segments: list[Segment] = []
    for edge in edges:
        holding = [v for v in versions if v.valid_from <= edge and (v.valid_to is None or edge < v.valid_to)]
        if not holding or (segments and segments[-1].terms.version == holding[-1].terms.version):
            continue  # a gap keeps what held before it
        before = segments[-1].terms if segments else None
        segments.append(Segment(edge if segments else FIRST, _carried_on(holding[-1].terms, edge, before)))
    return segments


def _carried_on(terms: Terms, start: datetime, before: Terms | None) -> Terms:
    """An unchanged commitment or purchase began where it first was said."""
    committed = before.committed_from if before and before.commitment == terms.commitment else start
    bought = before.bought_from if before and before.purchase == terms.purchase else start
    return replace(terms, committed_from=committed, bought_from=bought)
