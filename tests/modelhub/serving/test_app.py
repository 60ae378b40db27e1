"""The model server over real HTTP with small fake runners: shapes, keys, faults, streams, the bill."""

import base64
import json
import time
from decimal import Decimal

import aiohttp
import numpy as np
import pytest
from aiohttp import web

from modelhub.serving.app import ModelServer
from modelhub.serving.bill import Bill
from modelhub.serving.sessions import Loaded, ModelPool

KEY = {"authorization": "Bearer secret"}


class TinyText:
    can_embed = True
    providers = ["CPUExecutionProvider"]

    def classify(self, head, texts):
        from types import SimpleNamespace

        scores = np.array([[0.9, 0.1] if "good" in t else [0.2, 0.8] for t in texts], dtype=np.float32)
        names = ["positive", "negative"]
        labels = [names[int(row.argmax())] for row in scores]
        return SimpleNamespace(
            labels=labels, scores=scores, tokens=[len(t.split()) for t in texts], label_names=names
        )

    def embed(self, texts):
        return np.ones((len(texts), 4), dtype=np.float32) / 2

    def count_tokens(self, texts):
        return [len(t.split()) for t in texts]


class TinyLm:
    def encode(self, text):
        return list(text.encode())

    def chat_prompt(self, messages):
        return self.encode("\n".join(m["content"] for m in messages))

    def stream(self, ids, *, max_tokens, temperature, top_p, seed, stop):
        for token in range(min(max_tokens, 5)):
            yield "é" if token == 2 else "x", token


@pytest.fixture
async def server(tmp_path):
    pool = ModelPool("external", trunk_dir=None)
    heads = {"support-sentiment": {"labels": ["positive", "negative"]}}
    pool._loaded = {
        "txt-edge": Loaded("txt-edge", "text-classifier", TinyText(), {"heads": heads}, time.thread_time_ns),
        "lm-tiny": Loaded("lm-tiny", "causal-lm", TinyLm(), {}, time.thread_time_ns),
    }
    prices = tmp_path / "prices.json"
    sheet = {
        m: {"input_usd_per_mtok": "0.10", "output_usd_per_mtok": "0.40"} for m in ("txt-edge", "lm-tiny")
    }
    prices.write_text(json.dumps(sheet))
    bill = Bill(tmp_path / "bill.db", prices)
    runner = web.AppRunner(ModelServer(pool, api_key="secret", bill=bill).application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=KEY) as session:
        yield session
    await runner.cleanup()


async def test_a_classification_has_label_scores_and_usage(server):
    body = {"model": "txt-edge/support-sentiment", "input": ["good thing", "dull"]}
    async with server.post("/v1/classifications", json=body) as response:
        answer = await response.json()
        assert response.status == 200
        assert int(response.headers["x-accelerator-ns"]) > 0
    assert [d["label"] for d in answer["data"]] == ["positive", "negative"]
    assert answer["data"][1]["scores"][0]["label"] == "negative"
    assert answer["usage"]["input_tokens"] == 3
    assert answer["usage"]["output_tokens"] == 2


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/classifications", {"model": "txt-edge/none", "input": "x"}, 404, "model_not_found"),
        ("/v1/classifications", {"model": "nothing", "input": "x"}, 404, "model_not_found"),
        ("/v1/classifications", {"model": "txt-edge/support-sentiment", "input": []}, 400, "invalid_value"),
        ("/v1/classifications", {"model": "txt-edge/support-sentiment", "input": [1]}, 400, "invalid_value"),
        ("/v1/classifications", {"model": "lm-tiny", "input": "x"}, 400, "wrong_endpoint"),
        ("/v1/chat/completions", {"model": "lm-tiny", "messages": "x"}, 400, "invalid_value"),
        ("/v1/chat/completions", {"model": "txt-edge/support-sentiment", "messages": [{"content": "x"}]}, 400, "wrong_endpoint"),
        ("/v1/completions", {"model": "lm-tiny", "prompt": "x", "max_tokens": 0}, 400, "invalid_value"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_named(server, path, body, status, code):
    async with server.post(path, json=body) as response:
        assert response.status == status
        assert (await response.json())["error"]["code"] == code


async def test_no_key_no_answer(server):
    headers = {"authorization": "Bearer wrong"}
    async with server.post("/v1/classifications", json={"model": "txt-edge"}, headers=headers) as response:
        assert response.status == 401


async def test_a_stream_ends_with_a_reason_the_usage_and_done(server):
    body = {
        "model": "lm-tiny", "messages": [{"role": "user", "content": "def"}], "stream": True, "max_tokens": 3,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    async with server.post("/v1/chat/completions", json=body) as response:
        lines = [line for line in (await response.text()).split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line[6:]) for line in lines[:-1]]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks[:-1]) == "xxé"
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 3


async def test_a_whole_answer_may_have_several_choices(server):
    body = {"model": "lm-tiny", "messages": [{"role": "user", "content": "a"}], "n": 2}
    async with server.post("/v1/chat/completions", json=body) as response:
        answer = await response.json()
    assert [c["index"] for c in answer["choices"]] == [0, 1]
    assert answer["usage"]["completion_tokens"] == 10
    assert answer["choices"][0]["finish_reason"] == "stop"


async def test_embeddings_come_as_floats_or_base64(server):
    body = {"model": "txt-edge", "input": "two words"}
    async with server.post("/v1/embeddings", json=body) as response:
        plain = (await response.json())["data"][0]["embedding"]
    async with server.post("/v1/embeddings", json=body | {"encoding_format": "base64"}) as response:
        packed = (await response.json())["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(packed), dtype="<f4").tolist() == plain


async def test_the_bill_holds_each_call_under_the_callers_id(server):
    body = {"model": "txt-edge/support-sentiment", "input": "good"}
    for number in range(3):
        async with server.post("/v1/classifications", json=body, headers={"x-request-id": f"req_{number}"}):
            pass
    async with server.get("/bill") as response:
        bill = await response.json()
    assert [row["request_id"] for row in bill["rows"]] == ["req_0", "req_1", "req_2"]
    assert sum(Decimal(row["cost_usd"]) for row in bill["rows"]) == Decimal(bill["total_usd"])
    assert Decimal(bill["rows"][0]["cost_usd"]) == Decimal("0.0000005")  # 1 × 0.10 + 1 × 0.40 per million


async def test_the_bill_is_nobody_elses_business(server):
    async with server.get("/bill", headers={"authorization": "Bearer x"}) as response:
        assert response.status == 401
