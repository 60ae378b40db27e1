"""The language-model runner: seeded sampling, whole characters, stop strings, limits and counts."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientSession, web

from modelhub.artifacts import ArtifactCorrupt
from modelhub.serving.app import ModelServer
from modelhub.serving.runners.lm import (
    CausalLM,
    Generation,
    PromptTooLong,
    StopScanner,
    byte_alphabet,
    sample,
)
from modelhub.serving.sessions import Loaded, ModelPool
from tests.modelhub.lm.smoke import smoke_run


@pytest.fixture(scope="module")
def model() -> CausalLM:
    return CausalLM(smoke_run()[1])


def scripted(pieces: list[bytes], **options: Any) -> tuple[Generation, Iterator[tuple[str, int | None]]]:
    """A generation whose model says these bytes, one token each, then ends."""
    count = len(pieces)

    def step(ids: list[int], past: int) -> tuple[np.ndarray, int]:
        logits = np.zeros(count + 1)
        logits[past] = 1.0
        return logits, past + 1

    fake = SimpleNamespace(empty_cache=lambda: 0, step=step, end_ids={count}, token_bytes=pieces)
    settings: dict[str, Any] = {"temperature": 0.0, "top_p": 1.0, "seed": None, "stop": (), **options}
    generation = Generation(fake, [1, 2, 3], settings.pop("limit", 100), **settings)  # type: ignore[arg-type]
    return generation, iter(generation)


def test_the_same_seed_says_the_same_and_another_seed_something_else(model: CausalLM):
    prompt = model.chat_prompt([{"role": "user", "content": "Write a function"}])

    def say(seed: int) -> str:
        return "".join(text for text, _ in model.stream(prompt, 20, temperature=1.0, top_p=0.95, seed=seed))

    assert say(1) == say(1)
    assert say(1) != say(2)


def test_greedy_answers_are_what_step_by_step_argmax_gives(model: CausalLM):
    prompt = model.text_prompt("import os\n")
    ids = [token for _, token in model.stream(prompt, 6, temperature=0) if token is not None]
    read = list(prompt)
    for token in ids:
        logits, _ = model.step(read, model.empty_cache())
        assert token == int(logits.argmax())
        read.append(token)


def test_counts_and_reason_are_told(model: CausalLM):
    prompt = model.chat_prompt([{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}])
    generation = model.stream(prompt, 5, seed=3)
    pieces = list(generation)
    assert generation.prompt_tokens == len(prompt)
    assert generation.completion_tokens <= 5
    assert generation.finish_reason in ("length", "stop")
    if generation.finish_reason == "length":
        assert generation.completion_tokens == 5
    assert sum(token is not None for _, token in pieces) == generation.completion_tokens


def test_characters_of_several_tokens_come_whole():
    generation, pieces = scripted([b"caf", b"\xc3", b"\xa9 ", b"\xe4\xbd", b"\xa0"])
    texts = [text for text, _ in pieces]
    assert texts == ["caf", "", "é ", "", "你"]
    assert (generation.finish_reason, generation.completion_tokens) == ("stop", 5)


def test_a_character_that_is_cut_ends_as_the_replacement_mark():
    generation, pieces = scripted([b"a", b"\xe4\xbd"], limit=2)
    assert "".join(text for text, _ in pieces) == "a\ufffd"
    assert generation.finish_reason == "length"


def test_a_stop_string_ends_the_answer_even_across_tokens():
    generation, pieces = scripted([b"one E", b"N", b"D two"], stop=["END"])
    assert "".join(text for text, _ in pieces) == "one "
    assert (generation.finish_reason, generation.completion_tokens) == ("stop", 3)


def test_text_that_only_began_like_a_stop_string_is_released():
    _, pieces = scripted([b"one E", b"N", b"Q"], stop=["END"])
    assert [text for text, _ in pieces] == ["one ", "", "ENQ"]
    _, pieces = scripted([b"one E"], stop=["END"])
    assert "".join(text for text, _ in pieces) == "one E"


def test_the_earliest_of_several_stop_strings_wins():
    scanner = StopScanner(["two", "one"])
    assert scanner.feed("a one two") == "a "
    assert scanner.found


def test_top_p_draws_only_from_the_smallest_set_that_holds_it():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05]))
    rng = np.random.default_rng(0)
    drawn = {sample(logits, 1.0, 0.75, rng) for _ in range(300)}
    assert drawn == {0, 1}
    shares = np.bincount([sample(logits, 1.0, 1.0, rng) for _ in range(4000)], minlength=4) / 4000
    assert shares == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)
    assert sample(logits, 0.0, 1.0, rng) == 0


def test_encoding_and_decoding_are_inverse_for_any_text(model: CausalLM):
    for text in ["def f(x):\n\treturn x", "Ünïcödé 你好 🙂", "<|end|> is text", ""]:
        assert model.decode(model.encode(text)) == text
    assert model.marks["<|end|>"] not in model.encode("<|end|>")


def test_every_byte_has_a_character():
    assert sorted(byte_alphabet().values()) == list(range(256))


def test_prompts_that_do_not_fit_and_bad_limits_are_refused(model: CausalLM):
    with pytest.raises(PromptTooLong) as caught:
        model.stream([8] * 300, 5)
    assert (caught.value.tokens, caught.value.limit) == (300, model.context_length - 1)
    with pytest.raises(ValueError, match="at least 1"):
        model.stream([8], 0)
    with pytest.raises(ValueError, match="empty"):
        model.stream([], 5)
    with pytest.raises(ValueError, match="role 'robot'"):
        model.chat_prompt([{"role": "robot", "content": "x"}])


def test_the_answer_ends_where_the_context_does(model: CausalLM):
    generation = model.stream([8] * (model.context_length - 3), 50, seed=0)
    list(generation)
    assert generation.completion_tokens <= 3


def test_marks_are_never_said(model: CausalLM):
    logits, _ = model.step(model.text_prompt("x"), model.empty_cache())
    silent = [index for mark, index in model.marks.items() if index not in model.end_ids]
    assert np.isneginf(logits[silent]).all()


def test_a_changed_file_is_refused(tmp_path: Path):
    copy = tmp_path / "lm"
    shutil.copytree(smoke_run()[1], copy)
    config = json.loads((copy / "config.json").read_text("utf-8"))
    (copy / "config.json").write_text(json.dumps({**config, "kv_lora_rank": 1}), encoding="utf-8")
    with pytest.raises(ArtifactCorrupt):
        CausalLM(copy)


@pytest.fixture
async def server_url(model: CausalLM):
    pool = ModelPool("private", trunk_dir=None)
    pool._loaded = {"lm-tiny": Loaded("lm-tiny", "causal-lm", model, model.manifest, time.thread_time_ns)}
    runner = web.AppRunner(ModelServer(pool, api_key="secret").application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1/chat/completions"
    await runner.cleanup()


async def ask(url: str, content: str, role: str = "user", **more: Any) -> tuple[int, dict[str, Any]]:
    """Status and body of one chat call."""
    body = {"model": "lm-tiny", "messages": [{"role": role, "content": content}], "max_tokens": 4, **more}
    async with (
        ClientSession(headers={"authorization": "Bearer secret"}) as session,
        session.post(url, json=body) as got,
    ):
        return got.status, await got.json()


async def test_over_http_a_chat_is_read_with_its_marks_and_counted(server_url: str, model: CausalLM):
    status, answer = await ask(server_url, "Hello", seed=1)
    assert status == 200
    messages = [{"role": "user", "content": "Hello"}]
    assert answer["usage"]["prompt_tokens"] == len(model.chat_prompt(messages))
    told = "".join(
        text for text, _ in model.stream(model.chat_prompt(messages), 4, temperature=0.8, top_p=0.95, seed=1)
    )
    assert answer["choices"][0]["message"]["content"] == told


@pytest.mark.parametrize("stream", [False, True])
async def test_over_http_a_prompt_that_does_not_fit_or_an_unknown_role_is_refused_with_400(
    server_url: str, stream: bool
):
    status, answer = await ask(server_url, "word " * 600, stream=stream)
    assert (status, answer["error"]["code"]) == (400, "invalid_value")
    assert "reads at most 255" in answer["error"]["message"]
    status, answer = await ask(server_url, "Hello", role="robot", stream=stream)
    assert (status, answer["error"]["code"]) == (400, "invalid_value")
