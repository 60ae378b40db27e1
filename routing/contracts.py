"""What travels along a request's path: frozen, free of Django and of the database."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from costs.contracts import (
    AdmissionAsk,
    BudgetLimit,
    Grant,
    NodeRate,
    PriceSheet,
    RateLimit,
    Settlement,
    Usage,
)
from routing.apart import NOTHING, Apart
from switchyard.core.quick import quick

Side = Literal["private", "external"]
Sensitivity = Literal["public", "internal", "confidential", "restricted"]
Hop = Literal["first", "fallback", "retry", "shadow", "judge", "cache", "log", "training"]
SENSITIVITIES: tuple[Sensitivity, ...] = ("public", "internal", "confidential", "restricted")
RANK: Mapping[str, int] = {name: i for i, name in enumerate(SENSITIVITIES)}


def strictest(*classes: str) -> str:
    """The highest of some sensitivity classes; an unknown one counts as restricted."""
    return SENSITIVITIES[max((RANK.get(c, 3) for c in classes), default=1)]


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key of /v1 as the gateway holds it."""

    id: str
    digest: str
    organisation: str
    organisation_id: int
    lob: str
    application: str
    expires_ns: int  # 0: never
    limits: tuple[RateLimit, ...] = ()  # organisation → LOB → application → key
    budgets: tuple[BudgetLimit, ...] = ()


@dataclass(frozen=True, slots=True)
class LobInfo:
    slug: str
    organisation_id: int
    guard_mode: str
    guard_threshold: float
    keep_text: bool
    highest_sensitivity: str  # of its workloads: what a request without workload counts as


@dataclass(frozen=True, slots=True)
class WorkloadInfo:
    name: str
    organisation_id: int
    lob: str
    task: str
    tier: str
    sensitivity: str
    metric: str
    correct_rule: Mapping[str, Any]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CanaryShare:
    """A version on trial: `percent` of the workload's traffic on its deployment asks for it, the same callers every time."""

    upstream_model: str
    percent: int
    salt: str  # of this trial: another one draws other callers

    def takes(self, sticky: str) -> bool:
        return zlib.crc32(f"canary:{self.salt}:{sticky}".encode()) % 10_000 < 100 * self.percent


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """A version that a job made, asked for by its own name: one deployment can answer, with exactly this model."""

    name: str
    deployment: str
    workload: str
    upstream_model: str


@dataclass(frozen=True, slots=True)
class ConfidenceMap:
    """From the confidence that `model` tells to the chance of a right answer, as judged answers taught it."""

    model: str
    chance: Callable[[float], float]


@dataclass(frozen=True, slots=True)
class DeploymentInfo:
    """A candidate. `upstream_models` maps workload → the name its server is asked for (else `model`)."""

    name: str
    organisation_id: int
    side: Side
    base_url: str
    api_key: str = field(repr=False)
    model: str
    tasks: frozenset[str]
    lobs: frozenset[str]  # empty: every LOB
    region: str
    max_output_tokens: int
    max_concurrency: int
    heads: bool
    prices: PriceSheet | None = None  # external
    rate: NodeRate | None = None  # private
    upstream_models: Mapping[str, str] = field(default_factory=dict)
    canaries: Mapping[str, CanaryShare] = field(default_factory=dict)  # by workload
    resting: Mapping[str, int] = field(
        default_factory=dict
    )  # workload whose error budget it burns → per cent it keeps
    quality: Mapping[str, tuple[float, int]] = field(default_factory=dict)  # workload → (accuracy, rows)
    usual_accelerator_ns: Mapping[str, int] = field(
        default_factory=dict
    )  # workload → per answer, for worst cases
    calibrations: Mapping[str, ConfidenceMap] = field(default_factory=dict)  # by workload
    headers: Mapping[str, str] = field(
        default_factory=dict, repr=False
    )  # beside the key; names in small letters
    cap_name: str = ""  # what its server calls the cap of an answer; "": as the caller does

    @property
    def billable(self) -> bool:
        """An external one without prices, or a private one without node, is refused traffic."""
        return (self.prices if self.side == "external" else self.rate) is not None


@quick
@dataclass(frozen=True, slots=True)
class GatewayRequest:
    """One authenticated, parsed request. `body` is the decoded JSON, `raw` the bytes as they came."""

    request_id: str
    decision_id: str
    key: KeyInfo
    endpoint: str  # chat/completions, completions, embeddings, classifications, predictions, moderations
    task: str
    body: Mapping[str, Any]
    raw: bytes
    received_ns: int
    workload: WorkloadInfo | None = None
    wish: str = ""
    stream: bool = False
    include_usage: bool = False
    declared_sensitivity: str = ""
    max_cost_nusd: int | None = None
    origin: str = "live"
    version: VersionInfo | None = None  # `wish` names its deployment then
    stuck: str = ""  # what a masked copy sticks to: as the request it was made of
    surface: str = ""  # the endpoint as its caller knows it, where it was translated to this one
    fresh: bool = False  # Cache-Control: no-cache
    batch: bool = (
        False  # a line of a batch: nobody waits, so it is asked for at the batch price where there is one
    )
    apart: Apart = NOTHING  # what its vendor bills beside tokens of text

    @property
    def sticky(self) -> str:
        """What splits, rollouts and canaries stick to: the end user the app names, else each request draws for itself."""
        if self.stuck:
            return self.stuck
        user = self.body.get("user")
        return f"{self.key.id}:{user}" if isinstance(user, str) and user else self.request_id


