"""What operators tell a running server, with its key: load a head, take a new version, move to another backend.

POST /control/load {"model": "txt-base/support-intent@ft-1"}     GET /control/migrations/<id>
POST /control/reload {"model"?}                                  POST /control/migrations {"model", "backend", "golden"?, …}
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from aiohttp import web

from modelhub.serving.errors import ModelRefused, ServingError, invalid
from modelhub.serving.inputs import number
from modelhub.serving.migration import Bounds, Migration, Mover
from modelhub.serving.replies import json_response
from modelhub.serving.runtime import BACKENDS
from modelhub.serving.work import record_rows, text_rows
from switchyard.core.ids import new_id

log = logging.getLogger(__name__)
MOST_GOLDEN = 5000


class Control:
    """Handlers that change what runs. `keep(model, backend)` writes a finished move down, so a restart keeps it."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.mover = Mover(server, _ask)
        self.keep: Callable[[str, str], None] = lambda model, backend: None
        self.mover.settled = self._settled
        server.work.shadow = self.mover.offer

    def routes(self, app: web.Application) -> None:
        app.router.add_post("/control/load", self.load)
        app.router.add_post("/control/reload", self.reload)
        app.router.add_post("/control/migrations", self.migrate)
        app.router.add_get("/control/migrations/{id}", self.migration)
        app.router.add_post("/control/migrations/{id}/cancel", self.cancel)

    def close(self) -> None:
        self.mover.close()

    async def load(self, request: web.Request) -> web.Response:
        """Bring a model, and a head of it, into memory before anybody waits for it; says when it is refused."""
        body = await self.server.body(request)
        model_id, _, head = body["model"].partition("/")
        model = await self.server.in_thread(self.server.pool.load, model_id)
        if head:
            check = getattr(model.runner, "check_head", None)
            if check is None:
                raise invalid(f"{model_id} has no heads that are loaded one by one.", "model")
            await self.server.in_thread(check, head)
        return json_response({"model": body["model"], "version": model.version})

    async def reload(self, request: web.Request) -> web.Response:
        """Take what lies on disk now, without a request failing; with a name that model, else whatever changed."""
        self.server.authorise(request)
        body = await request.json() if request.can_read_body else {}
        named = body.get("model") if isinstance(body, dict) else None
        if named is not None and named not in self.server.pool.ids:
            raise ServingError(404, "model_not_found", f"This server has no model {named!r}.")
        return json_response({"reloaded": await self.take_new([named] if named else None)})

    async def take_new(self, names: list[str] | None = None) -> list[dict[str, str]]:
        """Reload the named models, or those that changed on disk; a refused version leaves the old one in place."""
        pool, found = self.server.pool, []
        changed = await self.server.in_thread(pool.changed) if names is None else names
        for model_id in changed:
            if self.mover.active(model_id):
                continue  # it is on its way elsewhere; the next look takes the new version
            try:
                model = await self.server.in_thread(pool.reload, model_id)
            except ModelRefused as error:
                if names is not None:
                    raise
                log.error("the new version is refused and the old one goes on: %s", error.message)
                continue
            found.append({"model": model_id, "version": model.version})
        return found

    async def migrate(self, request: web.Request) -> web.Response:
        body = await self.server.body(request)
        model_id, backend = body["model"].partition("/")[0], body.get("backend")
        if model_id not in self.server.pool.ids:
            raise ServingError(404, "model_not_found", f"This server has no model {model_id!r}.")
        if backend not in BACKENDS:
            raise invalid(f"`backend` must be one of {', '.join(BACKENDS)}; got {backend!r}.", "backend")
        model = await self.server.in_thread(self.server.pool.load, model_id)
        if model.kind == "causal-lm":
            raise invalid("A language model is not moved: its answers can't be compared by label.", "model")
        usual = Bounds()
        bounds = Bounds(
            agreement=number(body, "agreement", usual.agreement, 0.5, 1),
            latency_ratio=number(body, "latency_ratio", usual.latency_ratio, 0.01, 1000),
            rows=int(number(body, "rows", usual.rows, 1, 1_000_000)),
            patience_s=number(body, "patience_s", usual.patience_s, 0, 3600),
        )
        move = Migration(new_id("mig"), model_id, backend, bounds)
        self.mover.start(move, _golden(body, model.kind))
        return json_response(move.as_dict(), status=202)

    async def migration(self, request: web.Request) -> web.Response:
        return json_response(self._named(request).as_dict())

    async def cancel(self, request: web.Request) -> web.Response:
        """The model goes back between two batches; a move that has ended stays as it is."""
        move = self._named(request)
        move.cancelled = True
        return json_response(move.as_dict())

    def _named(self, request: web.Request) -> Migration:
        self.server.authorise(request)
        move = self.mover.get(request.match_info["id"])
        if move is None:
            raise ServingError(
                404, "not_found", "This server knows no such migration; it may have been restarted."
            )
        return move

    def _settled(self, move: Migration) -> None:
        if move.state == "done":
            self.keep(move.model, move.backend)


def _golden(body: dict[str, Any], kind: str) -> list[Any]:
    """[{"head", "input"}] as the items of a lane. Raises ServingError 400."""
    rows = body.get("golden", [])
    wanted = str if kind == "text-classifier" else dict
    fits = isinstance(rows, list) and len(rows) <= MOST_GOLDEN
    if not fits or not all(
        isinstance(row, dict) and isinstance(row.get("head"), str) and isinstance(row.get("input"), wanted)
        for row in rows
    ):
        raise invalid(f"`golden` must be at most {MOST_GOLDEN} objects of `head` and `input`.", "golden")
    if kind == "text-classifier":
        return [(row["head"], row["input"]) for row in rows]
    return [(row["head"], row["input"], place) for place, row in enumerate(rows)]


def _ask(model: Any, items: list[Any]) -> list[Any]:
    return (
        text_rows(model.runner, items)
        if model.kind == "text-classifier"
        else record_rows(model.runner, items)
    )
