"""Many answers in one batch: the same tokens as alone, joining and leaving between steps, one bad row and no other."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
from aiohttp import ClientSession, web

from modelhub.serving.app import ModelServer
from modelhub.serving.runners.lm import CausalLM
from modelhub.serving.runners.lm_steps import Caches, OneRow
from modelhub.serving.sessions import Loaded, ModelPool
from tests.modelhub.lm.smoke import smoke_run

PROMPTS = [
    "import os\n",
    "def mean(values):\n    ",
    "x",
    "# The quick brown fox jumps over " * 3,
    "return ",
    "class Foo(",
]
KEY = {"authorization": "Bearer secret"}


def ticking():
    """Every look at the clock is a microsecond later: times are exact and no two machines differ."""
    now = [0]

    def clock() -> int:
        now[0] += 1000
        return now[0]

    return clock


@pytest.fixture(scope="module")
def model() -> CausalLM:
    return CausalLM(smoke_run()[1])


def alone(model: CausalLM, prompt: str, tokens: int, **options) -> list[int]:
    stream = model.stream(model.text_prompt(prompt), tokens, **options)
    return [token for _, token in stream if token is not None]


def told(row) -> list[int]:
    return [token for _, token in row.pieces if token is not None]


def test_the_shared_graph_serves_and_the_unrolled_one_is_what_it_falls_back_to(model: CausalLM):
    assert model.chosen.form == "serving"
    assert set(model.manifest["files"]) >= {"serving", "model"}
    assert model.manifest["forms"] == {"model": ["serving", "model"]}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_batch_says_what_each_answer_says_alone(model: CausalLM, temperature: float):
    options = {"temperature": temperature, "top_p": 0.9}
    wanted = [alone(model, prompt, 12, seed=i, **options) for i, prompt in enumerate(PROMPTS)]
    batch = model.new_batch()
    rows = [batch.add(model.text_prompt(p), 12, seed=i, **options) for i, p in enumerate(PROMPTS)]
    while len(batch):
        batch.step()
    assert [told(row) for row in rows] == wanted
    assert all(row.writer.finish_reason in ("length", "stop") for row in rows)


def test_answers_join_a_running_batch_and_leave_it_without_touching_the_others(model: CausalLM):
    wanted = [alone(model, prompt, 10 + 3 * i, temperature=0) for i, prompt in enumerate(PROMPTS)]
    batch, rows = model.new_batch(), []
    for i, prompt in enumerate(PROMPTS):
        rows.append(batch.add(model.text_prompt(prompt), 10 + 3 * i, 0.0))
        batch.step()
        batch.step()
    gone = batch.add(model.text_prompt("def gone("), 50, 0.0)
    batch.step()
    batch.remove(gone)
    while len(batch):
        batch.step()
    assert [told(row) for row in rows] == wanted


def test_a_long_prompt_is_read_in_pieces_while_the_others_write(model: CausalLM, monkeypatch):
    monkeypatch.setattr("modelhub.serving.runners.lm_batch.READ_TOKENS", 16)
    long = "word " * 30
    wanted = alone(model, long, 5, temperature=0), alone(model, "x = ", 20, temperature=0)
    batch = model.new_batch()
    short = batch.add(model.text_prompt("x = "), 20, 0.0)
    batch.step()
    slow = batch.add(model.text_prompt(long), 5, 0.0)
    batch.step()
    assert told(short) and not told(slow)
    while len(batch):
        batch.step()
    assert (told(slow), told(short)) == wanted


def test_a_value_that_is_no_number_ends_its_own_row_and_no_other(model: CausalLM, monkeypatch):
    wanted = alone(model, "import os\n", 6, temperature=0)
    real = model.steps.run

    def poisoned(ids, counts, caches, first, counted=None):
        logits = real(ids, counts, caches, first, counted)
        logits[(ids == model.marks["<|bos|>"]).any(1) & (ids[:, -1] == 9)] = np.nan
        return logits

    monkeypatch.setattr(model.steps, "run", poisoned)
    batch = model.new_batch()
    bad = batch.add([model.marks["<|bos|>"], *([9] * len(model.text_prompt("import os\n")))], 6, 0.0)
    good = batch.add(model.text_prompt("import os\n"), 6, 0.0)
    while len(batch):
        batch.step()
    assert told(good) == wanted
    assert bad.error is not None and bad.error.status == 500  # type: ignore[attr-defined]


def test_the_unrolled_graph_writes_the_same_batch_one_row_a_run(model: CausalLM, tmp_path):
    import shutil

    from modelhub import artifacts

    folder = tmp_path / "lm"
    shutil.copytree(smoke_run()[1], folder)
    manifest = artifacts.load_manifest(folder)
    files = {role: entry["name"] for role, entry in manifest.pop("files").items()}
    artifacts.write_manifest(folder, manifest | {"forms": {"model": ["model"]}}, files)
    plain = CausalLM(folder)
    assert isinstance(plain.steps, OneRow)
    batch = plain.new_batch()
    rows = [batch.add(plain.text_prompt(prompt), 8, 0.0) for prompt in PROMPTS[:3]]
    while len(batch):
        batch.step()
    assert [told(row) for row in rows] == [alone(model, prompt, 8, temperature=0) for prompt in PROMPTS[:3]]


def test_caches_keep_rows_apart_as_they_grow_move_and_shrink():
    caches = Caches(2, 3)
    caches.room(2, 5)
    for row in range(2):
        caches.append(
            row, [np.full((1, 5, 3), 10 * layer + row, np.float32) for layer in range(2)], np.array([5])
        )
    caches.room(3, 130)
    assert (caches.rows, caches.slots, caches.lengths.tolist()) == (4, 192, [5, 5, 0, 0])
    caches.swap(0, 1)
    caches.move(1, 2)
    assert [caches.arrays[1][row, 4, 0] for row in range(3)] == [11.0, 10.0, 10.0]
    caches.room(3, 6)
    assert caches.slots == 64
    assert caches.arrays[0][0, :5].tolist() == [[1.0] * 3] * 5


# --- over HTTP ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def served(model: CausalLM):
    pool = ModelPool("private", trunk_dir=None)
    pool._loaded = {"lm-tiny": Loaded("lm-tiny", "causal-lm", model, model.manifest, ticking())}
    server = ModelServer(pool, api_key="secret")
    runner = web.AppRunner(server.application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}", headers=KEY) as session:
        yield session, server
    await runner.cleanup()


async def say(session: ClientSession, prompt: str, **more) -> dict:
    body = {"model": "lm-tiny", "prompt": prompt, "max_tokens": 8, "temperature": 0} | more
    async with session.post("/v1/completions", json=body) as response:
        return await response.json() | {"status": response.status}


async def test_callers_at_once_share_steps_and_get_what_each_would_get_alone(served):
    session, server = served
    one_by_one = [(await say(session, prompt)) for prompt in PROMPTS]
    together = await asyncio.gather(*(say(session, prompt) for prompt in PROMPTS))
    assert [a["choices"][0]["text"] for a in together] == [a["choices"][0]["text"] for a in one_by_one]
    rows = server.metrics.registry.get_sample_value
    steps = rows("switchyard_serving_batch_rows_count", {"lane": "lm-tiny"})
    written = rows("switchyard_serving_batch_rows_sum", {"lane": "lm-tiny"})
    assert written > steps  # some steps held several


async def test_steps_are_shared_out_exactly_and_the_metrics_hold_what_the_answers_say(served):
    session, server = served
    answers = await asyncio.gather(*(say(session, prompt, n=2) for prompt in PROMPTS))
    told_ns = sum(answer["usage"]["accelerator_ns"] for answer in answers)
    value = server.metrics.registry.get_sample_value
    steps = value("switchyard_serving_batch_seconds_sum", {"lane": "lm-tiny"})
    billed = value("switchyard_serving_accelerator_seconds_sum", {"model": "lm-tiny"})
    assert told_ns == round(steps * 1e9) == round(billed * 1e9)
    assert value("switchyard_serving_accelerator_seconds_count", {"model": "lm-tiny"}) == len(PROMPTS)


async def test_a_caller_who_leaves_a_stream_leaves_the_batch(served):
    session, server = served
    body = {
        "model": "lm-tiny",
        "prompt": "x = ",
        "max_tokens": 200,
        "temperature": 1,
        "stream": True,
        "seed": 3,
    }
    response = await session.post("/v1/completions", json=body)
    await response.content.readany()
    response.close()
    engine = next(iter(server.work._engines.values()))
    for _ in range(500):
        await asyncio.sleep(0.01)
        if not engine.busy:
            break
    assert not engine.busy


async def test_a_deadline_that_passes_is_504_before_anything_is_sent(served):
    session, _ = served
    body = {"model": "lm-tiny", "prompt": "x = ", "max_tokens": 50, "stream": True}
    async with session.post(
        "/v1/completions", json=body, headers={"x-switchyard-deadline-ms": "0"}
    ) as response:
        assert response.status == 504
        assert (await response.json())["error"]["code"] == "deadline_passed"
    async with session.post(
        "/v1/completions", json=body, headers={"x-switchyard-deadline-ms": "soon"}
    ) as response:
        assert response.status == 400


async def test_expert_counts_of_sampled_steps_reach_the_recorder(served, monkeypatch):
    session, server = served
    monkeypatch.setattr("modelhub.serving.app.COUNT_EVERY", 1)
    server.work._count_every = 1
    await say(session, "import os\n", max_tokens=6)
    sums = server.recorder._open.sums
    ((key, held),) = sums.items()
    assert key[:2] == ("lm-tiny", "code-assist")
    chosen = json.loads((smoke_run()[1] / "config.json").read_text())["num_experts_per_tok"]
    assert (held.counts.sum(axis=1) == chosen * held.tokens).all()
