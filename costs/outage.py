"""What holds while counters or books are out of reach: local rate limits, each process with its share, and how long a process
goes on answering when nobody can write down what it did."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from costs.contracts import AdmissionAsk, BudgetLimit, RateLimit
from costs.spool import Spool
from switchyard.core.errors import BudgetUnavailable, RateLimited

BLIP_S = 2.0  # a database that misses a look or two isn't away
LONGEST_S = 300.0  # without books, of answering at home
MOST_EVENTS = 10_000  # of a process, in that time

SPANS = {"rpm": "requests a minute", "tpm": "tokens a minute", "concurrency": "requests at a time"}


def rate_limited(name: str, limit: int, scope: str, retry_after_s: float) -> RateLimited:
    return RateLimited(
        f"The limit of {limit} {SPANS[name]} on {scope} is reached. Try again in {max(1, round(retry_after_s))} s.",
        retry_after_s=retry_after_s,
        limit=limit,
        scope=scope,
    )


def strict_budget(budgets: tuple[BudgetLimit, ...]) -> BudgetLimit | None:
    """The first budget that forbids going on without counters."""
    return next((b for b in budgets if b.action == "stop" and b.on_outage != "allow"), None)


@dataclass
class _Minute:
    window: int = -1
    requests: int = 0
    tokens: int = 0


@dataclass
class LocalLimits:
    """Fixed minutes at limit ÷ processes, at least 1; concurrency counts what this process has open."""

    processes: int = 1
    _minutes: dict[str, _Minute] = field(default_factory=dict)
    _open: dict[str, set[str]] = field(default_factory=dict)

    def _share(self, limit: int) -> int:
        return max(1, limit // self.processes)

    def admit(self, ask: AdmissionAsk) -> None:
        """Count the request in every scope. Raises BudgetUnavailable under a strict budget, RateLimited at a limit."""
        strict = strict_budget(ask.budgets)
        if strict is not None:
            raise BudgetUnavailable(
                f"The budget counters can't be reached, and the budget on {strict.scope} stops spending it can't count. "
                "Try again shortly."
            )
        seconds = time.time()
        for limit in ask.limits:
            self._check(limit, ask.tokens, seconds)
        for limit in ask.limits:
            minute = self._minutes[limit.scope]
            minute.requests += 1
            minute.tokens += ask.tokens
            if limit.concurrency is not None:
                self._open.setdefault(limit.scope, set()).add(ask.request_id)

    def _check(self, limit: RateLimit, tokens: int, seconds: float) -> None:
        window = int(seconds // 60)
        minute = self._minutes.setdefault(limit.scope, _Minute())
        if minute.window != window:
            minute.window, minute.requests, minute.tokens = window, 0, 0
        rest_s = 60 - seconds % 60
        if limit.rpm is not None and minute.requests + 1 > self._share(limit.rpm):
            raise rate_limited("rpm", limit.rpm, limit.scope, rest_s)
        if limit.tpm is not None and minute.tokens + tokens > self._share(limit.tpm):
            raise rate_limited("tpm", limit.tpm, limit.scope, rest_s)
        if limit.concurrency is not None and len(self._open.get(limit.scope, ())) >= self._share(
            limit.concurrency
        ):
            raise rate_limited("concurrency", limit.concurrency, limit.scope, 1.0)

    def release(self, request_id: str) -> None:
        for holders in self._open.values():
            holders.discard(request_id)


Books = Literal["here", "away", "closed"]


@dataclass
class BooksAway:
    """Whether a process may go on without the database: at home for five minutes or 10,000 requests, outside not at all,
    since nobody could say what a vendor is owed. Meanwhile each event reaches the disk and stays there.

    `away_s`: for how long the database hasn't answered, in seconds; 0 while it does.
    """

    away_s: Callable[[], float] = lambda: 0.0
    spool: Spool | None = None
    requests: int = 0  # since it went away

    def state(self) -> Books:
        """Asked once a request. `away`: only at home; `closed`: not even there."""
        away_s = self.away_s()
        if away_s < BLIP_S:
            if self.requests:
                self.requests = 0
                if self.spool is not None:
                    self.spool.durable = False
            return "here"
        if not self.requests and self.spool is not None:
            self.spool.durable = True
        self.requests += 1
        return "closed" if away_s > LONGEST_S or self.requests > MOST_EVENTS else "away"
