"""The external stand-in itself, its real handlers and its real bill, around runners too small to need weights."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from aiohttp import web

from modelhub.serving.app import ModelServer
from modelhub.serving.bill import Bill
from modelhub.serving.sessions import Loaded, ModelPool
from tests.fakes.threads import InThread

LABELS = ["positive", "negative"]
MODELS = ("txt-edge", "lm-tiny")


class TinyText:
    can_embed = True
    providers = ["CPUExecutionProvider"]

    def classify(self, head: str, texts: list[str]) -> Any:
        scores = np.array([[0.9, 0.1] if "good" in t else [0.2, 0.8] for t in texts], dtype=np.float32)
        labels = [LABELS[int(row.argmax())] for row in scores]
        tokens = [len(t.split()) + 2 for t in texts]
        return SimpleNamespace(labels=labels, scores=scores, tokens=tokens, label_names=LABELS)

    def embed(self, texts: list[str]) -> np.ndarray:
        return np.ones((len(texts), 4), dtype=np.float32) / 2

    def count_tokens(self, texts: list[str]) -> list[int]:
        return [len(t.split()) for t in texts]


class TinyLm:
    pause_s = 0.0

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def chat_prompt(self, messages: list[dict[str, Any]]) -> list[int]:
        return self.encode("\n".join(m["content"] for m in messages))

    def stream(self, ids: Any, *, max_tokens: int, **_: Any) -> Any:
        for token in range(max_tokens):
            time.sleep(self.pause_s)
            yield " word", token


class StandIn(InThread):
    """Started and stopped as a context manager; `url` ends in /v1. Every model has one price, in dollars a million."""

    def __init__(
        self, folder: Path, heads: tuple[str, ...], *, price_in: str = "0.05", price_out: str = "0.40"
    ) -> None:
        super().__init__("stand-in")
        self.key, self.lm = "upstream-key", TinyLm()
        prices = folder / "prices.json"
        sheet = {m: {"input_usd_per_mtok": price_in, "output_usd_per_mtok": price_out} for m in MODELS}
        prices.write_text(json.dumps(sheet))
        self.bill = Bill(folder / "bill.db", prices)
        pool = ModelPool("external", trunk_dir=None)
        known = {"heads": {head: {"labels": LABELS} for head in heads}}
        pool._loaded = {
            "txt-edge": Loaded("txt-edge", "text-classifier", TinyText(), known, time.thread_time_ns),
            "lm-tiny": Loaded("lm-tiny", "causal-lm", self.lm, {}, time.thread_time_ns),
        }
        self._server = ModelServer(pool, api_key=self.key, bill=self.bill)
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def _open(self) -> None:
        self._runner = web.AppRunner(self._server.application(), shutdown_timeout=0.2, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def _close(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()
