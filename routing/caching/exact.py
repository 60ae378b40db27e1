"""The exact cache: an answer that was given, guarded and paid for is given again to the same question, free of charge.

It lives in Valkey under a keyed digest, sealed under the line of business's key, for as long as the policy's rule says. What
may be kept is the policy's word (`cache:` on a route, and no invariant against `hop == "cache"`); restricted work never is.
Only answers that the guard let pass without a finding are kept, and the guard's rules are part of the key.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from costs.contracts import Usage
from costs.link import LinkDown, ValkeyLink
from routing.caching.question import identity, wants_variety
from routing.contracts import Answered, DeploymentInfo
from routing.quote import attempt_charge
from routing.run import Run
from switchyard.core.clock import now_ns

log = logging.getLogger(__name__)
KEPT_MAX_BYTES = 256 * 1024
PATIENCE_S = 0.1  # a look-up that takes longer costs more than it saves
PAUSE_S = 1.0  # without look-ups after Valkey failed
AT_ONCE = 64  # answers on their way into the cache; more are not kept
PRICE = "cache"  # the price version of what was not bought


@dataclass(frozen=True, slots=True)
class Hit:
    """A kept answer: `payload` whole, or `frames` of a stream without its end."""

    target: DeploymentInfo
    model: str
    usage: Usage
    answers: list[Any]
    answer_count: int
    confidence: float | None
    payload: dict[str, Any] | None
    frames: bytes
    kept_ns: int

    @property
    def public_usage(self) -> dict[str, Any]:
        """As the answer told it when it was bought; what this time costs is told beside it."""
        told = {"prompt_tokens": self.usage.tokens_in, "completion_tokens": self.usage.tokens_out}
        return told | {"total_tokens": self.usage.tokens_in + self.usage.tokens_out}


class AnswerCache:
    """One per process. `digest(bytes) -> str` is keyed, `seal(lob, bytes) -> str` and `unseal` are the line of business's."""

    def __init__(
        self,
        url: str,
        *,
        digest: Callable[[str], str],
        seal: Callable[[str, bytes], str],
        unseal: Callable[[str, str], bytes],
    ) -> None:
        self._link = ValkeyLink(url, connect_timeout_s=PATIENCE_S, timeout_s=PATIENCE_S)
        self._digest, self._seal, self._unseal = digest, seal, unseal
        self._away_until = 0.0
        self._keeping: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        await asyncio.gather(*self._keeping, return_exceptions=True)
        self._link.close()

    async def find(self, run: Run) -> Hit | None:
        """The kept answer to this question; `run.cache` says hit, miss, or bypass. Never raises: without Valkey it is a
        bypass, and what can't be opened is a miss."""
        run.cache = "bypass"
        rule = run.decision.cache if run.decision is not None else None
        if rule is None or not rule.exact or not may_keep(run) or time.monotonic() < self._away_until:
            return None
        run.cache_key = f"sy:ans:{run.request.key.organisation_id}:{self._digest(identity(run).hex())}"
        began = time.perf_counter()
        try:
            sealed = await self._link.call("GET", run.cache_key)
        except (LinkDown, RuntimeError):
            self._away_until, run.cache_key = time.monotonic() + PAUSE_S, ""
            return None
        run.cache = "miss"
        hit = self._opened(run, sealed) if sealed else None
        run.cache_s = time.perf_counter() - began
        if hit is not None:
            run.cache = "hit"
        return hit

    def _opened(self, run: Run, sealed: bytes) -> Hit | None:
        try:
            told = orjson.loads(self._unseal(run.request.key.lob, sealed.decode()))
        except Exception:
            log.warning("a kept answer could not be opened: it counts as none")
            return None
        assert run.decision is not None
        if told["deployment"] not in {hop.deployment for hop in run.decision.hops}:
            return None
        return Hit(
            run.world.deployments[told["deployment"]], told["model"], Usage(**told["usage"]), told["answers"], told["count"],
            told["confidence"], told["payload"], told["frames"].encode(), told["at_ns"],
        )  # fmt: skip

    def keep(self, run: Run, *, payload: Mapping[str, Any] | None = None, frames: bytes = b"") -> None:
        """Keep a finished answer in the background, where it may be kept."""
        if not run.cache_key or run.cache != "miss" or len(self._keeping) >= AT_ONCE or not clean(run):
            return
        attempt = next(
            a for a in reversed(run.attempts) if run.answered_by and a.deployment == run.answered_by.name
        )
        body = orjson.dumps(
            {
                "deployment": attempt.deployment, "model": attempt.model, "usage": asdict(attempt.usage),
                "answers": run.answers, "count": run.answer_count, "confidence": run.confidence, "payload": payload,
                "frames": frames.decode(), "at_ns": now_ns(),
            }
        )  # fmt: skip
        if len(body) > KEPT_MAX_BYTES:
            return
        assert run.decision is not None and run.decision.cache is not None
        sealed = self._seal(run.request.key.lob, body)
        task = asyncio.get_running_loop().create_task(
            self._put(run.cache_key, sealed, run.decision.cache.ttl_s)
        )
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def _put(self, key: str, sealed: str, ttl_s: int) -> None:
        try:
            await self._link.call("SET", key, sealed, "EX", str(max(1, int(ttl_s))))
        except (LinkDown, RuntimeError):
            self._away_until = time.monotonic() + PAUSE_S


def may_keep(run: Run) -> bool:
    """Whether this request's answer may be kept or given from what was kept. Restricted data never, whatever a policy says."""
    assert run.decision is not None and run.facts is not None
    if run.facts.sensitivity == "restricted" or not run.world.policies.keeps(run.facts, "cache"):
        return False
    return not (run.decision.mask or run.request.fresh or wants_variety(run.request))


def clean(run: Run) -> bool:
    """Answered whole, by an attempt that went well, and nothing in it that the guard found."""
    report = run.guard.report if run.watched and run.guard is not None else None
    if run.status != 200 or run.error_code or run.answered_by is None or (report is not None and report.kind):
        return False
    return (
        bool(run.attempts)
        and run.attempts[-1].status == "ok"
        and run.attempts[-1].deployment == run.answered_by.name
    )


def serve(run: Run, hit: Hit) -> None:
    """Make the kept answer the run's: one attempt that cost nothing, with what buying it would have cost now."""
    charge = attempt_charge(hit.usage, hit.target)
    saved = {"cache": charge.cost_nusd} if charge.cost_nusd else {}
    run.attempts.append(
        Answered(
            deployment=hit.target.name,
            side=hit.target.side,
            model=hit.model,
            attempt=len(run.attempts),
            status="ok",
            error="",
            started_ns=now_ns(),
            duration_ms=0.0,
            usage=Usage(calls=0),
            cost_nusd=0,
            price_version=PRICE,
            http_status=200,
            legs={},
            saved=saved,
        )  # fmt: skip
    )
    run.answered_by, run.answers, run.answer_count = hit.target, hit.answers, hit.answer_count
    run.confidence = hit.confidence
