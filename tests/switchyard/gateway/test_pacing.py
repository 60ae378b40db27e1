"""The ledger waits for company, and no event grows old by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.gateway import consumer as consuming
from switchyard.gateway.consumer import Consumer
from switchyard.gateway.pacing import EVENTS, GATHER_S, LEAST_ENTRIES, MOST_ENTRIES, Pace

BOOKS_MAX_S = 2.0  # CONTRACTS, "Ages": ledger and budgets
GAPS = st.lists(st.one_of(st.floats(0, 0.002), st.floats(0, 0.6)), min_size=1, max_size=400)
BATCH_S, EVENT_S = (
    st.floats(0, 0.02),
    st.floats(0, 0.0003),
)  # what a batch takes by itself, and what an event adds


class Stream:
    """A stream, a ledger and the clock of both: the consumer's own loop runs on them."""

    def __init__(self, gaps: list[float], batch_s: float, event_s: float) -> None:
        self.now, self.batch_s, self.event_s = 0.0, batch_s, event_s
        self.waiting = [sum(gaps[: i + 1]) for i in range(len(gaps))]
        self.ages: list[float] = []
        self.batches: list[int] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert 0 <= seconds <= GATHER_S
        self.now += seconds

    def read(self, count: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """As XREADGROUP does: at once what is there, else the first that comes."""
        if self.waiting:
            self.now = max(self.now, self.waiting[0])
        there = [at for at in self.waiting[:count] if at <= self.now]
        return [(b"%d" % i, {}) for i in range(len(there))]

    def take(self, entries: list[Any]) -> int:
        self.now += self.batch_s + self.event_s * len(entries)
        self.ages += [self.now - at for at in self.waiting[: len(entries)]]
        del self.waiting[: len(entries)]
        self.batches.append(len(entries))
        return len(entries)


def run(stream: Stream) -> None:
    consumer = Consumer("redis://127.0.0.1:1/0", home=Path("/nonexistent"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(consuming, "time", stream)
        patched.setattr(consuming, "close_old_connections", lambda: None)
        patched.setattr(consumer, "_ensure_group", lambda: None)
        patched.setattr(consumer, "_pending", list)
        patched.setattr(consumer, "_new", lambda: stream.read(consumer._pace.entries))
        patched.setattr(consumer, "roll_up", lambda: None)

        def take(entries: list[Any]) -> int:
            taken = stream.take(entries)
            consumer.stopping = not stream.waiting
            return taken

        patched.setattr(consumer, "_take", take)
        consumer.run()


@given(GAPS, BATCH_S, EVENT_S)
def test_waiting_for_company_makes_no_event_older_than_the_books_may_be(
    gaps: list[float], batch_s: float, event_s: float
) -> None:
    stream = Stream(gaps, batch_s, event_s)
    run(stream)
    assert len(stream.ages) == len(gaps)
    longest = batch_s + event_s * max(stream.batches)
    assert max(stream.ages) <= max(GATHER_S, longest) + longest + 1e-9 < BOOKS_MAX_S


def test_the_first_event_after_a_silence_waits_for_nobody() -> None:
    stream = Stream([5.0, 0.0001, 5.0], 0.001, 0.0)
    run(stream)
    assert stream.ages[0] == pytest.approx(0.001) and stream.ages[2] == pytest.approx(0.001)
    assert stream.ages[1] <= GATHER_S + 0.002


def test_a_thousand_events_a_second_come_in_four_batches_of_it() -> None:
    stream = Stream([0.001] * 3_000, 0.005, 0.0001)
    run(stream)
    assert len(stream.batches) <= 3 / GATHER_S + 25  # a read that was full is followed at once by the next
    assert max(stream.ages) < 2 * GATHER_S


def test_who_is_behind_does_not_wait() -> None:
    pace = Pace()
    pace.took(10.0, pace.entries, 900)
    assert pace.wait_s(10.0) == 0
    pace.took(10.0, 3, 20)
    assert pace.wait_s(10.0) == GATHER_S and pace.wait_s(10.0 + GATHER_S) == 0
    pace.took(10.0, 0, 0)
    assert pace.wait_s(10.0) == 0


@given(st.lists(st.tuples(st.integers(1, MOST_ENTRIES), st.integers(1, 8)), max_size=20))
def test_a_batch_is_about_a_thousand_events_whatever_an_entry_holds(reads: list[tuple[int, int]]) -> None:
    pace = Pace()
    for entries, each in reads:
        pace.took(0.0, entries, entries * each)
        assert LEAST_ENTRIES <= pace.entries <= MOST_ENTRIES
        assert pace.entries * each <= EVENTS or pace.entries == LEAST_ENTRIES