@quick
@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a rule may test. Always whole: what is unknown is empty, zero or false."""

    values: Mapping[str, Any]  # {"request": {...}, "workload": {...}, "lob": {...}, "data": {...}, …}
    found: Mapping[str, int] = field(
        default_factory=dict
    )  # kind → how many, as inspection counted; never text

    @property
    def sensitivity(self) -> str:
        return self.values["data"]["sensitivity"]


@dataclass(frozen=True, slots=True)
class RuleTrace:
    rule: str
    matched: bool
    reason: str


@quick
@dataclass(frozen=True, slots=True)
class CandidateView:
    """Why a deployment was or wasn't eligible, and what this request would cost there at worst."""

    deployment: str
    side: Side
    eligible: bool
    reasons: tuple[str, ...]
    cost_nusd: int | None  # worst case
    chance: float | None = None  # of a right answer to this prompt, where a learned choice was asked for


@quick
@dataclass(frozen=True, slots=True)
class PlannedHop:
    deployment: str
    hop: Hop
    worst_case_nusd: int
    until_confidence: float | None = None  # cascade: accept the answer at or above this
    masked: bool = False  # only text whose personal data was replaced by placeholders may go there


@dataclass(frozen=True, slots=True)
class CacheRule:
    """What a rule lets be kept for the same question again, and for how long; a route without one keeps nothing."""

    exact: bool = True
    semantic: float | None = (
        None  # cosine similarity in (0, 1] from which on another question's answer is given
    )
    ttl_s: int = 600


@quick
@dataclass(frozen=True, slots=True)
class Decision:
    """An ordered list of permitted hops. No hops = refused, with the reason in `refusal`."""

    hops: tuple[PlannedHop, ...]
    shadows: tuple[str, ...]
    trace: tuple[RuleTrace, ...]
    candidates: Sequence[CandidateView]
    policy_version: str
    policy_hash: str
    rule: str = ""
    refusal: str = ""  # "" | denied | no_deployment | residency
    max_cost_nusd: int | None = None
    guards: tuple[str, ...] = ()
    cache: CacheRule | None = None  # None: neither read nor written
    mask: bool = False  # whatever leaves under this decision leaves masked, shadows too


@quick
@dataclass(frozen=True, slots=True)
class Answered:
    """One upstream attempt that ended, well or not."""

    deployment: str
    side: Side
    model: str
    attempt: int
    status: str  # ok | error | cut
    error: str
    started_ns: int
    duration_ms: float
    usage: Usage
    cost_nusd: int
    price_version: str
    http_status: int = 0
    legs: Mapping[str, int] = field(default_factory=dict)  # parts of the cost, which sum to it
    upstream_id: str = ""  # what the upstream bills it by, where that isn't the request's own id
    saved: Mapping[str, int] = field(default_factory=dict)  # by cache and batch prices


class Policies(Protocol):
    """The live policies of an organisation and of its LOBs, compiled (routing.policy.engine)."""

    def decide(
        self,
        facts: Facts,
        candidates: Sequence[DeploymentInfo],
        *,
        lob: str,
        worst_case: Mapping[str, int],
        sticky: str = "",
        scores: Mapping[str, float] | None = None,
    ) -> Decision:
        """Organisation's invariants, then the LOB's rules, then the organisation's. Pure; never raises on a rule's error:
        in a residency rule an error excludes whoever is outside, in a preference rule the rule is skipped and counted.

        `scores`: deployment → calibrated chance in [0, 1] of a right answer to this prompt, for `learned` choices; whoever
        has none counts by its evaluated quality.
        """
        ...

    def permits(self, facts: Facts, target: DeploymentInfo, hop: Hop, *, masked: bool = False) -> bool:
        """Whether no invariant forbids this hop: asked again at each one. `masked`: what would go there was masked."""
        ...

    def keeps(self, facts: Facts, hop: Hop) -> bool:
        """Whether we ourselves may keep what belongs to a request (`cache`, `log` or `training`), at home."""
        ...


class Chances(Protocol):
    """What was learned of right answers (routing.learned.live.Learned)."""

    def ask(
        self, request: GatewayRequest, facts: Facts, candidates: Sequence[DeploymentInfo], *, keeps_text: bool
    ) -> Any:
        """`.chances`: deployment → chance; None where the policy doesn't ask. Never raises."""
        ...


class Admission(Protocol):
    """Limits, breakers and budget reservations in one call (costs.admission)."""

    async def reserve(self, ask: AdmissionAsk) -> Grant: ...

    async def settle(self, settlement: Settlement) -> None: ...


@dataclass(frozen=True, slots=True)
class Trial:
    """A shadow version as it would be in force: asked beside the live ones (routing.rollout.beside)."""

    policy: str  # its id
    lob: str  # "": the organisation's
    policies: Policies


@dataclass(frozen=True)
class Snapshot:
    """The in-memory world: immutable, replaced as a whole when the configuration's version moves."""

    version: int
    loaded_ns: int
    keys: Mapping[str, KeyInfo]  # by digest
    lobs: Mapping[str, LobInfo]
    workloads: Mapping[str, WorkloadInfo]  # by name
    deployments: Mapping[str, DeploymentInfo]  # by name
    policies: Policies
    versions: Mapping[str, VersionInfo] = field(default_factory=dict)  # by name
    organisation: str = ""
    organisation_id: int = 0
    learned: Chances | None = None  # only where a policy in force asks for it
    dictionaries: Mapping[str, Any] = field(
        default_factory=dict
    )  # LOB → its own terms (routing.inspection.dictionaries)
    wants_names: bool = (
        True  # whether a policy in force speaks of names: else nobody looks for them by the model
    )
    trials: Sequence[Trial] = ()  # shadow versions
    memo: dict[Any, Any] = field(
        default_factory=dict, compare=False, repr=False
    )  # what follows from it, by question
