"""The model server: OpenAI-shaped, one process a side, onnxruntime and numpy only.

POST /v1/classifications /v1/predictions /v1/chat/completions /v1/completions /v1/embeddings /v1/moderations
GET  /v1/models /healthz /metrics /activations, and on the external side /bill; POST /control/… (modelhub.serving.control)
"""

from __future__ import annotations

import asyncio
import hmac
import json
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import orjson
from aiohttp import web

from modelhub.ml.activation.recorder import ActivationRecorder
from modelhub.ml.tabular.schema import RecordError
from modelhub.serving.batching import Device
from modelhub.serving.bill import Bill
from modelhub.serving.control import Control
from modelhub.serving.errors import ServingError, invalid
from modelhub.serving.generate import Generation, Generator, Shape, usage_of
from modelhub.serving.inputs import chat_messages, completion_prompt, records, text_list
from modelhub.serving.metrics import Metrics
from modelhub.serving.moderation import Moderation
from modelhub.serving.replies import (
    ASKED_MODEL,
    answering,
    as_base64,
    classified,
    json_response,
    shortened,
    usage_of_items,
)
from modelhub.serving.sessions import Loaded, ModelPool
from modelhub.serving.streams import stream, whole
from modelhub.serving.work import Work, deadline_in

BODY_MAX_BYTES = 12 * 1024 * 1024
DEADLINE_HEADER = "x-switchyard-deadline-ms"
LONGEST_S = 600.0
WAITS = web.RequestKey("waits", bool)  # asked for as work that may wait: the batch share of the price
COUNT_EVERY = 16  # of how many batches one has its experts counted


