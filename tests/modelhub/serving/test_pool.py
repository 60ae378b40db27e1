"""What is in memory: admitted by what it takes, idle ones leave first, versions change without a failed request."""

from __future__ import annotations

import asyncio
import json
import shutil

import numpy as np
import pytest
from aiohttp import ClientSession, web

from modelhub import artifacts
from modelhub.ml.adapters import finetune
from modelhub.serving.app import ModelServer
from modelhub.serving.errors import ModelRefused, OutOfMemory
from modelhub.serving.memory import Room
from modelhub.serving.runners.text import TextClassifier, by_padding
from modelhub.serving.sessions import ModelPool

KEY = {"authorization": "Bearer secret"}
EDGE = artifacts.SHIPPED / "txt-edge"
GRAPH = artifacts.load_manifest(EDGE)["files"]["body"]["name"]


def test_the_least_recently_used_of_those_nobody_holds_leave_first():
    gone = []
    room = Room(100)
    for name, size in (("a", 40), ("b", 30), ("c", 20)):
        room.make_place(name, size)
        room.enter(name, size, lambda name=name: gone.append(name))
    room.use("a")
    with room.holding("b"):
        assert room.make_place("d", 30) == ["c"]  # a was used later, b is held
        room.enter("d", 30, lambda: gone.append("d"))
    assert room.make_place("e", 60) == ["a", "b"]  # b was held until now
    assert gone == ["c", "a", "b"]
    assert room.free == 70


def test_what_cannot_fit_is_refused_with_both_figures_and_nobody_leaves_for_it():
    room, gone = Room(100), []
    room.enter("held", 60, lambda: gone.append("held"))
    room.enter("idle", 30, lambda: gone.append("idle"))
    with room.holding("held"), pytest.raises(OutOfMemory) as caught:
        room.make_place("large", 50)
    assert gone == []
    assert caught.value.status == 503
    assert caught.value.body()["error"]["needed_bytes"] == 50
    assert "needs 50 bytes and 10 are free" in caught.value.message


def test_one_that_was_replaced_stays_until_its_last_request_ended():
    room, gone = Room(100), []
    room.enter("old", 60, lambda: gone.append("old"))
    with room.holding("old"):
        room.retire("old")
        assert gone == []
    assert gone == ["old"]


def test_a_model_that_does_not_fit_is_refused_and_the_others_answer():
    size = sum(
        entry["bytes"]
        for entry in artifacts.load_manifest(artifacts.SHIPPED / "tabular-edge")["files"].values()
    )
    pool = ModelPool("external", trunk_dir=None, room=Room(size * 1000))
    pool.room.limit = 3_000_000
    with pytest.raises(OutOfMemory, match="txt-edge"):
        pool.load("txt-edge")
    pool.room.limit = 400_000_000
    assert pool.load("tabular-edge").runner.predict("plate-fault", []) == []
    assert pool.room.bytes_of(pool.load("tabular-edge").key) >= size


def test_an_idle_model_makes_place_for_one_that_is_asked_for_and_comes_back_when_asked():
    heard = []
    pool = ModelPool(
        "external",
        trunk_dir=None,
        room=Room(10**9),
        watch=lambda event, **labels: heard.append((event, labels["model"])),
    )
    first = pool.load("tabular-edge")
    pool.room.limit = pool.room.used + 12_000_000  # the text model's files alone are nine millions
    pool.room.make_place("something", 11_999_999 + pool.room.used)
    assert pool.loaded("tabular-edge") is None
    assert pool.load("tabular-edge") is not first
    assert heard.count(("load", "tabular-edge")) == 2


# --- heads ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tuned(tmp_path, monkeypatch):
    """A head fitted on the shipped student, in a home of its own."""
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path))
    rows = [
        (f"ticket {i}: the {word} is broken", f"repair_{word}")
        for i in range(12)
        for word in ("door", "lamp")
    ]
    out = tmp_path / "artifacts" / "txt-edge" / "heads" / "support-intent@ft-1"
    finetune.fine_tune_head(EDGE, "support-intent", rows, out_dir=out, epochs=2, seed=1)
    return out


