"""What a model server sends: JSON with its meter beside, errors in OpenAI's shape, scores and usage."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import orjson
from aiohttp import web

from modelhub.artifacts import ArtifactMissing
from modelhub.serving.errors import ServingError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def json_response(
    body: dict[str, Any], *, status: int = 200, accelerator_ns: int | None = None
) -> web.Response:
    headers = {} if accelerator_ns is None else {"x-accelerator-ns": str(accelerator_ns)}
    return web.Response(
        body=orjson.dumps(body), status=status, content_type="application/json", headers=headers
    )


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ServingError as error:
        return json_response(error.body(), status=error.status)
    except ArtifactMissing as error:
        return json_response(ServingError(404, "model_not_found", str(error)).body(), status=404)


def scores_of(names: list[str], scores: np.ndarray) -> list[dict[str, Any]]:
    """Every label with its probability, best first."""
    order = np.argsort(-scores, kind="stable")
    return [{"label": names[i], "score": round(float(scores[i]), 6)} for i in order]


def usage_of_items(tokens_in: int, tokens_out: int, accelerator_ns: int) -> dict[str, int]:
    """A label or a value counts as one token out."""
    return {
        "input_tokens": tokens_in,
        "output_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
        "accelerator_ns": accelerator_ns,
    }


def as_base64(vector: np.ndarray) -> str:
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()
