"""What an attempt takes and gives, whichever server answers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from costs.contracts import Usage
from routing.contracts import DeploymentInfo, GatewayRequest
from switchyard.core.errors import SwitchyardError
from switchyard.core.quick import quick


@dataclass(slots=True)
class Completion:
    """A whole answer in the client's shape, and what the later steps need to know of it.

    `texts`: what the guard reads; `answers`: labels or values by index, for feedback; `confidence` in [0, 1];
    `withheld`: rows that the model itself gave no answer to, with its scores by kind.
    """

    payload: dict[str, Any]
    usage: Usage
    texts: list[str] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    confidence: float | None = None
    withheld: dict[int, dict[str, Any]] = field(default_factory=dict)


class AttemptFailed(Exception):
    """One attempt ended badly.

    `kind`: connect | timeout | status | busy | rejected | misconfigured | garbage. `error` is what the caller
    gets when nobody else answers. A rejected request is the caller's own fault: nobody else is asked.
    """

    FALLBACK = frozenset({"connect", "timeout", "status", "busy", "misconfigured", "garbage"})
    RETRY = frozenset({"connect", "status"})
    BREAKER = frozenset({"connect", "timeout", "status", "garbage"})  # 429 is not a failure

    def __init__(
        self,
        kind: str,
        error: SwitchyardError,
        *,
        http_status: int = 0,
        usage: Usage | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """`retry_after_s`: how long the server itself asked to be left alone."""
        super().__init__(error.message)
        self.kind, self.error, self.http_status, self.usage = kind, error, http_status, usage
        self.retry_after_s = retry_after_s


@quick
@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP answer of a server."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Adapter(Protocol):
    """Translates one kind of work to a server's endpoint and back."""

    path: str

    def body(self, request: GatewayRequest, target: DeploymentInfo, *, stream: bool) -> dict[str, Any]:
        """What is sent upstream."""
        ...

    def read(self, request: GatewayRequest, target: DeploymentInfo, reply: dict[str, Any]) -> Completion:
        """The client's answer. Raises AttemptFailed `garbage` when the server's makes no sense."""
        ...


def upstream_model(request: GatewayRequest, target: DeploymentInfo) -> str:
    """What the server is asked for: the live version's name, a canary's for those it drew, or the model's own."""
    if request.version is not None:
        return request.version.upstream_model
    if request.workload is None:
        return target.model
    canary = target.canaries.get(request.workload.name)
    if canary is not None and canary.takes(request.sticky):
        return canary.upstream_model
    name = target.upstream_models.get(request.workload.name)
    if name:
        return name
    return f"{target.model}/{request.workload.name}" if target.heads else target.model


def shown_model(request: GatewayRequest) -> str:
    """The `model` of the answer: what the caller asked for."""
    if request.version is not None:
        return request.version.name
    return request.workload.name if request.workload else request.wish


def without_canary(request: GatewayRequest, target: DeploymentInfo) -> DeploymentInfo | None:
    """The target as it is without the version on trial that this request drew; None when it drew none."""
    if request.version is not None:
        return None
    canary = target.canaries.get(request.workload.name) if request.workload else None
    if canary is None or not canary.takes(request.sticky):
        return None
    return replace(target, canaries={})


def address_of(base_url: str, path: str) -> str:
    """Where `path` is at a server; what its base URL says after `?` (Azure's api-version) stays at the end."""
    base, mark, query = base_url.partition("?")
    return base.rstrip("/") + path + mark + query


def own_headers(target: DeploymentInfo) -> dict[str, str]:
    """How a server knows us: the key as a bearer, unless there is none, and whatever it wants beside it or in its place."""
    bearer = {"authorization": f"Bearer {target.api_key}"} if target.api_key else {}
    return bearer | dict(target.headers) if target.headers else bearer