def test_heads_mixed_in_one_batch_answer_as_each_does_alone(tuned):
    model = TextClassifier(EDGE)
    texts = [
        "When will my card arrive?",
        "the lamp is broken",
        "I love it",
        "we may end this agreement at any time",
    ]
    heads = ["support-intent", "support-intent@ft-1", "support-sentiment", "terms-review"]
    mixed = model.classify_mixed(heads, texts)
    for head, text, row in zip(heads, texts, mixed, strict=True):
        alone = model.classify(head, [text])
        assert row.label == alone.labels[0]
        assert row.label_names == alone.label_names
        assert row.tokens == alone.tokens[0]
        assert np.abs(row.scores - alone.scores[0]).max() < 0.1  # 8-bit scales come from the whole batch


def test_the_shared_body_runs_once_over_a_batch_of_mixed_heads(tuned, monkeypatch):
    """Of heads fitted beside the file; those inside it leave through their own gate, each by itself."""
    shutil.copytree(tuned, tuned.with_name("support-intent@ft-2"))
    model = TextClassifier(EDGE)
    runs = []
    real = model._body.run
    monkeypatch.setattr(
        model._body, "run", lambda names, feed: runs.append(len(feed["input_ids"])) or real(names, feed)
    )
    model.classify_mixed(
        ["support-intent@ft-1", "support-intent@ft-2", "terms-review"] * 4, ["the same words"] * 12
    )
    assert runs == [8]


def test_an_adapter_of_another_trunk_is_refused_and_the_heads_beside_it_are_not(tuned):
    manifest = artifacts.load_manifest(tuned)
    files = {role: entry["name"] for role, entry in manifest.pop("files").items()}
    artifacts.write_manifest(tuned, manifest | {"body_sha256": "0" * 64}, files)
    model = TextClassifier(EDGE)
    with pytest.raises(ModelRefused, match="another body") as caught:
        model.classify("support-intent@ft-1", ["x"])
    assert caught.value.code == "adapter_of_another_trunk"
    artifacts.write_manifest(tuned, manifest | {"trunk_sha256": "f" * 64}, files)
    with pytest.raises(ModelRefused, match="trunk ffffffffffff"):
        model.classify("support-intent@ft-1", ["x"])
    assert model.classify("support-sentiment", ["I love it"]).labels == ["positive"]


def test_adapters_are_loaded_and_let_go_by_use(tuned, monkeypatch):
    monkeypatch.setattr("modelhub.serving.runners.heads.MOST_ADAPTERS", 2)
    for number in (2, 3):
        shutil.copytree(tuned, tuned.with_name(f"support-intent@ft-{number}"))
    room = Room(10**9)
    model = TextClassifier(EDGE, room=room)
    for version in (1, 2, 1, 3):
        model.classify(f"support-intent@ft-{version}", ["x"])
    assert model.adapters() == ["support-intent@ft-1", "support-intent@ft-3"]
    assert room.bytes_of("txt-edge/support-intent@ft-2") == 0
    assert room.bytes_of("txt-edge/support-intent@ft-1") > 0


def test_texts_of_like_length_go_together_and_padding_stays_bounded():
    lengths = [3, 250, 4, 5, 240, 6, 30, 31, 32] + [8] * 100
    groups = by_padding(lengths)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        longest = max(lengths[i] for i in group)
        assert len(group) <= 64
        assert longest * len(group) - sum(lengths[i] for i in group) <= 512
    assert by_padding([]) == []


def test_ten_thousand_texts_and_one_are_answered_alike():
    model = TextClassifier(EDGE)
    many = model.classify("support-sentiment", ["I love it"] * 10_000)
    one = model.classify("support-sentiment", ["I love it"])
    assert set(many.labels) == set(one.labels)
    assert many.scores.shape == (10_000, 2)


# --- replacing ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def served(tmp_path, monkeypatch):
    """The shipped student, copied to a home, behind HTTP."""
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path))
    home = tmp_path / "artifacts" / "txt-edge"
    shutil.copytree(EDGE, home)
    server = ModelServer(
        ModelPool("external", trunk_dir=None, ids=["txt-edge"], room=Room(10**9)), api_key="secret"
    )
    runner = web.AppRunner(server.application())
    await runner.setup()
    await server.warm_up()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}", headers=KEY) as session:
        yield session, server, home
    await runner.cleanup()


async def ask(session: ClientSession, text: str = "I love it") -> int:
    body = {"model": "txt-edge/support-sentiment", "input": text}
    async with session.post("/v1/classifications", json=body) as response:
        await response.read()
        return response.status


