"""Limits that are known to be reached: the counters said so a moment ago, so the next ones needn't ask them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from costs.contracts import RateLimit
from costs.outage import rate_limited

# For how long at most. A limit that was raised reaches every process within two seconds, and then it is another limit; what
# could let somebody in before the told time (tokens given back, counters that Valkey lost) is seen after this.
REMEMBERED_S = {"rpm": 1.0, "tpm": 0.25}


@dataclass(frozen=True, slots=True)
class _Shut:
    name: str  # rpm | tpm
    told: int  # the limit as it was told
    limit: int  # as it was configured: another one is another limit
    tokens: int  # that didn't fit, of tpm
    until_s: float
    opens_s: float  # when the counters said that one would fit


class TurnedAway:
    """One per process. `note` what was refused, `check` before anything of a request is read."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shut: dict[str, _Shut] = {}

    def note(self, limit: RateLimit, name: str, told: int, wait_s: float, tokens: int) -> None:
        """Concurrency isn't remembered: a place may be free the next moment."""
        if name not in REMEMBERED_S:
            return
        now = self._clock()
        if len(self._shut) > 10_000:
            self._shut.clear()
        until = now + min(wait_s, REMEMBERED_S[name])
        self._shut[limit.scope] = _Shut(name, told, getattr(limit, name), tokens, until, now + wait_s)

    def check(self, limits: tuple[RateLimit, ...], body_bytes: int) -> None:
        """Raises RateLimited where a limit on the path is reached. `body_bytes`: as declared, 0 when unknown; a smaller body
        than the one that didn't fit may ask."""
        if not self._shut:
            return
        for limit in limits:
            shut = self._shut.get(limit.scope)
            if shut is None:
                continue
            now = self._clock()
            if now >= shut.until_s or getattr(limit, shut.name) != shut.limit:
                del self._shut[limit.scope]
            elif shut.name == "rpm" or body_bytes // 4 >= shut.tokens:
                raise rate_limited(shut.name, shut.told, limit.scope, max(1.0, shut.opens_s - now))
