"""When the ledger reads on: what a batch costs by itself is shared by more events where it waits a moment for them."""

from __future__ import annotations

GATHER_S = (
    0.25  # of the two seconds that the books may be behind; reading, booking and committing have the rest
)
EVENTS, LEAST_ENTRIES, MOST_ENTRIES = 1_000, 125, 1_000  # of a batch; an entry holds up to eight events


class Pace:
    """`entries`: how many to read at most. Times are of one clock, in seconds."""

    def __init__(self) -> None:
        self.entries = LEAST_ENTRIES
        self._next = 0.0

    def took(self, began: float, entries: int, events: int) -> None:
        """A read of `began` gave this: the next one is at once when it was as much as was asked for, else when others have
        come beside the first. An event waits for `GATHER_S`, or for the batch before its own, whichever takes longer."""
        self._next = 0.0 if not entries or entries >= self.entries else began + GATHER_S
        if events:
            self.entries = min(MOST_ENTRIES, max(LEAST_ENTRIES, EVENTS * entries // events))

    def wait_s(self, now: float) -> float:
        return min(GATHER_S, max(0.0, self._next - now))
