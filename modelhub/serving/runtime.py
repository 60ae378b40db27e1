"""One graph and the sessions that can run it: opened with care, failing over to the next, saying what really runs.

A session's chain is what was wished for (a device's providers, or another runtime), then ONNX Runtime on the CPU, then
the same without graph optimisation, then with the standard's operators alone. A run that raises moves to the next link for
good and is tried again there, so a device that disappears costs one request some time and none its answer.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from modelhub import artifacts
from modelhub.serving.errors import BackendFailed, ModelRefused, NotFinite
from modelhub.serving.graphs import NotAGraph, read_graph

log = logging.getLogger(__name__)
TRIALS = 8  # runs of another runtime that are compared with ONNX Runtime's own
STRAYS = 0.02
CPU = "CPUExecutionProvider"
STANDARD = f"{CPU} (standard operators)"
ORT, ORT_INT8, OPENVINO = "onnxruntime", "onnxruntime-int8", "openvino"
BACKENDS = (
    ORT,
    ORT_INT8,
    OPENVINO,
    "openvino-bf16",
    "ort-cuda",
    "tensorrt",
    "migraphx",
    "cann",
    "onnx-reference",
)
_FETCHED_ONLY = ort.RunOptions()
_FETCHED_ONLY.only_execute_path_to_fetches = True  # outputs that nobody asked for cost nothing
Feed = dict[str, np.ndarray]
Watch = Callable[..., None]


def unwatched(event: str, **labels: Any) -> None:
    """Nobody listens."""


class Runs(Protocol):
    """What a graph is asked through, whichever runtime is behind it."""

    def run(self, names: list[str], feeds: Feed) -> list[np.ndarray]: ...

    def get_providers(self) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class How:
    """How graphs are opened: threads of one run, providers best first, the runtime wished for, who hears of events."""

    threads: int = 1
    providers: tuple[str, ...] = (CPU,)
    backend: str = ORT
    model: str = ""
    watch: Watch = field(default=unwatched, compare=False)


def int8_path(path: Path, folder: Path | None = None) -> Path:
    """Where a graph's INT8 form lies in the home: named by the bytes it was made from, so it never fits another."""
    return (folder or artifacts.home() / "forms") / f"{artifacts.digest(path)}.int8.onnx"


def _open_hal(path: Path, how: How) -> Runs:
    """Another runtime or device, by the hardware layer; a graph it can't take is tried in standard operators alone."""
    from modelhub.hal.sessions import open_session

    backend, _, short = (
        how.backend.partition("-") if how.backend.startswith(OPENVINO) else (how.backend, "", "")
    )
    dtype = {"": "float32", "bf16": "bfloat16", "f16": "float16"}[short]
    try:
        return open_session(path, backend, dtype=dtype, thread_count=how.threads)
    except LookupError:
        raise
    except Exception:
        from modelhub.hal.lowering import to_standard

        return open_session(to_standard(path), backend, dtype=dtype, thread_count=how.threads)


def ort_options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # what goes wrong is raised, and we say it in our own words
    return options


def _open_ort(path: Path, threads: int, providers: Sequence[str], *, plain: bool = False) -> Runs:
    options = ort_options(threads)
    if plain:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(str(path), options, providers=list(providers))


def _open_standard(path: Path, threads: int) -> Runs:
    """The experts unrolled, their 8-bit weights widened: for a runtime that lacks the fused operators, or has others."""
    from modelhub.hal.lowering import to_standard

    return ort.InferenceSession(to_standard(path), ort_options(threads), providers=[CPU])


