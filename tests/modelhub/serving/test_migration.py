"""A model moved to another backend while it answers: no failed request, equal labels, and back when a bound breaks."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace

import pytest
from aiohttp import ClientSession, web

from modelhub.serving.app import ModelServer
from modelhub.serving.kept import Kept
from modelhub.serving.memory import Room
from modelhub.serving.migration import Bounds, Migration, Tally, same
from modelhub.serving.sessions import ModelPool
from tests.modelhub.serving.words import TEXTS

KEY = {"authorization": "Bearer secret"}
HEAD = "support-sentiment"


@pytest.fixture
async def served(tmp_path, monkeypatch):
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path))
    server = ModelServer(
        ModelPool("external", trunk_dir=None, ids=["txt-edge"], room=Room(2 * 10**9)), api_key="secret"
    )
    kept = Kept(tmp_path / "serving-external.json")
    server.control.keep = kept.keep
    runner = web.AppRunner(server.application())
    await runner.setup()
    await server.warm_up()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}", headers=KEY) as session:
        yield session, server, kept
    await runner.cleanup()


class Load:
    """Callers who ask without a pause for as long as the block lasts; `statuses` holds what they got."""

    def __init__(self, session: ClientSession, callers: int = 4) -> None:
        self._session, self._callers = session, callers
        self.statuses: list[int] = []

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._ask(start)) for start in range(self._callers)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self, at: int) -> None:
        while True:
            body = {"model": f"txt-edge/{HEAD}", "input": TEXTS[at % len(TEXTS)]}
            async with self._session.post("/v1/classifications", json=body) as response:
                await response.read()
                self.statuses.append(response.status)
            at += 7


async def move(session: ClientSession, **body: object) -> dict:
    """Ordered and followed to its end."""
    order = {"model": "txt-edge", "patience_s": 20, "latency_ratio": 1000} | body
    async with session.post("/control/migrations", json=order) as response:
        told = await response.json()
        assert response.status == 202, told
    until = time.monotonic() + 60
    while told["state"] not in ("done", "returned", "refused") and time.monotonic() < until:
        await asyncio.sleep(0.02)
        async with session.get(f"/control/migrations/{told['id']}") as response:
            told = await response.json()
    return told


async def test_a_live_model_moves_to_another_runtime_under_load_and_no_request_fails(served):
    session, server, kept = served
    golden = [{"head": HEAD, "input": text} for text in TEXTS[:16]]
    async with Load(session) as load:
        told = await move(session, backend="onnx-reference", rows=64, golden=golden, agreement=0.95)
        done = len(load.statuses)
        while len(load.statuses) < done + 8:
            await asyncio.sleep(0.01)
    assert told["state"] == "done", told["why"]
    assert set(load.statuses) == {200}
    assert told["golden"]["rows"] == 16
    assert told["compared"]["rows"] >= 48 and told["watched"]["rows"] >= 64
    assert told["watched"]["agreement"] >= 0.95
    described = server.pool.describe("txt-edge")
    assert (described["backend"], described["runs_on"]) == ("onnx-reference", ["onnx-reference"])
    assert kept.backends() == {"txt-edge": "onnx-reference"}  # a restart keeps it
    assert server.metrics.registry.get_sample_value(
        "switchyard_serving_migrations_total", {"model": "txt-edge", "state": "done"}
    ) == 1  # fmt: skip


async def test_a_backend_that_is_slower_than_allowed_sends_the_model_back(served):
    session, server, kept = served
    golden = [{"head": HEAD, "input": text} for text in TEXTS * 2]
    async with Load(session) as load:
        told = await move(session, backend="onnx-reference", rows=32, latency_ratio=0.5, golden=golden)
    assert told["state"] == "returned"
    assert "times as long" in told["why"]
    assert set(load.statuses) == {200}
    assert server.pool.describe("txt-edge")["backend"] == "onnxruntime"
    assert kept.backends() == {}


async def test_a_backend_that_lies_after_the_switch_sends_the_model_back(served, monkeypatch):
    """It agrees on every row until it has the traffic: only the watch can see it."""
    session, server, _ = served
    real_open = server.pool.open

    def opened(model_id, backend):
        model = real_open(model_id, "onnxruntime")
        if backend == "onnxruntime":
            return model
        classify = model.runner.classify_mixed

        def lies(heads, texts):
            rows = classify(heads, texts)
            if server.pool.loaded("txt-edge") is not lying:
                return rows
            return [replace(row, label=next(n for n in row.label_names if n != row.label)) for row in rows]

        model.runner.classify_mixed = lies
        for graph in model.sessions:
            graph.runs_on = backend
        lying = replace(model, backend=backend)
        return lying

    monkeypatch.setattr(server.pool, "open", opened)
    async with Load(session) as load:
        told = await move(session, backend="openvino", rows=32)
    assert told["state"] == "returned"
    assert "answers differ" in told["why"]
    assert told["compared"]["agreement"] == 1.0
    assert told["watched"]["agreed"] < told["watched"]["rows"]
    assert set(load.statuses) == {200}
    assert server.pool.loaded("txt-edge").backend == "onnxruntime"


async def test_a_device_that_is_not_here_is_refused_and_nothing_changes(served):
    session, server, _ = served
    before = server.pool.loaded("txt-edge")
    told = await move(session, backend="cann", rows=16)
    assert told["state"] == "refused"
    assert "took none" in told["why"]
    assert server.pool.loaded("txt-edge") is before
    async with session.post(
        "/control/migrations", json={"model": "txt-edge", "backend": "abacus"}
    ) as response:
        assert response.status == 400


async def test_a_move_that_is_cancelled_goes_back(served):
    session, server, _ = served
    order = {"model": "txt-edge", "backend": "onnx-reference", "rows": 100_000, "patience_s": 60}
    async with session.post("/control/migrations", json=order) as response:
        told = await response.json()
    async with session.post("/control/migrations", json=order) as response:
        assert response.status == 409  # one at a time
    async with session.post(f"/control/migrations/{told['id']}/cancel", json={}) as response:
        assert response.status == 200
    while server.control.mover.active("txt-edge"):
        await asyncio.sleep(0.01)
    assert server.control.mover.get(told["id"]).why == "it was cancelled"
    assert server.pool.loaded("txt-edge").backend == "onnxruntime"


def test_the_bounds_allow_exactly_what_they_say():
    move = Migration("m", "x", "y", Bounds(agreement=0.995, rows=400, latency_ratio=3))
    assert move.broken(Tally(rows=400, agreed=398)) == ""
    assert "3 of 400" in move.broken(Tally(rows=400, agreed=397))
    assert move.broken(Tally(rows=100, agreed=98)) == ""  # two of four hundred may still differ
    assert "failed on 1" in move.broken(Tally(rows=10, agreed=10, errors=1))
    assert "3.50 times" in move.broken(Tally(rows=400, agreed=400, old_ns=100, new_ns=350))


def test_amounts_are_the_same_within_a_hundredth_and_classes_only_when_equal():
    assert same({"prediction": 1000}, {"prediction": 1009})
    assert not same({"prediction": 1000}, {"prediction": 1011})
    assert not same({"prediction": 0, "probability": 0.4}, {"prediction": 1, "probability": 0.6})
    assert same({"prediction": "bumps"}, {"prediction": "bumps"})


def test_a_file_of_choices_that_is_broken_or_names_what_is_unknown_is_not_used(tmp_path):
    kept = Kept(tmp_path / "k.json")
    assert kept.backends() == {}
    kept.path.write_text(json.dumps({"backends": {"a": "abacus", "b": "openvino"}}))
    assert kept.backends() == {"b": "openvino"}
    kept.path.write_text("{")
    assert kept.backends() == {}
