"""The models one server answers for: loaded when first asked for, verified against their manifests, kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelhub import artifacts
from modelhub.serving.errors import ServingError

SIDES: dict[str, tuple[str, ...]] = {
    "private": ("txt-base", "tabular-base", "lm-tiny"),
    "external": ("txt-edge", "tabular-edge", "lm-tiny"),
}
KINDS = {"text-classifier": "classification", "tabular": "prediction", "causal-lm": "chat"}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory: its runner, its manifest, and which clock measures its compute."""

    id: str
    kind: str
    runner: Any
    manifest: dict[str, Any]
    clock: Callable[[], int]


class ModelPool:
    """Resolves `txt-base/support-intent` to a loaded runner and a head.

    Raises ServingError 404 for a model this side doesn't serve; ArtifactCorrupt stops a load for good.
    """

    def __init__(self, side: str, *, trunk_dir: Path | None, threads: int = 1) -> None:
        self.side = side
        self.trunk_dir = trunk_dir
        self.threads = threads
        self._loaded: dict[str, Loaded] = {}
        self._lock = threading.Lock()

    @property
    def ids(self) -> tuple[str, ...]:
        return SIDES[self.side]

    def resolve(self, name: str, kind: str) -> tuple[Loaded, str]:
        """(model, head); the head is empty for a language model."""
        model_id, _, head = name.partition("/")
        if model_id not in self.ids:
            raise ServingError(
                404, "model_not_found", f"This server has no model {model_id!r}: it serves {self.ids}."
            )
        model = self.load(model_id)
        if model.kind != kind:
            raise ServingError(
                400, "wrong_endpoint", f"{model_id} is a {model.kind} model, not a {kind} model."
            )
        if kind != "causal-lm" and head.partition("@")[0] not in model.manifest["heads"]:
            heads = ", ".join(sorted(model.manifest["heads"]))
            raise ServingError(404, "model_not_found", f"{model_id} has no head {head!r}; it has {heads}.")
        return model, head

    def load(self, model_id: str) -> Loaded:
        model = self._loaded.get(model_id)
        if model is not None:
            return model
        with self._lock:
            if model_id not in self._loaded:
                self._loaded[model_id] = self._open(model_id)
            return self._loaded[model_id]

    def _open(self, model_id: str) -> Loaded:
        directory = artifacts.find(model_id)
        manifest = artifacts.verify(directory)
        kind = manifest["kind"]
        if kind == "text-classifier":
            from modelhub.serving.runners.text import TextClassifier

            trunk = self.trunk_dir if manifest.get("requires", {}).get("trunk") else None
            runner: Any = TextClassifier(directory, trunk_dir=trunk, threads=self.threads)
        elif kind == "tabular":
            from modelhub.serving.runners.tabular import TabularModel

            runner = TabularModel(directory)
        elif kind == "causal-lm":
            from modelhub.serving.runners.lm import CausalLM

            runner = CausalLM(directory)
        else:
            raise ServingError(404, "model_not_found", f"{model_id} is a {kind} and is not served.")
        return Loaded(model_id, kind, runner, manifest, self._clock(runner))

    def _clock(self, runner: Any) -> Callable[[], int]:
        """CPU time of the computing thread where one thread computes: a busy neighbour doesn't lengthen it.

        Several threads, or a device of its own, are measured by the wall.
        """
        providers = getattr(runner, "providers", ["CPUExecutionProvider"])
        on_cpu = all(p == "CPUExecutionProvider" for p in providers)
        return time.thread_time_ns if on_cpu and self.threads == 1 else time.perf_counter_ns
