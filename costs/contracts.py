"""What the other apps hand to money and get back: frozen, integer nano-dollars, no Django."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from switchyard.core.quick import quick

UsageSource = Literal["reported", "estimated"]


@quick
@dataclass(frozen=True, slots=True)
class Usage:
    """What one upstream attempt used. Token counts are units, accelerator time nanoseconds."""

    tokens_in: int = 0
    tokens_out: int = 0
    cached_tokens_in: int = 0  # part of tokens_in
    cache_write_tokens: int = 0  # part of tokens_in
    reasoning_tokens: int = 0  # part of tokens_out
    calls: int = 1
    accelerator_ns: int = 0
    duration_ns: int = 0  # of the call, for vendors that charge by the second
    batch: bool = False  # asked for at the batch price
    source: UsageSource = "reported"
    audio_tokens_in: int = 0  # part of tokens_in
    audio_tokens_out: int = 0  # part of tokens_out
    searches: int | None = None  # that the vendor ran itself; None: it doesn't say

    def timed(self, accelerator_ns: int, duration_ns: int, source: UsageSource) -> "Usage":
        """The same with other times. Written out: `dataclasses.replace` takes ten times as long, once for each attempt."""
        return Usage(
            self.tokens_in, self.tokens_out, self.cached_tokens_in, self.cache_write_tokens, self.reasoning_tokens, self.calls,
            accelerator_ns, duration_ns, self.batch, source, self.audio_tokens_in, self.audio_tokens_out, self.searches,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PriceTier:
    """Prices of a call whose input is longer than this; what it leaves at None stays the sheet's."""

    above_tokens_in: int
    input_nusd_per_munit: int | None = None
    cached_input_nusd_per_munit: int | None = None
    cache_write_nusd_per_munit: int | None = None
    output_nusd_per_munit: int | None = None
    reasoning_nusd_per_munit: int | None = None


@dataclass(frozen=True, slots=True)
class PriceSheet:
    """An external deployment's price in force: nano-dollars per million units (calls and seconds: per million of them)."""

    version: str
    input_nusd_per_munit: int = 0
    cached_input_nusd_per_munit: int | None = None
    cache_write_nusd_per_munit: int | None = None
    output_nusd_per_munit: int = 0
    reasoning_nusd_per_munit: int | None = None
    call_nusd_per_munit: int = 0
    second_nusd_per_munit: int = 0
    minimum_nusd: int = 0
    batch_ppm: int | None = None  # what batch work pays of the price, in parts per million
    tiers: tuple[PriceTier, ...] = ()  # ascending
    source: str = ""
    training_nusd_per_munit: int | None = None  # of trained tokens; None: nothing may be trained there
    # Nothing that these pay for is asked of a vendor whose sheet has no price for it.
    audio_input_nusd_per_munit: int | None = None
    audio_output_nusd_per_munit: int | None = None
    search_nusd_per_munit: int | None = None  # per million searches


@quick
@dataclass(frozen=True, slots=True)
class Charge:
    """A cost in nano-dollars by its parts (costs.models.LEGS), which sum to it, and what cache and batch prices saved
    against the plain price; a saving is negative where writing the cache cost more than reading it gave back."""

    cost_nusd: int
    legs: Mapping[str, int] = field(default_factory=dict)
    saved: Mapping[str, int] = field(default_factory=dict)  # "cache", "batch"; those that aren't zero


@dataclass(frozen=True, slots=True)
class NodeRate:
    """A private deployment's standard rate: node cost per hour ÷ planned utilisation."""

    version: str
    node: str
    nusd_per_hour: int
    planned_utilisation_ppm: int = 1_000_000  # parts per million of an hour that is planned to be used


@dataclass(frozen=True, slots=True)
class BudgetLimit:
    """A budget on a request's path. `lob` is the line of business its scope lies in ("" for the organisation).

    `extras`: what was added to single periods, as (start of the period in seconds since the epoch, nano-dollars). It
    travels with the limit so that a period that turns while the configuration rests has its own at once.
    """

    id: int
    scope: str  # organisation | lob:<slug> | application:<slug> | key:<id>
    limit_nusd: int
    period: str  # day | week | month | total
    timezone: str
    action: str  # warn | throttle | stop
    on_outage: str = ""  # "" or "allow"
    warn_pct: int = 80
    lob: str = ""
    organisation_id: int = 0
    covers: str = "all"  # all | labels
    extras: tuple[tuple[int, int], ...] = ()

    def limit_at(self, start_s: int) -> int:
        """The limit of the period that begins at `start_s`, with what was added to that period, in nano-dollars."""
        return self.limit_nusd + sum(amount for start, amount in self.extras if start == start_s)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One scope's limits; None = none."""

    scope: str
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None


@quick
@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The estimated usage event of a call as JSON: what is booked should nobody live to settle it."""

    body: bytes
    cost_nusd: int
    decision_id: str


@quick
@dataclass(frozen=True, slots=True)
class AdmissionAsk:
    """One request's worst case, reserved in every budget on its path in one call."""

    request_id: str
    worst_case_nusd: int
    tokens: int
    budgets: tuple[BudgetLimit, ...] = ()
    limits: tuple[RateLimit, ...] = ()
    breakers: tuple[str, ...] = ()  # deployments in the order wished; the first whose breaker admits is named
    checkpoint: Checkpoint | Mapping[str, Any] | None = None  # the estimated usage event, encoded or not
    organisation_id: int = 0  # whose breakers: deployments of two organisations may bear one name


@quick
@dataclass(frozen=True, slots=True)
class Grant:
    """What admission gave. `degraded` is true when the counters could not be reached and the request goes on.

    When breakers were asked for and none admits, `deployment` is None, `open_breakers` names them all and nothing is
    reserved; `busy_s` says how long the first of them asked to be left alone, 0 when none did.
    """

    request_id: str
    reserved_nusd: int
    deployment: str | None = None
    open_breakers: frozenset[str] = frozenset()
    budget_used_ppm: Mapping[str, int] = field(default_factory=dict)  # scope → spent + reserved, of its limit
    rates: tuple[tuple[str, int, int], ...] = ()  # of requests and tokens: (name, limit, how much is left)
    degraded: bool = False
    busy_s: float = 0.0

    @property
    def rate_headers(self) -> dict[str, str]:
        """x-ratelimit-*: limit, what is left, and the seconds until all of it is."""
        headers: dict[str, str] = {}
        for name, limit, left in self.rates:
            headers[f"x-ratelimit-limit-{name}"] = str(limit)
            headers[f"x-ratelimit-remaining-{name}"] = str(left)
            headers[f"x-ratelimit-reset-{name}"] = f"{60 * (limit - left) / limit:.1f}s"
        return headers

    @property
    def rate_lines(self) -> str:
        """`rate_headers` as lines of a head."""
        lines = ""
        for name, limit, left in self.rates:
            lines += (
                f"x-ratelimit-limit-{name}: {limit}\r\nx-ratelimit-remaining-{name}: {left}\r\n"
                f"x-ratelimit-reset-{name}: {60 * (limit - left) / limit:.1f}s\r\n"
            )
        return lines


# (deployment, went well), or with the milliseconds for which it asked to be left alone
Outcome = tuple[str, bool] | tuple[str, bool, int]


@quick
@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of a request: what it really cost, and its self-contained event for the stream (empty: none)."""

    request_id: str
    cost_nusd: int
    tokens: int
    event: Mapping[str, Any]
    outcomes: tuple[Outcome, ...] = ()  # for the breakers
