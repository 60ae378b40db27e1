"""The model server as its callers meet it: batching, adapters, whole numbers, a move to another backend under load.

python -m bench.tools.serving → bench/results/serving.json. Real servers in processes of their own, asked over HTTP;
pairs of figures are taken in turns, and a row is the median of the turns' ratios with their range.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import ClientSession, ClientTimeout

from bench.common import ROOT, Results, child, free_port, wait_for
from bench.tools import serving_models
from bench.tools.serving_models import CONCURRENT, HEADS, PROMPTS, REPEATS, TOKENS
from modelhub import artifacts
from modelhub.ml import datasets

MOVED_ROWS = 400
KEY = "benchmark"


def main() -> None:
    results = Results("serving")
    rows(results)
    results.write()


def rows(results: Results) -> None:
    """Everything; about three minutes on two quiet cores."""
    with tempfile.TemporaryDirectory(prefix="serving-bench-") as folder:
        home = Path(folder)
        if (trunk := artifacts.home() / "trunk").is_dir():
            shutil.copytree(trunk, home / "trunk")
        language_rows(results, home)
        classification_rows(results, home)
        migration_rows(results, home)
    serving_models.rows(results)


def served(home: Path, side: str, *models: str) -> tuple[list[str], dict[str, str], int]:
    port = free_port()
    words = [str(ROOT / "manage.py"), "serve_models", "--side", side, "--port", str(port)]
    if side == "external":
        words += ["--prices", str(ROOT / "deploy" / "stand-in-prices.json")]
    for model in models:
        words += ["--model", model]
    env = {
        "SWITCHYARD_HOME": str(home),
        "SWITCHYARD_UPSTREAM_KEY": KEY,
        "DJANGO_SETTINGS_MODULE": "switchyard.settings.dev",
    }
    return words, {**env, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}, port


def asking(work: Callable[[ClientSession], Awaitable[Any]], port: int) -> Any:
    async def run() -> Any:
        headers = {"authorization": f"Bearer {KEY}"}
        async with ClientSession(
            f"http://127.0.0.1:{port}", headers=headers, timeout=ClientTimeout(total=300)
        ) as session:
            return await work(session)

    return asyncio.run(run())


async def post(session: ClientSession, path: str, body: dict[str, Any]) -> dict[str, Any]:
    async with session.post(path, json=body) as response:
        answer = await response.json()
        if response.status >= 300:
            raise RuntimeError(f"{path} answered {response.status}: {answer}")
        return answer


async def pace(calls: list[Callable[[], Awaitable[int]]], at_once: int) -> float:
    """Units a second when so many callers share the calls."""
    waiting, done, began = iter(calls), 0, time.perf_counter()

    async def caller() -> None:
        nonlocal done
        for call in waiting:
            units = await call()  # apart: `done` must be read after the others wrote it
            done += units

    await asyncio.gather(*(caller() for _ in range(at_once)))
    return done / (time.perf_counter() - began)


# --- language -------------------------------------------------------------------------------------------------------


def language_rows(results: Results, home: Path) -> None:
    words, env, port = served(home, "private", "lm-tiny")
    with child(*words, env=env) as process:
        wait_for(f"http://127.0.0.1:{port}/healthz", process)
        found = asking(language_paces, port)
    alone, together = np.array(found["alone"]), np.array(found["together"])
    how = (
        f"lm-tiny over HTTP, {TOKENS} tokens an answer, sampled, {CONCURRENT} callers at once against the same requests one "
        f"after another, in turns on one server"
    )
    results.add("lm_batching_speedup_16", (together / alone).tolist(), "×", how, at_least=2.0)
    results.add("lm_tokens_per_second_16", together.tolist(), "tokens/s", how)
    results.add("lm_tokens_per_second_1", alone.tolist(), "tokens/s", how, control=True)


async def language_paces(session: ClientSession) -> dict[str, list[float]]:
    async def say(number: int) -> int:
        body = {
            "model": "lm-tiny",
            "prompt": PROMPTS[number % len(PROMPTS)],
            "max_tokens": TOKENS,
            "seed": number,
        }
        return (await post(session, "/v1/completions", body))["usage"]["completion_tokens"]

    calls = [lambda n=n: say(n) for n in range(2 * CONCURRENT)]  # type: ignore[misc]
    await pace(calls[:4], 4)
    found: dict[str, list[float]] = {"alone": [], "together": []}
    for _ in range(REPEATS):
        found["alone"].append(await pace(calls, 1))
        found["together"].append(await pace(calls, CONCURRENT))
    return found


# --- classification -------------------------------------------------------------------------------------------------


def classification_rows(results: Results, home: Path) -> None:
    for side, model in (("private", "txt-base"), ("external", "txt-edge")):
        words, env, port = served(home, side, model)
        with child(*words, env=env) as process:
            wait_for(f"http://127.0.0.1:{port}/healthz", process)
            alone, together = asking(lambda session, m=model: classify_paces(session, m), port)  # type: ignore[misc]
        how = f"{model} over HTTP, one short text a request over four heads, {CONCURRENT} callers at once against one"
        results.add(f"batching_speedup_{model}", (np.array(together) / np.array(alone)).tolist(), "×", how)
        results.add(f"requests_per_second_16_{model}", together, "1/s", how, control=True)
        results.add(f"requests_per_second_1_{model}", alone, "1/s", how, control=True)


async def classify_paces(session: ClientSession, model: str) -> tuple[list[float], list[float]]:
    texts = datasets.load("support-intent", "val").texts[:256]

    async def ask(number: int) -> int:
        head = HEADS[number % len(HEADS)]
        await post(session, "/v1/classifications", {"model": f"{model}/{head}", "input": texts[number]})
        return 1

    calls = [lambda n=n: ask(n) for n in range(len(texts))]  # type: ignore[misc]
    await pace(calls[:32], CONCURRENT)
    alone, together = [], []
    for _ in range(REPEATS):
        alone.append(await pace(calls, 1))
        together.append(await pace(calls, CONCURRENT))
    return alone, together


# --- a move under load ----------------------------------------------------------------------------------------------


def migration_rows(results: Results, home: Path) -> None:
    words, env, port = served(home, "private", "txt-base")
    with child(*words, env=env) as process:
        wait_for(f"http://127.0.0.1:{port}/healthz", process)
        report, asked, failed = asking(moved, port)
    how = (
        f"txt-base from onnxruntime to openvino (float32 both) while {CONCURRENT // 2} callers ask over HTTP: {asked} requests; "
        f"{MOVED_ROWS} rows compared before the switch and {MOVED_ROWS} after; ended {report['state']} {report['why']}"
    )
    ended = report["state"] == "done"
    results.add("hal_migrate_failed_requests", [float(failed)], "requests", how, at_most=0, judged=ended)
    agreed = sum(report[phase]["agreed"] for phase in ("golden", "compared", "watched"))
    seen = sum(report[phase]["rows"] for phase in ("golden", "compared", "watched"))
    share = agreed / seen if seen else 0.0
    results.add("hal_migrate_label_agreement", [share], "share", how, at_least=0.995, judged=ended)
    ratio = report["compared"]["latency_ratio"]
    results.add(
        "hal_migrate_latency_ratio", [ratio], "×", f"{how}; wall time of both on the same rows", control=True
    )


async def moved(session: ClientSession) -> tuple[dict[str, Any], int, int]:
    texts = datasets.load("support-intent", "val").texts
    counts = {"asked": 0, "failed": 0}
    stop = asyncio.Event()

    async def keep_asking(start: int) -> None:
        number = start
        while not stop.is_set():
            body = {"model": f"txt-base/{HEADS[number % len(HEADS)]}", "input": texts[number % len(texts)]}
            async with session.post("/v1/classifications", json=body) as response:
                await response.read()
                counts["asked"] += 1
                counts["failed"] += response.status != 200
            number += 7

    callers = [asyncio.create_task(keep_asking(start)) for start in range(CONCURRENT // 2)]
    order = {"model": "txt-base", "backend": "openvino", "rows": MOVED_ROWS, "latency_ratio": 5}
    report = await post(session, "/control/migrations", order)
    while report["state"] not in ("done", "returned", "refused"):
        await asyncio.sleep(0.2)
        async with session.get(f"/control/migrations/{report['id']}") as response:
            report = await response.json()
    await asyncio.sleep(0.5)
    stop.set()
    await asyncio.gather(*callers)
    return report, counts["asked"], counts["failed"]


if __name__ == "__main__":
    main()
