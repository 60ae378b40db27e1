"""What a model server sends: JSON with its meter beside, errors in OpenAI's shape, scores and usage."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import orjson
from aiohttp import web

from modelhub.artifacts import ArtifactCorrupt, ArtifactMissing
from modelhub.serving.errors import NotFinite, ServingError, invalid
from modelhub.serving.runners.heads import HeadMissing

LEFT = 499  # as nginx counts callers who hung up
ASKED_MODEL = web.RequestKey("asked_model", str)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def json_response(
    body: dict[str, Any],
    *,
    status: int = 200,
    accelerator_ns: int | None = None,
    headers: dict[str, str] | None = None,
) -> web.Response:
    sent = dict(headers or {})
    if accelerator_ns is not None:
        sent["x-accelerator-ns"] = str(accelerator_ns)
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=sent)


def answering(server: Any) -> Any:
    """Middleware: errors leave in OpenAI's shape, every answer is counted, and a server that stops takes on nothing new."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        response: web.StreamResponse
        try:
            if server.draining and request.method == "POST":
                raise ServingError(503, "draining", "This server is stopping; ask another.", retry_after_s=1)
            response = await handler(request)
        except ServingError as error:
            if isinstance(error, NotFinite):
                server.metrics.event("not_finite", **error.detail)
            response = json_response(error.body(), status=error.status, headers=error.headers())
        except HeadMissing as error:
            response = json_response(ServingError(404, "model_not_found", str(error)).body(), status=404)
        except ArtifactMissing as error:
            response = json_response(ServingError(404, "model_not_found", str(error)).body(), status=404)
        except ArtifactCorrupt as error:
            told = ServingError(503, "artifact_corrupt", f"{error}.")
            response = json_response(told.body(), status=503)
        except ConnectionResetError:  # the caller went away in the middle: nobody reads what we say now
            response = web.Response(status=LEFT)
        except web.HTTPException as error:
            server.metrics.ended(request.path if error.status != 404 else "other", error.status)
            raise
        if server.draining:
            response.force_close()
        server.metrics.ended(request.path, response.status)
        if response.status >= 500 and response.status != 504 and ASKED_MODEL in request:
            server.control.mover.failed(request[ASKED_MODEL])
        return response

    return middleware


def scores_of(names: list[str], scores: np.ndarray) -> list[dict[str, Any]]:
    """Every label with its probability, best first."""
    order = np.argsort(-scores, kind="stable")
    return [{"label": names[i], "score": round(float(scores[i]), 6)} for i in order]


def classified(row: Any) -> dict[str, Any]:
    """One text's answer. Where the model's own operator stopped it, there is no label and no score, and it says so."""
    told = {"blocked": True} if getattr(row, "blocked", False) else {}
    if (risk := getattr(row, "risk", None)) is not None:
        told["risk"] = risk
    if told.get("blocked"):
        return {"label": None, "scores": []} | told
    return {"label": row.label, "scores": scores_of(row.label_names, row.scores)} | told


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


def shortened(vectors: list[np.ndarray], dimensions: Any) -> list[np.ndarray]:
    """The first so many numbers of each, of length one again; all of them where no number is asked for.

    Raises ServingError for a number that isn't there. What a shorter vector is worth stands in docs/reference/endpoints.md.
    """
    if dimensions is None or not vectors:
        return vectors
    width = len(vectors[0])
    if isinstance(dimensions, bool) or not isinstance(dimensions, int) or not 1 <= dimensions <= width:
        raise invalid(f"`dimensions` must be a whole number from 1 to {width}.", "dimensions")
    cut = [vector[:dimensions] for vector in vectors]
    return [vector / max(float(np.linalg.norm(vector)), 1e-12) for vector in cut]