def chain_of(path: Path, how: How) -> list[tuple[str, Callable[[], Runs]]]:
    """(name, opener) of each session that may run this graph, the wish first."""
    links: list[tuple[str, Callable[[], Runs]]] = []
    if how.backend == ORT_INT8:
        if (quantised := int8_path(path)).is_file():
            links.append((ORT_INT8, lambda: _open_ort(quantised, how.threads, [CPU])))
    elif how.backend != ORT:
        links.append((how.backend, lambda: _open_hal(path, how)))
    elif how.providers[0] != CPU:
        links.append((how.providers[0], lambda: _open_ort(path, how.threads, how.providers)))
    links.append((CPU, lambda: _open_ort(path, how.threads, [CPU])))
    links.append((f"{CPU} (plain)", lambda: _open_ort(path, how.threads, [CPU], plain=True)))
    links.append((STANDARD, lambda: _open_standard(path, how.threads)))
    return links


def check_graph(path: Path, model: str) -> int:
    """How many nodes compute in whole numbers. Raises ModelRefused for what no server should open."""
    try:
        facts = read_graph(path)
    except NotAGraph as error:
        raise ModelRefused(model, f"{error}.", code="artifact_corrupt") from None
    if facts.outside:
        why = f"{path.name} keeps {facts.outside[0]!r} in another file; a graph must hold its own data."
        raise ModelRefused(model, why, code="artifact_refused")
    if facts.foreign:
        why = f"{path.name} uses operators that nobody here implements: {', '.join(facts.foreign[:5])}."
        raise ModelRefused(model, why, code="unknown_operator", operators=facts.foreign[:20])
    return facts.quantised


class GraphSession:
    """A graph that is open, with what it falls back to. Not for two threads at once where it may fail over.

    Raises ModelRefused when nothing can open it (unknown operators, outside data), BackendFailed when nothing can run
    it, onnxruntime's InvalidArgument for a feed that doesn't fit.
    """

    def __init__(
        self, path: Path, how: How, *, chain: list[tuple[str, Callable[[], Runs]]] | None = None
    ) -> None:
        self.path, self.how = Path(path), how
        self.quantised_nodes = check_graph(self.path, how.model)
        self._reference: Runs | None = None
        self._chain = chain or chain_of(self.path, how)
        self.refused: list[str] = []
        self._session = self._open_next()
        known = self.runs_on.startswith(CPU) or self.runs_on in (ORT_INT8, how.providers[0])
        self._trials = (
            0 if known else TRIALS
        )  # what CPU runs is the reference itself, or stands in where there is none

    def _open_next(self) -> Runs:
        reasons: list[str] = []
        while self._chain:
            self.runs_on, opener = self._chain.pop(0)
            try:
                return opener()
            except Exception as error:  # runtimes raise what their vendors chose
                if _memory_ran_out(error) and self.runs_on.startswith(CPU):
                    # the next link would take as much of the same memory, from the models beside
                    why = f"{self.path.name} takes more memory to open than there is."
                    raise ModelRefused(self.how.model, why, code="out_of_memory") from None
                reasons.append(f"{self.runs_on}: {brief(error)}")
                self.refused.append(reasons[-1])
                if self._chain:
                    log.warning("%s is not opened by %s", self.path.name, reasons[-1])
        raise ModelRefused(self.how.model, f"{self.path.name} can't be opened: {'; '.join(reasons)}.")

    def run(self, outputs: list[str], feed: Feed) -> list[np.ndarray]:
        """The named outputs, from the first session that gives them."""
        reasons: list[str] = []
        while True:
            try:
                if self._trials:
                    return self._tried(outputs, feed)
                return self._run(outputs, feed)
            except InvalidArgument:
                raise
            except Exception as error:
                if _memory_ran_out(error):
                    why = "this batch takes more memory than there is."
                    raise ModelRefused(self.how.model, why, code="out_of_memory") from None
                reasons.append(f"{self.runs_on}: {brief(error)}")
                self._fail_over(reasons)

    def _run(self, outputs: list[str], feed: Feed) -> list[np.ndarray]:
        if isinstance(self._session, ort.InferenceSession):
            return self._session.run(outputs, feed, _FETCHED_ONLY)
        return self._session.run(outputs, feed)

    def _tried(self, outputs: list[str], feed: Feed) -> list[np.ndarray]:
        """The first runs on another runtime are compared with ONNX Runtime's: one that answers otherwise is left at once.

        OpenVINO, for one, computes 64-bit integers in 32: a hash in a graph then is another hash, and no error says so.
        """
        self._trials -= 1
        found = self._run(outputs, feed)
        if self._reference is None:
            self._reference = _open_ort(self.path, self.how.threads, [CPU])
        right = self._reference.run(outputs, feed)
        if not all(_agree(ours, theirs) for ours, theirs in zip(found, right, strict=True)):
            raise _Strays(f"it answers otherwise than {CPU}")
        if not self._trials:
            self._reference = None
        return found

    def _fail_over(self, reasons: list[str]) -> None:
        left = self.runs_on
        self._trials, self._reference = 0, None
        if not self._chain:
            raise BackendFailed(self.path.name, reasons)
        try:
            self._session = self._open_next()
        except ModelRefused:
            raise BackendFailed(self.path.name, reasons) from None
        log.error("%s left %s for %s: %s", self.path.name, left, self.runs_on, reasons[-1])
        self.how.watch("failover", model=self.how.model, graph=self.path.stem, left=left, to=self.runs_on)

    def get_providers(self) -> list[str]:
        """Where it really runs, best first, as the runtime reports it."""
        return self._session.get_providers()

    @property
    def on_onnxruntime(self) -> bool:
        return isinstance(self._session, ort.InferenceSession)

    def outputs(self) -> list[str]:
        """Names of what the graph gives, where ONNX Runtime runs it."""
        if isinstance(self._session, ort.InferenceSession):
            return [node.name for node in self._session.get_outputs()]
        return []

    def width_of(self, output: int) -> int:
        """The last axis of an output, as the file declares it."""
        plain = _open_ort(self.path, 1, [CPU]) if not self.on_onnxruntime else self._session
        return int(plain.get_outputs()[output].shape[-1])  # type: ignore[attr-defined]


