"""The one layer that asks again: before the first byte only, under the request's deadline, within a budget, with jitter."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from routing.contracts import DeploymentInfo, PlannedHop
from routing.execution.base import AttemptFailed, without_canary

if TYPE_CHECKING:
    from routing.run import Run

RETRY_SHARE = 0.2
MOST_RETRIES = 2
PAUSE_S = (0.05, 0.25)  # the first pause lies in here, each later one in twice the span of the one before
LONGEST_WAIT_S = 2.0  # a server that asks for more patience isn't waited for: its caller hears how long
TIME_TO_ANSWER_S = 0.1  # no retry begins with less than this left


class RetryBudget:
    """At most a fifth of live requests may be retries, so that a broken upstream isn't hit twice as hard."""

    def __init__(self, share: float = RETRY_SHARE, burst: float = 5.0) -> None:
        self.share, self.burst, self.tokens = share, burst, burst

    def request(self) -> None:
        self.tokens = min(self.burst, self.tokens + self.share)

    def take(self) -> bool:
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Tries:
    """Whom to ask at one hop after a failure: in a version's place the live one, or the last chance once more.

    Falling back to the next hop isn't a retry and needs no budget: a retry is the same deployment again.
    """

    __slots__ = ("_budget", "_count", "_hop", "_last", "_run", "_steady", "_target")

    def __init__(
        self, run: Run, hop: PlannedHop, target: DeploymentInfo, budget: RetryBudget, *, last: bool
    ) -> None:
        self._run, self._hop, self._target, self._budget, self._last = run, hop, target, budget, last
        self._count = 0
        self._steady = False

    async def after(self, error: AttemptFailed) -> DeploymentInfo | None:
        """The next to ask at this hop, once its pause is over; None: this hop is done."""
        if self._steady:
            return None
        steady = without_canary(self._run.request, self._target) if not self._count else None
        if steady is not None and self._permitted(steady):
            # A version on trial costs its callers a moment, never the answer: the live one is asked in its place.
            self._steady = True
            return steady
        pause_s = self._pause_s(error)
        if pause_s is None or not self._permitted(self._target) or not self._budget.take():
            return None
        self._count += 1
        await asyncio.sleep(pause_s)
        return self._target

    def _permitted(self, target: DeploymentInfo) -> bool:
        """Asking again is a hop of its own to the policy."""
        facts = self._run.facts
        permits = self._run.world.policies.permits
        return facts is not None and permits(facts, target, "retry", masked=self._hop.masked)

    def _pause_s(self, error: AttemptFailed) -> float | None:
        if not self._last or self._count >= MOST_RETRIES:
            return None
        if error.kind in AttemptFailed.RETRY:
            low, high = PAUSE_S
            pause_s = random.uniform(low, high * 2**self._count)
        elif error.kind == "busy" and error.retry_after_s is not None:
            # Its word is kept, and a little more: everybody else it told the same comes back at that very moment.
            pause_s = error.retry_after_s * random.uniform(1.0, 1.1)
            if pause_s > LONGEST_WAIT_S:
                return None
        else:
            return None
        return pause_s if self._run.deadline.left() > pause_s + TIME_TO_ANSWER_S else None
