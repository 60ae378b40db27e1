"""POST /v1/moderations: the risk model's scores of texts, under our kinds and under OpenAI's names."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from aiohttp import web

from modelhub import artifacts
from modelhub.serving.errors import ServingError
from modelhub.serving.inputs import text_list
from modelhub.serving.replies import json_response, usage_of_items
from modelhub.serving.runners.risk import RiskModel

MODEL = "risk-guard"
AT_ONCE = 64  # texts between two turns of the device
BYTES_A_TOKEN = 4
# OpenAI's categories that one of our kinds answers; the others aren't measured here: never flagged, and said to be so.
OPENAI = {"hate": ("harm",), "harassment": ("abuse",)}
UNMEASURED = (
    "hate/threatening", "harassment/threatening", "illicit", "illicit/violent", "self-harm", "self-harm/intent",
    "self-harm/instructions", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip


class Moderation:
    """The endpoint on one server; its model is read at the first request and again when its artifact changes."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self._model: RiskModel | None = None
        self._digest = ""

    def model(self) -> RiskModel:
        """Raises ServingError 503 where no risk model can be loaded."""
        try:
            folder = artifacts.find(MODEL)
            digest = artifacts.digest(folder / artifacts.MANIFEST)
            if self._model is None or digest != self._digest:
                self._model, self._digest = RiskModel(folder), digest
        except (artifacts.ArtifactMissing, artifacts.ArtifactCorrupt) as error:
            raise ServingError(503, "model_refused", f"The risk model can't be served: {error}.") from None
        return self._model

    async def answer(self, request: web.Request) -> web.Response:
        body = await self.server.body(request)
        texts = text_list(body)
        kinds: list[np.ndarray] = []
        elapsed = 0
        model = await self.server.in_thread(self.model)
        for start in range(0, len(texts), AT_ONCE):
            scores, taken = await self.server.in_thread(_scored, model, texts[start : start + AT_ONCE])
            kinds.append(scores)
            elapsed += taken
        rows = np.concatenate(kinds)
        tokens = sum(math.ceil(len(text.encode()) / BYTES_A_TOKEN) for text in texts)
        self.server.charge(request, MODEL, tokens, len(texts), elapsed)
        results = [
            result_of(dict(zip(model.kinds, map(float, row), strict=True)), model.threshold) for row in rows
        ]
        usage = usage_of_items(tokens, len(texts), elapsed)
        told = {"id": "modr", "model": body["model"], "results": results, "usage": usage}
        return json_response(told, accelerator_ns=elapsed)


def _scored(model: RiskModel, texts: list[str]) -> tuple[np.ndarray, int]:
    """(N, kinds) and the nanoseconds of this thread."""
    began = time.thread_time_ns()
    return model.score_kinds(texts), max(1, time.thread_time_ns() - began)


def result_of(scores: dict[str, float], threshold: float) -> dict[str, Any]:
    """One text's verdict. A kind is flagged when its score isn't surely below the threshold, so a NaN is flagged; abuse
    (swearing, insults to one person) is told and doesn't flag by itself."""
    ours = {name: _finite(score) for name, score in scores.items()}
    flags = {name: not score < threshold for name, score in scores.items()}
    theirs = {name: max(ours[kind] for kind in kinds) for name, kinds in OPENAI.items()}
    categories = flags | {name: any(flags[kind] for kind in kinds) for name, kinds in OPENAI.items()}
    return {
        "flagged": any(flag for name, flag in flags.items() if name != "abuse"),
        "categories": categories | dict.fromkeys(UNMEASURED, False),
        "category_scores": ours | theirs | dict.fromkeys(UNMEASURED, 0.0),
        "category_applied_input_types": {name: ["text"] for name in (*ours, *theirs)},
        "switchyard": {"threshold": threshold, "not_measured": list(UNMEASURED)},
    }


def _finite(score: float) -> float:
    """JSON has no NaN: what is no number counts as certain."""
    return round(score, 6) if math.isfinite(score) else 1.0
