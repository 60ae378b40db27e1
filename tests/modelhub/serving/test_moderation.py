"""The model server's /v1/moderations over real HTTP: our kinds, OpenAI's names, its meter, and what it refuses."""

import aiohttp
import pytest
from aiohttp import web

from modelhub import artifacts
from modelhub.serving.app import ModelServer
from modelhub.serving.sessions import ModelPool

KEY = {"authorization": "Bearer secret"}


@pytest.fixture
async def url():
    server = ModelServer(ModelPool("private", trunk_dir=None), api_key="secret")
    runner = web.AppRunner(server.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1/moderations"
    await runner.cleanup()


async def ask(url, body, headers=KEY):
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as reply:
        return reply.status, await reply.json(), reply.headers


async def test_texts_are_judged_in_order_and_metered(url):
    texts = ["All immigrants are vermin and should be shot.", *["Where is my card?"] * 70]
    status, body, headers = await ask(url, {"model": "txt-base", "input": texts})
    assert status == 200 and len(body["results"]) == 71
    assert body["results"][0]["flagged"] and not any(row["flagged"] for row in body["results"][1:])
    assert body["usage"]["output_tokens"] == 71 and body["usage"]["input_tokens"] > 71
    assert int(headers["x-accelerator-ns"]) == body["usage"]["accelerator_ns"] > 0


async def test_bad_input_keys_and_an_absent_model_are_answered_in_words(url, monkeypatch):
    assert (await ask(url, {"model": "x", "input": []}))[0] == 400
    assert (await ask(url, {"model": "x", "input": "a"}, {}))[0] == 401
    monkeypatch.setattr(
        artifacts, "find", lambda name: (_ for _ in ()).throw(artifacts.ArtifactMissing("nowhere"))
    )
    status, body, _ = await ask(url, {"model": "x", "input": "a"})
    assert status == 503 and "nowhere" in body["error"]["message"]