def executed(
    path: Path, threads: int, providers: Sequence[str], feed: Feed, outputs: list[str] | None = None
) -> Counter[tuple[str, str]]:
    """(operator, provider) of every node of one run, from the runtime's own profile: fused and placed as it really is.

    `outputs`: what is asked for, as a session asks; everything where it is None.
    A profiled session costs time at each run, so this is a session of its own, opened for one run and dropped.
    """
    options = ort_options(threads)
    with tempfile.TemporaryDirectory(prefix="switchyard-profile-") as folder:
        options.enable_profiling = True
        options.profile_file_prefix = os.path.join(folder, "run")
        session = ort.InferenceSession(str(path), options, providers=list(providers))
        session.run(outputs, feed, _FETCHED_ONLY)
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    ran: Counter[tuple[str, str]] = Counter()
    for event in events:
        about = event.get("args", {})
        if event.get("cat") == "Node" and event.get("name", "").endswith("_kernel_time"):
            ran[(about.get("op_name", ""), about.get("provider", ""))] += 1
    return ran


class _Strays(RuntimeError):
    """A session gave other values than the reference."""


def _agree(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Within a hundredth of the largest value: rounding of a shorter float, not another answer."""
    if ours.shape != theirs.shape:
        return False
    if ours.dtype == bool or theirs.dtype == bool:
        return bool((ours == theirs).all())
    other = ours != theirs  # equal infinities are equal; their difference would be no number
    scale = max(1.0, float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0)))
    return float(np.abs(ours[other] - theirs[other]).max(initial=0)) <= STRAYS * scale


def _memory_ran_out(error: Exception) -> bool:
    words = str(error).lower()
    return isinstance(error, MemoryError) or "failed to allocate memory" in words or "bad_alloc" in words


def brief(error: BaseException) -> str:
    """What an error says, on one line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]


def finite(values: np.ndarray, model: str) -> np.ndarray:
    """The same values. Raises NotFinite: what is no number is no answer."""
    if not np.isfinite(values).all():
        raise NotFinite(model)
    return values
