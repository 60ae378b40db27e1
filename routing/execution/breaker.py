"""What the process itself knows of its upstreams: calls in flight, and a budget for retries."""

from __future__ import annotations

from collections import Counter

RETRY_SHARE = 0.2


class Load:
    """Calls in flight by deployment. The breaker's state itself is shared by processes and lives in admission."""

    def __init__(self) -> None:
        self.in_flight: Counter[str] = Counter()

    def full(self, deployment: str, limit: int) -> bool:
        return self.in_flight[deployment] >= limit


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