async def test_a_new_version_takes_over_under_load_without_a_failed_request(served):
    session, server, home = served
    before = server.pool.loaded("txt-edge")
    statuses, stop = [], asyncio.Event()

    async def keep_asking():
        while not stop.is_set():
            statuses.append(await ask(session))

    callers = [asyncio.create_task(keep_asking()) for _ in range(8)]
    await asyncio.sleep(0.05)
    manifest = json.loads((home / "manifest.json").read_text("utf-8"))
    artifacts.write_json(home / "manifest.json", manifest | {"version": "next"})
    assert [found["model"] for found in await server.control.take_new()] == ["txt-edge"]
    await asyncio.sleep(0.05)
    stop.set()
    await asyncio.gather(*callers)
    assert set(statuses) == {200}
    now = server.pool.loaded("txt-edge")
    assert now.version.startswith("next-") and now is not before
    assert server.pool.room.bytes_of(before.key) == 0


async def test_a_new_version_that_is_corrupt_leaves_the_old_one_in_place(served):
    session, server, home = served
    before = server.pool.loaded("txt-edge")
    (home / GRAPH).write_bytes(b"not a graph")
    manifest = json.loads((home / "manifest.json").read_text("utf-8"))
    artifacts.write_json(home / "manifest.json", manifest | {"version": "next"})
    async with session.post("/control/reload", json={"model": "txt-edge"}) as response:
        assert response.status == 503
        assert (await response.json())["error"]["code"] == "artifact_corrupt"
    assert await server.control.take_new() == []
    assert await ask(session) == 200
    assert server.pool.loaded("txt-edge") is before


async def test_a_server_that_stops_says_so_and_ends_what_it_began(served):
    session, server, _ = served
    assert await ask(session) == 200
    server.draining = True
    async with session.get("/healthz") as response:
        assert (response.status, (await response.json())["status"]) == (503, "draining")
    assert await ask(session) == 503


async def test_models_and_metrics_say_what_really_runs_and_are_nobody_elses_business(served):
    session, server, _ = served
    await ask(session)
    async with session.get("/v1/models") as response:
        (told,) = (await response.json())["data"]
    assert told["precision"] == "int8" and told["quantised_nodes"] >= 8
    assert told["providers"] == ["CPUExecutionProvider"]
    assert told["memory_bytes"] > 9_000_000
    async with session.get("/metrics") as response:
        text = await response.text()
    assert f'switchyard_serving_quantised_nodes{{model="txt-edge"}} {told["quantised_nodes"]}.0' in text
    assert 'precision="int8",provider="CPUExecutionProvider"' in text
    assert 'switchyard_serving_requests_total{endpoint="/v1/classifications",status="200"} 1.0' in text
    for path in ("/metrics", "/v1/models", "/activations"):
        async with session.get(path, headers={"authorization": "Bearer wrong"}) as response:
            assert response.status == 401
    for path in ("/control/load", "/control/reload", "/control/migrations"):
        async with session.post(
            path, json={"model": "txt-edge"}, headers={"authorization": "Bearer x"}
        ) as response:
            assert response.status == 401


async def test_a_value_that_is_no_number_is_a_typed_error_counted_and_never_an_answer(served, monkeypatch):
    session, server, _ = served
    graph = (
        server.pool.loaded("txt-edge")
        .runner._heads.of("support-sentiment")
        .gated.session("support-sentiment")
    )
    real = graph.run

    def poisoned(names, feeds, *more):
        found = real(names, feeds, *more)
        return [part * np.nan for part in found] if feeds["input_ids"].shape[1] > 20 else found

    monkeypatch.setattr(graph, "run", poisoned)
    assert await ask(session, "word " * 30) == 500
    assert await ask(session) == 200
    value = server.metrics.registry.get_sample_value
    assert value("switchyard_serving_not_finite_total", {"model": "txt-edge/support-sentiment"}) == 1


async def test_more_rows_than_a_request_may_hold_are_refused_by_name(served):
    session, _, _ = served
    body = {"model": "txt-edge/support-sentiment", "input": ["x"] * 10_000}
    async with session.post("/v1/classifications", json=body) as response:
        assert response.status == 400
        assert "at most 2048" in (await response.json())["error"]["message"]
