"""What the pipeline needs of this process, put together at start and closed at its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from redis import asyncio as redis

from costs import budgets
from costs.admission import RedisAdmission
from costs.outage import BooksAway
from costs.spool import Spool
from modelhub import artifacts
from modelhub.serving.runners.risk import RiskModel
from routing.caching.exact import AnswerCache
from routing.contracts import DeploymentInfo, LobInfo
from routing.execution.breaker import Load
from routing.execution.clients import make_client
from routing.execution.fallback import Executor
from routing.execution.probes import Prober
from routing.execution.retries import RetryBudget
from routing.guards.base import RiskGuard
from routing.inspection.collect import inspect
from routing.inspection.learned import preload
from routing.kept import forget_all
from routing.meter import Meter
from routing.pipeline import Desk, Live
from switchyard.core.addresses import check_address
from switchyard.core.conf import conf
from switchyard.core.crypto import keyed_digest, open_for_lob, seal_for_lob
from switchyard.gateway.idempotency import Idempotency

log = logging.getLogger(__name__)


class Office:
    """Owns the desk: opens connections, gives them back."""

    def __init__(
        self,
        deployments: Callable[[], Iterable[DeploymentInfo]] = tuple,
        away_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`deployments` gives those of the present snapshots, for the health probes; `away_s` for how long the database
        hasn't answered."""
        self.upstream = make_client(
            conf("UPSTREAM_CLIENT"),
            connect_s=conf("CONNECT_TIMEOUT_S"),
            first_byte_s=conf("FIRST_TOKEN_TIMEOUT_S"),
            idle_s=conf("IDLE_TIMEOUT_S"),
            check_address=lambda address, host: check_address(address, conf("UPSTREAM_CIDRS"), host),
            proxy=conf("UPSTREAM_PROXY"),
        )
        self.spool = Spool(Path(settings.HOME) / "spool")
        self.admission = RedisAdmission(
            settings.REDIS_URL, spool=self.spool, seed=budgets.seed_from_ledger, lease_s=conf("RESERVATION_LEASE_S"),
            processes=conf("PROCESSES"),
        )  # fmt: skip
        self.fresh = redis.from_url(
            settings.REDIS_URL, socket_timeout=1
        )  # decisions that aren't in the books yet
        self.once = Idempotency(settings.REDIS_URL)
        self.cache = AnswerCache(
            settings.REDIS_URL, digest=keyed_digest, seal=seal_for_lob, unseal=open_for_lob
        )
        self.risk = load_risk()
        preload()
        self.load = Load()
        self.desk = Desk(
            inspect=inspect, admission=self.admission, executor=Executor(self.upstream, self.load, RetryBudget()),
            meter=Meter(self.admission, seal_for_lob), guard_for=self.guard_for, swaps=self.swaps, live=Live(),
            deadline_s=conf("REQUEST_DEADLINE_S"), named=self.named, cache=self.cache,
            books=BooksAway(away_s, self.spool),
        )  # fmt: skip

        self.prober = Prober(
            settings.REDIS_URL, every_s=conf("PROBE_EVERY_S"), deployments=deployments, tell=self.admission.tell,
            check_address=lambda address, host: check_address(address, conf("UPSTREAM_CIDRS"), host),
            proxy=conf("UPSTREAM_PROXY"),
        )  # fmt: skip
        self.desk.shadows.bind(self.admission, self.desk.executor, self.desk.meter)

    def forget(self) -> None:
        """Another snapshot is in force: what was worked out for parts of the last one goes."""
        self.admission.forget()
        forget_all()

    async def open(self) -> None:
        await self.upstream.open()
        await self.admission.start()
        self.prober.start()

    async def close(self) -> None:
        await self.prober.close()
        await self.desk.shadows.close()
        await self.upstream.close()
        await self.cache.close()
        await self.admission.close()
        await self.fresh.aclose()
        self.once.close()

    def guard_for(self, lob: LobInfo) -> RiskGuard:
        return RiskGuard(
            self.risk, mode=lob.guard_mode, threshold=lob.guard_threshold, keep_text=lob.keep_text,
            timeout_ms=conf("GUARD_TIMEOUT_MS"),
        )  # fmt: skip

    def swaps(self, text: str) -> list[str]:
        return self.risk.identity_swaps(text) if self.risk is not None else []

    def named(self, text: str) -> list[str]:
        """Kinds of group that a text names; a scorer of another make knows none."""
        tell = getattr(self.risk, "kinds_named", None)
        return list(tell(text)) if tell is not None else []


def load_risk() -> RiskModel | None:
    """The shipped risk model; without it guards are unavailable, and say so on every answer."""
    try:
        folder = artifacts.find("risk-guard")
        return _risk_of(folder, artifacts.digest(folder / artifacts.MANIFEST))
    except (artifacts.ArtifactMissing, artifacts.ArtifactCorrupt):
        log.exception("the risk model can't be loaded: guards are unavailable")
        return None


@lru_cache(maxsize=1)
def _risk_of(folder: Path, manifest: str) -> RiskModel:
    """One for all desks of a process: its words alone are tens of megabytes."""
    return RiskModel(folder)
