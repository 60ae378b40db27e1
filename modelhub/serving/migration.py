"""Moving a model to another backend while it answers: open beside, compare, switch, watch, and go back if it must.

    opening → comparing → watching → done
                  └──────────┴──→ returned      the model answers where it did before
    refused: the new backend can't open it

Comparing runs both on the same rows: golden ones that came with the order, then rows of live requests, copied after
they were answered. After the switch the old one is run on live rows for as long again. A label that differs, an error
and time are held to bounds all the while; the first that breaks sends the model back, between two batches, without a
request noticing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from modelhub.serving.errors import ServingError
from modelhub.serving.runtime import brief
from modelhub.serving.sessions import Loaded

log = logging.getLogger(__name__)
BATCH = 32
KEPT_ROWS = 2048  # live rows waiting to be compared; newer ones replace older ones
PATIENCE_S = 120.0
ENDED = ("done", "returned", "refused")
NEAR = 0.01  # of the value: how far two predictions of an amount may lie apart and still be the same


@dataclass(frozen=True, slots=True)
class Bounds:
    """What has to hold: share of equal labels, time against the old backend, rows for each of the two phases."""

    agreement: float = 0.995
    latency_ratio: float = 3.0
    rows: int = 400
    patience_s: float = PATIENCE_S


@dataclass(slots=True)
class Tally:
    """What one phase saw: rows, equal answers, errors, nanoseconds of wall time of both backends on the same rows."""

    rows: int = 0
    agreed: int = 0
    errors: int = 0
    old_ns: int = 0
    new_ns: int = 0

    @property
    def agreement(self) -> float:
        return self.agreed / self.rows if self.rows else 0.0

    @property
    def latency_ratio(self) -> float:
        return self.new_ns / self.old_ns if self.old_ns else 0.0


@dataclass(slots=True)
class Migration:
    """One move. `old` and `new` are both in memory until it ends."""

    id: str
    model: str
    backend: str
    bounds: Bounds
    state: str = "opening"
    why: str = ""
    source: str = ""
    golden: Tally = field(default_factory=Tally)
    compared: Tally = field(default_factory=Tally)
    watched: Tally = field(default_factory=Tally)
    old: Loaded | None = None
    new: Loaded | None = None
    cancelled: bool = False

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def as_dict(self) -> dict[str, Any]:
        told = {name: getattr(self, name) for name in ("id", "model", "backend", "source", "state", "why")}
        for name in ("golden", "compared", "watched"):
            tally: Tally = getattr(self, name)
            told[name] = asdict(tally) | {
                "agreement": round(tally.agreement, 5), "latency_ratio": round(tally.latency_ratio, 3)
            }  # fmt: skip
        return told | {"bounds": asdict(self.bounds)}

    def broken(self, tally: Tally) -> str:
        """Which bound a phase has broken for good, however its remaining rows turn out; empty for none."""
        if self.cancelled:
            return "it was cancelled"
        most_wrong = int((1 - self.bounds.agreement) * max(tally.rows, self.bounds.rows) + 1e-9)
        if tally.errors:
            return f"{self.backend} failed on {tally.errors} batches"
        if tally.rows - tally.agreed > most_wrong:
            return f"{tally.rows - tally.agreed} of {tally.rows} answers differ; at most {most_wrong} may"
        if tally.rows >= self.bounds.rows and tally.latency_ratio > self.bounds.latency_ratio:
            return f"it takes {tally.latency_ratio:.2f} times as long; at most {self.bounds.latency_ratio:g} is allowed"
        return ""


class Mover:
    """Carries migrations out; `offer` is where live batches are copied to. One model moves once at a time."""

    def __init__(self, server: Any, ask: Callable[[Loaded, list[Any]], list[Any]]) -> None:
        self._server, self._ask = server, ask
        self._moves: dict[str, Migration] = {}
        self._live: dict[str, deque[Any]] = {}
        self._failed: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.settled: Callable[[Migration], None] = lambda move: None

    def get(self, move_id: str) -> Migration | None:
        return self._moves.get(move_id)

    def active(self, model: str) -> Migration | None:
        return next((move for move in self._moves.values() if move.model == model and not move.ended), None)

    def start(self, move: Migration, golden: list[Any]) -> Migration:
        """Begin; raises ServingError 409 where the model is on its way already."""
        if self.active(move.model):
            raise ServingError(409, "already_moving", f"{move.model} is being moved already.")
        self._moves[move.id] = move
        task = asyncio.create_task(self._carry_out(move, golden))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return move

    def offer(self, model: Loaded, items: list[Any], rows: list[Any]) -> None:
        """Live rows that were just answered; from the computing thread."""
        waiting = self._live.get(model.id)
        if waiting is not None:
            waiting.extend(items)

    def failed(self, model_id: str) -> None:
        """A live request of a model failed on the server's side."""
        if model_id in self._failed:
            self._failed[model_id] += 1

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    # ------------------------------------------------------------------ the move
    async def _carry_out(self, move: Migration, golden: list[Any]) -> None:
        server, pool = self._server, self._server.pool
        try:
            move.old = await server.in_thread(pool.load, move.model)
            move.source = move.old.backend
            if move.old.backend == move.backend:
                self._end(move, "refused", f"{move.model} runs on {move.backend} already")
                return
            move.new = await server.in_thread(pool.open, move.model, move.backend)
            self._check_opened(move)
            with pool.room.holding(move.old.key), pool.room.holding(move.new.key):
                await self._phases(move, golden)
        except ServingError as error:
            self._end(move, "refused" if move.state == "opening" else "returned", error.message)
        except Exception as error:  # a move that goes wrong must not take the model along
            log.exception("migration %s", move.id)
            self._end(move, "returned", brief(error))

    def _check_opened(self, move: Migration) -> None:
        """A backend that took none of the graphs was not moved to. Raises ServingError."""
        assert move.new is not None
        sessions = move.new.sessions
        if (
            sessions
            and not any(session.runs_on == move.backend for session in sessions)
            and move.backend != "onnxruntime"
        ):
            reasons = [reason for session in sessions for reason in session.refused]
            raise ServingError(
                422,
                "backend_unusable",
                f"{move.backend} took none of {move.model}'s graphs: {'; '.join(reasons[:2])}",
            )

    async def _phases(self, move: Migration, golden: list[Any]) -> None:
        assert move.old is not None and move.new is not None
        self._live[move.model] = deque(maxlen=KEPT_ROWS)
        move.state = "comparing"
        if not await self._compare(move, move.golden, deque(golden), move.old, move.new):
            return
        wanted = max(0, move.bounds.rows - move.golden.rows)
        if wanted and not await self._compare_live(move, move.compared, wanted):
            return
        self._failed[move.model] = 0
        self._live[move.model].clear()
        self._server.pool.swap_held(move.new)
        move.state = "watching"
        if await self._compare_live(move, move.watched, move.bounds.rows, golden):
            self._end(move, "done", "")

    async def _compare_live(
        self, move: Migration, tally: Tally, rows: int, golden: list[Any] | None = None
    ) -> bool:
        """Live rows until there are enough. Without traffic golden rows stand in, once patience is over."""
        until, own = time.monotonic() + move.bounds.patience_s, self._live[move.model]
        while tally.rows < rows:
            if self._gone_back(move, tally):
                return False
            if len(own) >= BATCH or (own and time.monotonic() > until):
                if not await self._compare(move, tally, own, move.old, move.new, rows):
                    return False
            elif time.monotonic() > until:
                if golden:
                    return await self._compare(move, tally, deque(golden), move.old, move.new)
                if tally.rows or move.golden.rows:
                    return True
                self._end(
                    move, "returned", f"no request came within {move.bounds.patience_s:g} s to compare on"
                )
                return False
            else:
                await asyncio.sleep(0.01)
        return True

    async def _compare(
        self, move: Migration, tally: Tally, items: deque[Any], old: Any, new: Any, rows: int | None = None
    ) -> bool:
        """Both on the same rows, a batch at a time between live ones; False when a bound broke and it went back."""
        while items and (rows is None or tally.rows < rows):
            batch = [items.popleft() for _ in range(min(BATCH, len(items)))]
            await self._server.in_thread(self._both, move, tally, batch)
            await asyncio.sleep(0)
            if self._gone_back(move, tally):
                return False
        return True

    def _gone_back(self, move: Migration, tally: Tally) -> bool:
        """Whether a bound broke; then it has."""
        why = move.broken(tally)
        if not why and self._failed.get(move.model):
            why = f"{self._failed[move.model]} live requests failed"
        if why:
            self._end(move, "returned", why)
        return bool(why)

    def _both(self, move: Migration, tally: Tally, batch: list[Any]) -> None:
        """Wall time of both, in turns that alternate so that neither always meets the cold cache."""
        answers: dict[str, list[Any]] = {}
        order = [("old", move.old), ("new", move.new)]
        for name, model in order if tally.rows // BATCH % 2 else reversed(order):
            assert model is not None
            began = time.perf_counter_ns()
            try:
                answers[name] = self._ask(model, batch)
            except Exception as error:
                if name == "old":  # rows that the old one can't answer compare nothing
                    return
                log.warning("%s on %s: %s", move.model, move.backend, brief(error))
                tally.errors += 1
                return
            setattr(tally, f"{name}_ns", getattr(tally, f"{name}_ns") + time.perf_counter_ns() - began)
        tally.rows += len(batch)
        tally.agreed += sum(same(a, b) for a, b in zip(answers["old"], answers["new"], strict=True))

    def _end(self, move: Migration, state: str, why: str) -> None:
        pool = self._server.pool
        self._live.pop(move.model, None)
        self._failed.pop(move.model, None)
        if move.new is not None:
            if state == "done":
                pool.backends[move.model] = move.backend
                if move.old is not None:
                    pool.room.retire(move.old.key)
            else:
                if move.state == "watching" and move.old is not None:
                    pool.swap_held(move.old)
                pool.room.retire(move.new.key)
        move.state, move.why = state, why
        self._server.metrics.event("migrate", model=move.model, state=state)
        self.settled(move)


def same(one: Any, other: Any) -> bool:
    """Whether two answers say the same: label, class, or an amount within a hundredth."""
    if hasattr(one, "label"):
        return one.label == other.label
    left, right = one["prediction"], other["prediction"]
    if isinstance(left, str) or "probability" in one:
        return left == right
    return abs(left - right) <= max(1.0, NEAR * abs(left))
