"""The model server: OpenAI-shaped, one process a side, onnxruntime and numpy only.

POST /v1/classifications /v1/predictions /v1/chat/completions /v1/completions /v1/embeddings
GET  /v1/models /healthz, and on the external side /bill
"""

from __future__ import annotations

import asyncio
import hmac
import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import orjson
from aiohttp import web

from modelhub.serving.batching import MicroBatcher
from modelhub.serving.bill import Bill
from modelhub.serving.errors import ServingError, invalid
from modelhub.serving.generate import Generation, Generator, Shape, usage_of
from modelhub.serving.inputs import chat_messages, completion_prompt, records, text_list
from modelhub.serving.replies import as_base64, errors_as_json, json_response, scores_of, usage_of_items
from modelhub.serving.sessions import KINDS, Loaded, ModelPool

BODY_MAX_BYTES = 12 * 1024 * 1024


class ModelServer:
    """Handlers around one ModelPool; compute happens in a single worker thread, one batch at a time."""

    def __init__(self, pool: ModelPool, *, api_key: str, bill: Bill | None = None) -> None:
        self.pool, self.bill = pool, bill
        self._key = api_key.encode()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compute")
        self._batchers: dict[str, MicroBatcher] = {}

    def application(self) -> web.Application:
        app = web.Application(middlewares=[errors_as_json], client_max_size=BODY_MAX_BYTES)
        app.router.add_get("/healthz", self.health)
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/classifications", self.classify)
        app.router.add_post("/v1/predictions", self.predict)
        app.router.add_post("/v1/embeddings", self.embed)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/completions", self.complete)
        if self.bill is not None:
            app.router.add_get("/bill", self.show_bill)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, app: web.Application) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        if self.bill is not None:
            self.bill.close()

    async def warm_up(self) -> None:
        """Load every model before the first request waits for one."""
        loop = asyncio.get_running_loop()
        for model_id in self.pool.ids:
            await loop.run_in_executor(self._executor, self.pool.load, model_id)

    # ------------------------------------------------------------------ requests
    def _authorise(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._key):
            raise ServingError(401, "invalid_api_key", "The bearer key of this server is missing or wrong.")

    async def _body(self, request: web.Request) -> dict[str, Any]:
        self._authorise(request)
        try:
            body = orjson.loads(await request.read())
        except orjson.JSONDecodeError as error:
            raise ServingError(400, "invalid_json", f"The body is not JSON: {error}.") from None
        if not isinstance(body, dict) or not isinstance(body.get("model"), str):
            raise invalid("The body must be an object with a `model` string.", "model")
        return body

    def _charge(self, request: web.Request, model: str, tokens_in: int, tokens_out: int) -> None:
        if self.bill is not None:
            request_id = request.headers.get("x-request-id", "")
            self.bill.charge(request_id=request_id, model=model, tokens_in=tokens_in, tokens_out=tokens_out)

    async def _load(self, name: str, kind: str) -> tuple[Loaded, str]:
        """Resolve off the loop: a first use reads files."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self.pool.resolve, name, kind)

    def _batcher(self, name: str, model: Loaded, compute: Callable[[list[Any]], list[Any]]) -> MicroBatcher:
        if name not in self._batchers:
            self._batchers[name] = MicroBatcher(compute, executor=self._executor, clock=model.clock)
        return self._batchers[name]

    # ------------------------------------------------------------------ answers
    async def classify(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        texts = text_list(body)
        model, head = await self._load(body["model"], "text-classifier")

        def compute(items: list[str]) -> list[Any]:
            result = model.runner.classify(head, items)
            return list(
                zip(
                    result.labels,
                    result.scores,
                    result.tokens,
                    [result.label_names] * len(items),
                    strict=True,
                )
            )

        weight = sum(len(t) for t in texts)
        rows, elapsed = await self._batcher(body["model"], model, compute).submit(texts, weight)
        tokens_in = sum(int(row[2]) for row in rows)
        data = [
            {"index": i, "label": row[0], "scores": scores_of(row[3], row[1])} for i, row in enumerate(rows)
        ]
        return self._listed(request, body["model"], data, tokens_in, elapsed)

    async def predict(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        rows = records(body)
        model, head = await self._load(body["model"], "tabular")
        from modelhub.serving.runners.tabular import RecordError

        def compute(items: list[dict[str, Any]]) -> list[Any]:
            return model.runner.predict(head, items)

        try:
            answers, elapsed = await self._batcher(body["model"], model, compute).submit(rows, len(rows))
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
        self._charge(request, model, tokens_in, len(data))
        usage = usage_of_items(tokens_in, len(data), elapsed)
        return json_response(
            {"object": "list", "model": model, "data": data, "usage": usage}, accelerator_ns=elapsed
        )

    async def embed(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        texts = text_list(body)
        name = body["model"].partition("/")[0]
        if name not in self.pool.ids:
            raise ServingError(404, "model_not_found", f"This server has no model {name!r}.")
        model = await asyncio.get_running_loop().run_in_executor(self._executor, self.pool.load, name)
        if not getattr(model.runner, "can_embed", False):
            raise ServingError(400, "wrong_endpoint", f"{name} gives no embeddings.")

        def compute(items: list[str]) -> list[Any]:
            return list(zip(model.runner.embed(items), model.runner.count_tokens(items), strict=True))

        rows, elapsed = await self._batcher(f"{name}#embed", model, compute).submit(
            texts, sum(map(len, texts))
        )
        tokens = sum(int(row[1]) for row in rows)
        self._charge(request, name, tokens, 0)
        encode: Any = as_base64 if body.get("encoding_format") == "base64" else np.ndarray.tolist
        data = [
            {"object": "embedding", "index": i, "embedding": encode(row[0])} for i, row in enumerate(rows)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens, "accelerator_ns": elapsed}
        return json_response(
            {"object": "list", "model": name, "data": data, "usage": usage}, accelerator_ns=elapsed
        )

    async def chat(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, chat=True)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, chat=False)

    async def _generate(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        body = await self._body(request)
        prompt = chat_messages(body) if chat else completion_prompt(body)
        model, _ = await self._load(body["model"], "causal-lm")
        generator = Generator(model, self._executor, body, prompt)
        await generator.read()
        shape = Shape(chat=chat, model=body["model"])
        states = [Generation(0) for _ in range(generator.choices)]
        try:
            if body.get("stream"):
                return await self._stream(request, body, generator, shape, states)
            texts = ["".join([p async for p in generator.pieces(i, s)]) for i, s in enumerate(states)]
        finally:
            usage = usage_of(states)
            self._charge(request, body["model"], usage["prompt_tokens"], usage["completion_tokens"])
        return json_response(shape.whole(texts, states), accelerator_ns=usage["accelerator_ns"])

    async def _stream(
        self,
        request: web.Request,
        body: dict[str, Any],
        generator: Generator,
        shape: Shape,
        states: list[Generation],
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"content-type": "text/event-stream", "cache-control": "no-cache"}
        )
        await response.prepare(request)

        async def send(chunk: dict[str, Any]) -> None:
            await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")

        for index, state in enumerate(states):
            if shape.chat:
                await send(shape.chunk(index, "", first=True))
            async for piece in generator.pieces(index, state):
                await send(shape.chunk(index, piece))
            await send(shape.chunk(index, None, finish=state.finish_reason))
        if (body.get("stream_options") or {}).get("include_usage"):
            await send(shape.usage_chunk(states))
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    # ------------------------------------------------------------------ reading
    async def models(self, request: web.Request) -> web.Response:
        self._authorise(request)
        data = []
        for model_id in self.pool.ids:
            model = await asyncio.get_running_loop().run_in_executor(self._executor, self.pool.load, model_id)
            data.append(
                {
                    "id": model_id,
                    "object": "model",
                    "owned_by": "switchyard",
                    "created": 0,
                    "task": KINDS[model.kind],
                    "heads": sorted(model.manifest.get("heads", {})),
                    "providers": getattr(model.runner, "providers", ["CPUExecutionProvider"]),
                }
            )
        return json_response({"object": "list", "data": data})

    async def health(self, request: web.Request) -> web.Response:
        return json_response({"status": "ok", "side": self.pool.side})

    async def show_bill(self, request: web.Request) -> web.Response:
        self._authorise(request)
        assert self.bill is not None
        start, end = request.query.get("from", ""), request.query.get("to", "")
        try:
            bill = await asyncio.get_running_loop().run_in_executor(None, self.bill.between, start, end)
        except ValueError as error:
            raise invalid(f"`from` and `to` are ISO times: {error}.", "from") from None
        return web.Response(text=json.dumps(bill), content_type="application/json")
