"""What compression won and lost, measured: times and throughput in turns, sizes, FLOPs, and who answers differently."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.ml.text.corpus import Part
from modelhub.serving.gated import GatedFile
from modelhub.serving.runners.text import TextClassifier, by_padding

SINGLES, BATCHED, REPEATS = 48, 256, 5


def teacher_times(directory: Path, head: str, texts: list[str]) -> tuple[float, float]:
    """Milliseconds of the teacher for one text alone (median) and for a text of a batch."""
    teacher = TextClassifier(directory)
    ask = answer_by(teacher, head)
    ask(texts[:2])
    alone = [timed(ask, [text])[0] for text in texts]
    return float(np.median(alone)), timed(ask, texts)[0] / len(texts)


def answer_by(runner: TextClassifier, head: str) -> Callable[[list[str]], Any]:
    """The runner's own call for one head."""
    return lambda texts: runner.classify(head, texts)


def timed(ask: Callable[[list[str]], Any], texts: list[str]) -> tuple[float, float]:
    """Wall and processor milliseconds of one call."""
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    ask(texts)
    return (time.perf_counter_ns() - wall) / 1e6, (time.process_time_ns() - cpu) / 1e6


def compare_times(
    asks: dict[str, Callable[[list[str]], Any]], texts: list[str], repeats: int = REPEATS
) -> dict[str, dict[str, float]]:
    """Median, 99th percentile, texts a second and processor nanoseconds a thousand, all taken in turns."""
    alone: dict[str, list[float]] = {name: [] for name in asks}
    batches: dict[str, list[tuple[float, float]]] = {name: [] for name in asks}
    many = (texts * (BATCHED // len(texts) + 1))[:BATCHED]
    for ask in asks.values():
        ask(texts[:2])
    for _ in range(repeats):
        for name, ask in asks.items():
            alone[name] += [timed(ask, [text])[0] for text in texts[:SINGLES]]
            batches[name].append(timed(ask, many))
    found = {}
    for name in asks:
        wall, cpu = (float(np.median([pair[i] for pair in batches[name]])) for i in range(2))
        found[name] = {
            "p50_ms": round(float(np.median(alone[name])), 4),
            "p99_ms": round(float(np.percentile(alone[name], 99)), 4),
            "per_second": round(len(many) / wall * 1e3, 1),
            "cpu_ns_per_1000": round(cpu * 1e6 / len(many) * 1000),
        }
    return found


def size_of(directory: Path, head: str) -> int:
    """Bytes that serve one head: the body and the head, without what is shared by all models."""
    files = artifacts.load_manifest(directory)["files"]
    return sum(files[role]["bytes"] for role in ("body", f"head:{head}") if role in files)


def student_flops(manifest: dict[str, Any], tokens: float) -> float:
    """Multiplications and additions for one text of so many tokens: the encoder, two a weight and token, and attention."""
    shape = manifest["shape"]
    d, hidden = shape["width"], shape["hidden"]
    return tokens * (2 * (4 * d * d + 2 * d * hidden) + 4 * d * tokens)


class Opened:
    """A compressed head as a server runs it: tokenizer, one graph, labels."""

    def __init__(self, directory: Path, manifest: dict[str, Any], head: str) -> None:
        from modelhub.ml import tokens

        self._file = GatedFile(artifacts.file_of(directory, manifest, "body"), list(manifest["heads"]))
        self._tokenizer = tokens.load_tokenizer(artifacts.file_of(directory, manifest, "tokenizer"))
        self._head, self._most = head, manifest["wide_tokens"]
        self._encode = tokens.encode

    def __call__(self, texts: list[str]) -> np.ndarray:
        """Label positions, −1 where the operator stopped the answer. Gives (N,)."""
        ids = self._encode(self._tokenizer, texts, self._most)
        found = np.full(len(ids), -1)
        for group in by_padding([len(row) for row in ids]):
            got = self._file.run(self._head, [ids[i] for i in group])
            found[group] = np.where(got.blocked, -1, got.logits.argmax(axis=1))
        return found


def measure(
    directory: Path, manifest: dict[str, Any], teacher_dir: Path, head: str, val: Part, labels: list[str]
) -> dict[str, Any]:
    """Times of both, sizes, FLOPs, the labels both gave to the held-back rows, and where they differ."""
    student, teacher = Opened(directory, manifest, head), TextClassifier(teacher_dir)
    times = compare_times({"teacher": answer_by(teacher, head), "student": student}, val.texts)
    place = {label: index for index, label in enumerate(labels)}
    before = np.array([place[label] for label in teacher.classify(head, val.texts).labels])
    after = student(val.texts)
    told = artifacts.load_manifest(teacher_dir)
    tokens = float(np.mean([min(len(row), manifest["max_tokens"]) for row in val.features.ids]))
    flops = student_flops(manifest, tokens)
    teacher_flops = told.get("parameters", {}).get("flops_per_token", 0) * tokens
    sizes = {"teacher": size_of(teacher_dir, head), "student": manifest["files"]["body"]["bytes"]}
    return {
        "times": times,
        "speedup_b1": round(times["teacher"]["p50_ms"] / times["student"]["p50_ms"], 2),
        "speedup_throughput": round(times["student"]["per_second"] / times["teacher"]["per_second"], 2),
        "cost_share": round(times["student"]["cpu_ns_per_1000"] / times["teacher"]["cpu_ns_per_1000"], 4),
        "bytes": sizes,
        "flops_per_text": {"teacher": teacher_flops, "student": flops},
        "labels": {"teacher": before.tolist(), "student": after.tolist(), "truth": val.y.tolist()},
        "blocked": int((after < 0).sum()),
    }
