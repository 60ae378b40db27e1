"""Health probes: a look at each deployment's server from time to time, so that callers needn't be the ones who find it dead.

One process of all looks at each server in an interval (a claim in Valkey says which), by `GET /models`, which costs nothing
anywhere. Any answer below 500 is a living server: what a wrong key gets is the caller's trouble, and told there. Two looks in
a row that met nobody (refused, reset, no such host, an answer of 500 and above) open the deployment's breaker for every
process; only a call that goes well closes it. A server that is slow to answer a look may be busy with work, and isn't dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import aiohttp
import orjson

from costs.contracts import Outcome
from costs.link import LinkDown, ValkeyLink
from routing.contracts import DeploymentInfo
from routing.execution.base import address_of, own_headers
from routing.execution.openai_http import connector_of, way_to

log = logging.getLogger(__name__)
CONNECT_S, ANSWER_S = 3.0, 10.0
AT_ONCE = 8
DEAD_AFTER = 2  # looks in a row
OPENS = 5  # failures in a row that open a breaker (costs/admission.lua)
KEPT_S = 3600
Tell = Callable[[int, Sequence[Outcome]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Health:
    """What a look found: "alive", "slow" or "dead", and why not."""

    state: str
    why: str
    ms: float


class Prober:
    """One per process. `deployments` gives those of the present snapshot; `tell` is admission's."""

    def __init__(
        self,
        url: str,
        *,
        every_s: float,
        deployments: Callable[[], Iterable[DeploymentInfo]],
        tell: Tell,
        check_address: Callable[[str, str], None] | None = None,
        proxy: str = "",
    ) -> None:
        self.every_s, self._proxy = every_s, proxy
        self._deployments, self._tell, self._check_address = deployments, tell, check_address
        self._link = ValkeyLink(url)
        self._task: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    def start(self) -> None:
        if self.every_s > 0:
            self._task = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._session is not None:
            await self._session.close()
        self._link.close()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self.every_s)
            try:
                await self.round()
            except (LinkDown, RuntimeError):
                continue  # without Valkey nobody would hear of it
            except Exception:
                log.exception("a round of health probes failed; trying again")

    async def round(self) -> None:
        """Look at each server that nobody else looked at in this interval."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(target: DeploymentInfo) -> None:
            async with turns:
                await self._look(target)

        await asyncio.gather(*(one(target) for target in list(self._deployments())))

    async def _look(self, target: DeploymentInfo) -> None:
        name = f"{target.organisation_id}:{target.name}"
        claim_ms = str(int(900 * self.every_s))
        if await self._link.call("SET", f"sy:probe:{name}", "1", "NX", "PX", claim_ms) is None:
            return
        health = await self.ask(target)
        known = orjson.loads(await self._link.call("GET", f"sy:health:{name}") or b"{}")
        in_a_row = known.get("in_a_row", 0) + 1 if health.state == "dead" else 0
        told = {
            "at": time.time(), "state": health.state, "why": health.why, "ms": round(health.ms, 1), "in_a_row": in_a_row,
        }  # fmt: skip
        await self._link.call("SET", f"sy:health:{name}", orjson.dumps(told), "EX", str(KEPT_S))
        if in_a_row >= DEAD_AFTER:
            if in_a_row == DEAD_AFTER:
                log.warning("%s doesn't answer (%s): its breaker opens", target.name, health.why)
            await self._tell(target.organisation_id, [(target.name, False)] * OPENS)

    async def ask(self, target: DeploymentInfo) -> Health:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=connector_of(self._check_address, self._proxy, force_close=True), trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            )  # fmt: skip
        began = time.perf_counter()
        state, why = "alive", ""
        try:
            async with (
                asyncio.timeout(ANSWER_S),
                self._session.get(
                    address_of(target.base_url, "/models"),
                    headers=own_headers(target),
                    allow_redirects=False,
                    proxy=way_to(target, self._proxy),
                ) as response,  # fmt: skip
            ):
                if response.status >= 500:
                    state, why = "dead", f"it answered {response.status}"
        except (
            aiohttp.ClientError,
            OSError,
        ) as error:  # TimeoutError is an OSError: only our own clock's means slow
            slow = type(error) is TimeoutError
            state, why = (
                "slow" if slow else "dead",
                f"no answer in {ANSWER_S:g} s" if slow else type(error).__name__,
            )
        return Health(state, why, 1000 * (time.perf_counter() - began))
