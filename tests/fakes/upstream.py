"""A real HTTP upstream in a thread: answers like the model servers, and misbehaves on command.

with FakeUpstream() as upstream:
    upstream.next(status(429, retry_after=7), status(500))   # the next two requests; then it behaves again
    upstream.always(black_hole())                            # until .behave()
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from aiohttp import web

from tests.fakes.threads import InThread

Fault = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse | None]]
SERVER: web.AppKey[FakeUpstream] = web.AppKey("server")


@dataclass
class Seen:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Manners:
    """What a well-behaved answer holds."""

    words: list[str] = field(default_factory=lambda: ["All", " is", " well", "."])
    labels: tuple[str, ...] = ("positive", "negative")
    label_of: Callable[[str], str] | None = None
    confidence: float = 0.95
    prompt_label: str | None = None  # what a chat answers when asked for labels; None: the first allowed one
    prediction: Any = 1
    accelerator_ns: int = 2_000_000
    tokens_in: int = 12
    chunk_pause_s: float = 0.0
    report_usage: bool = True
    usage: dict[str, Any] | None = None  # in place of the honest one
    message: dict[str, Any] | None = None  # in place of the words: tool calls, refusals
    deltas: list[dict[str, Any]] | None = None  # the same for a stream, one frame each
    finish: str = "stop"
    more: dict[str, Any] = field(default_factory=dict)  # laid over a whole answer


# ---------------------------------------------------------------------------------------------------- misbehaviour
def status(code: int, *, message: str = "no", retry_after: float | None = None) -> Fault:
    async def fault(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        headers = {} if retry_after is None else {"retry-after": str(retry_after)}
        return web.json_response(
            {"error": {"message": message, "type": "x", "param": None, "code": "x"}},
            status=code, headers=headers,
        )  # fmt: skip

    return fault


def slow(seconds: float) -> Fault:
    """Answers well, later."""

    async def fault(request: web.Request, body: dict[str, Any]) -> None:
        await asyncio.sleep(seconds)

    return fault


def black_hole() -> Fault:
    """Takes the request and never answers."""

    async def fault(request: web.Request, body: dict[str, Any]) -> None:
        await asyncio.sleep(3600)

    return fault


def garbage(text: str = "<html>not json</html>") -> Fault:
    async def fault(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.Response(text=text, content_type="application/json")

    return fault


def reset() -> Fault:
    """Closes the connection without a word."""

    async def fault(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return fault


def cut_stream(after_words: int) -> Fault:
    """A stream that breaks off after so many words."""

    async def fault(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        server = request.app[SERVER]
        response = await server.open_stream(request)
        for frame in list(server.frames(body))[: after_words + 1]:
            await response.write(frame)
        await asyncio.sleep(0.02)
        assert request.transport is not None
        request.transport.abort()
        return response

    return fault


def stall_stream(after_words: int) -> Fault:
    """A stream that falls silent and never ends."""

    async def fault(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        server = request.app[SERVER]
        response = await server.open_stream(request)
        for frame in list(server.frames(body))[: after_words + 1]:
            await response.write(frame)
        await asyncio.sleep(3600)
        return response

    return fault


def raw_stream(*chunks: bytes) -> Fault:
    """Exactly these bytes, each in a write of its own."""

    async def fault(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        server = request.app[SERVER]
        response = await server.open_stream(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0.005)
        return response

    return fault


# ---------------------------------------------------------------------------------------------------------- server
class FakeUpstream(InThread):
    """Started and stopped as a context manager; `url` ends in /v1."""

    def __init__(self, key: str = "upstream-key") -> None:
        super().__init__("fake upstream")
        self.key = key
        self.manners = Manners()
        self.seen: list[Seen] = []
        self.hung_up = 0  # streams whose reader went away
        self.url = ""
        self._faults: deque[Fault] = deque()
        self._always: Fault | None = None
        self._runner: web.AppRunner | None = None

    def next(self, *faults: Fault) -> None:
        self._faults.extend(faults)

    def always(self, fault: Fault) -> None:
        self._always = fault

    def behave(self) -> None:
        """Forget every fault and everything seen."""
        self._faults.clear()
        self._always = None
        self.seen.clear()
        self.hung_up = 0
        self.manners = Manners()

    async def _open(self) -> None:
        app = web.Application(client_max_size=32 * 1024 * 1024)
        app[SERVER] = self
        app.router.add_post("/v1/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/v1"

    async def _close(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        self.seen.append(Seen(request.match_info["path"], dict(request.headers), body))
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "bad key"}}, status=401)
        fault = self._faults.popleft() if self._faults else self._always
        if fault is not None and (response := await fault(request, body)) is not None:
            return response
        answers = {
            "chat/completions": self._chat, "completions": self._chat, "classifications": self._classify,
            "predictions": self._predict, "embeddings": self._embed, "moderations": self._moderate,
        }  # fmt: skip
        return await answers[request.match_info["path"]](request, body)

    # ------------------------------------------------------------------ text
    async def _chat(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body.get("stream"):
            return await self._stream(request, body)
        chat = request.match_info["path"].startswith("chat")
        text = self._labels_as_text(body) or "".join(self.manners.words)
        choices: list[dict[str, Any]] = []
        for i in range(body.get("n") or 1):
            choice: dict[str, Any] = {"index": i, "finish_reason": self.manners.finish, "logprobs": None}
            message = self.manners.message or {"content": text}
            choice |= {"message": {"role": "assistant"} | message} if chat else {"text": text}
            if body.get("logprobs"):
                choice["logprobs"] = {"content": [self._logprob(word) for word in self.manners.words]}
            choices.append(choice)
        reply: dict[str, Any] = {"id": "up-1", "object": "chat.completion" if chat else "text_completion",
                                 "created": 1, "model": body["model"], "choices": choices}  # fmt: skip
        if self.manners.report_usage:
            reply["usage"] = self.usage(len(choices))
        return web.json_response(
            reply | self.manners.more, headers={"x-accelerator-ns": str(self.manners.accelerator_ns)}
        )

    @staticmethod
    def _logprob(word: str) -> dict[str, Any]:
        return {"token": word, "logprob": -0.25, "bytes": list(word.encode()), "top_logprobs": []}

    def _labels_as_text(self, body: dict[str, Any]) -> str:
        form = body.get("response_format") or {}
        if form.get("type") != "json_schema":
            return ""
        labels = form["json_schema"]["schema"].get("properties", {}).get("labels")
        if labels is None:  # somebody's own schema
            return '{"city": "Oslo"}'
        chosen = self.manners.prompt_label or labels["items"]["enum"][0]
        return orjson.dumps({"labels": [chosen] * labels["minItems"]}).decode()

    def usage(self, n: int = 1) -> dict[str, Any]:
        if self.manners.usage is not None:
            return self.manners.usage
        tokens_out = len(self.manners.words) * n
        return {
            "prompt_tokens": self.manners.tokens_in, "completion_tokens": tokens_out,
            "total_tokens": self.manners.tokens_in + tokens_out, "accelerator_ns": self.manners.accelerator_ns,
        }  # fmt: skip

    def frames(self, body: dict[str, Any]) -> Iterator[bytes]:
        """A role frame, then the words of every choice in turn, each choice's end, usage, [DONE]."""
        chat = "messages" in body
        count = body.get("n") or 1
        kind = "chat.completion.chunk" if chat else "text_completion"

        def frame(choices: list[dict[str, Any]], **more: Any) -> bytes:
            head = {"id": "up-1", "object": kind, "created": 1, "model": body["model"], "choices": choices}
            return b"data: " + orjson.dumps(head | more) + b"\n\n"

        def piece(i: int, text: str, finish: str | None = None) -> dict[str, Any]:
            if chat:
                return {"index": i, "delta": {"content": text} if text else {}, "finish_reason": finish}
            return {"index": i, "text": text, "finish_reason": finish}

        if chat:
            yield frame(
                [{"index": i, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
                 for i in range(count)]
            )  # fmt: skip
        for delta in self.manners.deltas or ():
            yield frame([{"index": 0, "delta": delta, "finish_reason": None}])
        for word in self.manners.words if self.manners.deltas is None else ():
            probable = {"logprobs": {"content": [self._logprob(word)]}} if body.get("logprobs") else {}
            for i in range(count):
                yield frame([piece(i, word) | probable])
        yield frame([piece(i, "", self.manners.finish) for i in range(count)])
        if self.manners.report_usage and (body.get("stream_options") or {}).get("include_usage"):
            yield frame([], usage=self.usage(count))
        yield b"data: [DONE]\n\n"

    async def open_stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        return response

    async def _stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = await self.open_stream(request)
        try:
            for frame in self.frames(body):
                await response.write(frame)
                if self.manners.chunk_pause_s:
                    await asyncio.sleep(self.manners.chunk_pause_s)
        except (ConnectionError, asyncio.CancelledError):
            self.hung_up += 1
            raise
        return response

    # ------------------------------------------------------------------ labels, values, vectors
    def _counts(self, answers: int) -> dict[str, Any]:
        return {
            "input_tokens": self.manners.tokens_in, "output_tokens": answers,
            "total_tokens": self.manners.tokens_in + answers, "accelerator_ns": self.manners.accelerator_ns,
        }  # fmt: skip

    async def _classify(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        rows = []
        for i, text in enumerate(body["input"]):
            label = self.manners.label_of(text) if self.manners.label_of else self.manners.labels[0]
            rest = (1 - self.manners.confidence) / max(1, len(self.manners.labels) - 1)
            scores = [
                {"label": name, "score": self.manners.confidence if name == label else rest}
                for name in self.manners.labels
            ]
            rows.append({"index": i, "label": label, "scores": scores})
        return web.json_response(
            {"object": "list", "model": body["model"], "data": rows, "usage": self._counts(len(rows))}
        )

    async def _predict(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        rows = [
            {"index": i, "prediction": self.manners.prediction, "probability": self.manners.confidence}
            for i in range(len(body["records"]))
        ]
        return web.json_response(
            {"object": "list", "model": body["model"], "data": rows, "usage": self._counts(len(rows))}
        )

    async def _moderate(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        rows = [
            {
                "flagged": bad,
                "categories": {"harassment": bad},
                "category_scores": {"harassment": 0.9 if bad else 0.1},
            }
            for bad in ("bad" in text for text in body["input"])
        ]
        return web.json_response(
            {"id": "m", "model": body["model"], "results": rows, "usage": self._counts(len(rows))}
        )

    async def _embed(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        vectors = [np.array([1.0, len(text), 0.5], dtype="<f4") for text in texts]
        as_text = body.get("encoding_format") == "base64"
        data = [
            {"object": "embedding", "index": i,
             "embedding": base64.b64encode(v.tobytes()).decode() if as_text else v.tolist()}
            for i, v in enumerate(vectors)
        ]  # fmt: skip
        return web.json_response(
            {"object": "list", "model": body["model"], "data": data, "usage": self._counts(0)}
        )
