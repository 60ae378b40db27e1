"""/v1/embeddings: the encoding asked for whatever the server sends, refusals in words, and real vectors of the model server."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from aiohttp import web

from modelhub.models import Deployment
from modelhub.serving.errors import ServingError
from modelhub.serving.replies import shortened
from tests.fakes.gateway import RunningGateway
from tests.fakes.stand_in import StandIn


@pytest.mark.parametrize("model", ["auto", "vectors", "private-a"])
def test_auto_a_workload_and_a_deployment_answer_the_official_client(
    gateway: RunningGateway, model: str
) -> None:
    answer = gateway.openai().embeddings.create(model=model, input=["abc", "abcd"])
    assert [row.embedding for row in answer.data] == [[1.0, 3.0, 0.5], [1.0, 4.0, 0.5]]
    assert answer.model == "vectors" and answer.usage.prompt_tokens >= 0


@pytest.mark.parametrize("asked", ["float", "base64"])
def test_a_server_that_knows_one_encoding_only_still_gives_the_one_asked_for(
    gateway: RunningGateway, asked: Any
) -> None:
    """Some servers leave `encoding_format` aside, and rows may come in any order."""

    async def other(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        rows = [{"index": 1, "embedding": "AACAPwAAAEA="}, {"index": 0, "embedding": [3.0, 4.0]}]
        return web.json_response({"data": rows, "usage": {"prompt_tokens": 2, "total_tokens": 2}})

    gateway.external.next(other)
    with gateway.client() as client:
        body = {"model": "vectors", "input": ["a", "b"], "encoding_format": asked}
        rows = client.post("/v1/embeddings", json=body).json()["data"]
    found = [row["embedding"] for row in rows]
    if asked == "base64":
        found = [np.frombuffer(base64.b64decode(value), "<f4").tolist() for value in found]
    assert found == [[3.0, 4.0], [1.0, 2.0]] and [row["index"] for row in rows] == [0, 1]


def test_a_server_with_too_few_or_strange_rows_is_not_believed(gateway: RunningGateway) -> None:
    replies = (
        {"data": []},
        {"data": [{"index": 0}]},
        {"data": [{"embedding": None}]},
        {"data": ["x"]},
        {"data": [{"embedding": []}]},
    )

    def says(told: Any) -> Any:
        async def other(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            return web.json_response(told)

        return other

    for told in replies:
        for upstream in (gateway.external, gateway.private):
            upstream.always(says(told))
        with pytest.raises(openai.APIStatusError) as wrong:
            gateway.openai().embeddings.create(model="vectors", input="a")
        assert wrong.value.status_code in (502, 503), told


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": [1, 2, 3]}, "input"),
        ({"input": [[1, 2], [3]]}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", " "]}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "8"}, "dimensions"),
    ],
)
def test_what_can_not_be_embedded_is_named(
    gateway: RunningGateway, change: dict[str, Any], param: str
) -> None:
    with gateway.client() as client:
        reply = client.post("/v1/embeddings", json={"model": "vectors", "input": "a"} | change)
    assert (
        reply.status_code == 400 and reply.json()["error"]["param"] == param and gateway.external.seen == []
    )


def test_shorter_vectors_are_of_length_one_again() -> None:
    vector = np.array([0.6, 0.0, 0.8], dtype=np.float32)
    [short] = shortened([vector], 2)
    assert short.tolist() == [1.0, 0.0] and shortened([vector], None)[0] is vector
    for wrong in (0, 4, True, "2", 1.0):
        with pytest.raises(ServingError):
            shortened([vector], wrong)


def test_the_model_server_behind_the_gateway_shortens_and_says_what_is_too_long(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    with StandIn(tmp_path, ("support-sentiment",)) as server:
        row = Deployment.objects.get(name="ext-a")
        row.base_url, row.model = server.url, "txt-edge"
        row.save()
        gateway.refresh()
        client = gateway.openai()
        answer = client.embeddings.create(model="vectors", input=["one", "two", "one"], dimensions=2)
        first, second, third = (row.embedding for row in answer.data)
        assert len(first) == 2 and first == third and len(second) == 2
        assert math.isclose(sum(x * x for x in first), 1.0, rel_tol=1e-6)
        with pytest.raises(openai.BadRequestError) as wrong:
            client.embeddings.create(model="vectors", input="one", dimensions=9)
        assert wrong.value.code == "upstream_rejected" and "from 1 to 4" in wrong.value.message