class ModelServer:
    """Handlers around one ModelPool; compute happens in a single worker thread, one batch at a time."""

    def __init__(
        self, pool: ModelPool, *, api_key: str, bill: Bill | None = None, metrics: Metrics | None = None,
        recorder: ActivationRecorder | None = None, deadline_s: float = LONGEST_S, queue_rows: int = 8192,
    ) -> None:  # fmt: skip
        self.pool, self.bill = pool, bill
        self.metrics = metrics or Metrics()
        self.recorder = recorder or ActivationRecorder()
        pool.watch = self.metrics.event
        pool.counted, pool.count_every = self.recorder.record, COUNT_EVERY
        self._key, self._deadline_s = api_key.encode(), deadline_s
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compute")
        self.device = Device(self._executor, listener=self.metrics, queue_rows=queue_rows)
        self.work = Work(pool, self.device, self.metrics, self.recorder.record, COUNT_EVERY)
        self.control = Control(self)
        self.moderation = Moderation(self)
        self.draining = False

    def application(self) -> web.Application:
        app = web.Application(middlewares=[answering(self)], client_max_size=BODY_MAX_BYTES)
        app.router.add_get("/healthz", self.health)
        app.router.add_get("/metrics", self.show_metrics)
        app.router.add_get("/activations", self.activations)
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/classifications", self.classify)
        app.router.add_post("/v1/predictions", self.predict)
        app.router.add_post("/v1/embeddings", self.embed)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/completions", self.complete)
        if self.bill is None:  # texts are judged at home; a vendor's guard is another deployment
            app.router.add_post("/v1/moderations", self.moderation.answer)
        self.control.routes(app)
        if self.bill is not None:
            app.router.add_get("/bill", self.show_bill)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, app: web.Application) -> None:
        self.control.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
        if self.bill is not None:
            self.bill.close()

    async def warm_up(self) -> None:
        """Load every model before the first request waits for one; one that is refused doesn't stop the others."""
        refused = []
        for model_id in self.pool.ids:
            try:
                await self.in_thread(self.pool.load, model_id)
            except ServingError as error:
                refused.append(error)
        if len(refused) == len(self.pool.ids):
            raise refused[0]

    async def in_thread(self, call: Any, *args: Any) -> Any:
        """In the computing thread, where models are opened and let go."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *args)

    # ------------------------------------------------------------------ requests
    def authorise(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._key):
            raise ServingError(401, "invalid_api_key", "The bearer key of this server is missing or wrong.")

    async def body(self, request: web.Request) -> dict[str, Any]:
        self.authorise(request)
        try:
            body = orjson.loads(await request.read())
        except orjson.JSONDecodeError as error:
            raise ServingError(400, "invalid_json", f"The body is not JSON: {error}.") from None
        if not isinstance(body, dict) or not isinstance(body.get("model"), str):
            raise invalid("The body must be an object with a `model` string.", "model")
        request[ASKED_MODEL] = body["model"].partition("/")[0]
        request[WAITS] = body.get("service_tier") == "flex"
        return body

    def deadline(self, request: web.Request) -> float:
        """When the caller stops waiting: its header in milliseconds, at most this server's own patience."""
        told = request.headers.get(DEADLINE_HEADER)
        if told is None:
            return deadline_in(self._deadline_s)
        try:
            seconds = float(told) / 1000
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            raise invalid(
                f"`{DEADLINE_HEADER}` must be a number of milliseconds, got {told!r}.", DEADLINE_HEADER
            )
        return deadline_in(min(seconds, self._deadline_s))

    def charge(self, request: web.Request, model: str, tokens_in: int, tokens_out: int, elapsed: int) -> None:
        self.metrics.answered(model, elapsed, tokens_in, tokens_out)
        if self.bill is not None:
            request_id = request.headers.get("x-request-id", "")
            self.bill.charge(
                request_id=request_id, model=model, tokens_in=tokens_in, tokens_out=tokens_out,
                waits=request.get(WAITS, False),
            )  # fmt: skip

    async def _resolve(self, name: str, kind: str) -> tuple[Loaded, str]:
        """In memory at once; else off the loop, for a first use reads files."""
        model = self.pool.loaded(name.partition("/")[0])
        if model is not None:
            return self.pool.resolve(name, kind)
        return await self.in_thread(self.pool.resolve, name, kind)

    # ------------------------------------------------------------------ answers
    async def classify(self, request: web.Request) -> web.Response:
        body, deadline = await self.body(request), self.deadline(request)
        texts = text_list(body)
        model, head = await self._resolve(body["model"], "text-classifier")
        with self.pool.room.holding(model.key):
            rows, elapsed = await self.work.classify(model, head, texts, deadline)
        tokens_in = sum(int(row.tokens) for row in rows)
        data = [{"index": i} | classified(row) for i, row in enumerate(rows)]
        return self._listed(request, body["model"], data, tokens_in, elapsed)

    async def predict(self, request: web.Request) -> web.Response:
        body, deadline = await self.body(request), self.deadline(request)
        rows = records(body)
        model, head = await self._resolve(body["model"], "tabular")
        try:
            with self.pool.room.holding(model.key):
                answers, elapsed = await self.work.predict(model, head, rows, deadline)
        except RecordError as error:
            raise invalid(str(error), f"records[{error.index}].{error.column}") from None
        # A record has no tokens of its own: four bytes of its JSON count as one, as vendors' rule of thumb has it.
        tokens_in = sum(math.ceil(len(orjson.dumps(row)) / 4) for row in rows)
        data = [{"index": i} | answer for i, answer in enumerate(answers)]
        return self._listed(request, body["model"], data, tokens_in, elapsed)

    def _listed(
        self, request: web.Request, model: str, data: list[dict[str, Any]], tokens_in: int, elapsed: int
    ) -> web.Response:
        """Charged, then answered: one token out for each row."""
        self.charge(request, model, tokens_in, len(data), elapsed)
        usage = usage_of_items(tokens_in, len(data), elapsed)
        return json_response(
            {"object": "list", "model": model, "data": data, "usage": usage}, accelerator_ns=elapsed
        )

    async def embed(self, request: web.Request) -> web.Response:
        body, deadline = await self.body(request), self.deadline(request)
        texts = text_list(body)
        name = body["model"].partition("/")[0]
        model = self.pool.loaded(name) or await self.in_thread(self.pool.load, name)
        if not getattr(model.runner, "can_embed", False):
            raise ServingError(400, "wrong_endpoint", f"{name} gives no embeddings.")
        with self.pool.room.holding(model.key):
            rows, elapsed = await self.work.embed(model, texts, deadline)
        tokens = sum(int(row[1]) for row in rows)
        self.charge(request, name, tokens, 0, elapsed)
        encode: Any = as_base64 if body.get("encoding_format") == "base64" else np.ndarray.tolist
        vectors = shortened([row[0] for row in rows], body.get("dimensions"))
        data = [{"object": "embedding", "index": i, "embedding": encode(v)} for i, v in enumerate(vectors)]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens, "accelerator_ns": elapsed}
        return json_response(
            {"object": "list", "model": name, "data": data, "usage": usage}, accelerator_ns=elapsed
        )

    async def chat(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, chat=True)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, chat=False)

    async def _generate(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        body, deadline = await self.body(request), self.deadline(request)
        prompt = chat_messages(body) if chat else completion_prompt(body)
        model, _ = await self._resolve(body["model"], "causal-lm")
        generator = Generator(model, self.device, self.work.engine(model), body, prompt, deadline)
        await generator.read()
        shape = Shape(chat=chat, model=body["model"])
        states = [Generation(0) for _ in range(generator.choices)]
        try:
            with self.pool.room.holding(model.key):
                if body.get("stream"):
                    return await stream(request, body, generator, shape, states)
                texts = await asyncio.gather(*(whole(generator, i, s) for i, s in enumerate(states)))
        finally:
            usage = usage_of(states)
            used = usage["accelerator_ns"]
            self.charge(request, body["model"], usage["prompt_tokens"], usage["completion_tokens"], used)
        return json_response(shape.whole(texts, states), accelerator_ns=usage["accelerator_ns"])

    # ------------------------------------------------------------------ reading
    async def models(self, request: web.Request) -> web.Response:
        self.authorise(request)
        data = [
            {"object": "model", "owned_by": "switchyard", "created": 0} | self.pool.describe(model_id)
            for model_id in self.pool.ids
        ]
        return json_response({"object": "list", "data": data})

    async def health(self, request: web.Request) -> web.Response:
        if self.draining:
            return json_response({"status": "draining", "side": self.pool.side}, status=503)
        return json_response({"status": "ok", "side": self.pool.side})

    async def show_metrics(self, request: web.Request) -> web.Response:
        """With the key: names of heads are names of somebody's work."""
        self.authorise(request)
        self.metrics.loaded(
            [self.pool.describe(model_id) for model_id in self.pool.ids], self.pool.room.limit
        )
        return web.Response(body=self.metrics.text(), headers={"content-type": "text/plain; version=0.0.4"})

    async def activations(self, request: web.Request) -> web.Response:
        """Expert counts of closed minutes after a number that the reader remembers."""
        self.authorise(request)
        try:
            number = int(request.query.get("after", "0"))
        except ValueError:
            raise invalid("`after` is the number of the last window that was stored.", "after") from None
        return json_response(self.recorder.after(number, request.query.get("boot", "")))

    async def show_bill(self, request: web.Request) -> web.Response:
        self.authorise(request)
        assert self.bill is not None
        start, end = request.query.get("from", ""), request.query.get("to", "")
        try:
            bill = await asyncio.get_running_loop().run_in_executor(None, self.bill.between, start, end)
        except ValueError as error:
            raise invalid(f"`from` and `to` are ISO times: {error}.", "from") from None
        return web.Response(text=json.dumps(bill), content_type="application/json")
