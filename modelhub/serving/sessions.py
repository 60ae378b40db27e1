"""The models one server answers for: verified, admitted by memory, kept while they are used, replaced while they run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelhub import artifacts
from modelhub.serving.errors import ModelRefused, OutOfMemory, ServingError
from modelhub.serving.memory import GROWTH, Room, resident_bytes
from modelhub.serving.runners.opening import open_runner
from modelhub.serving.runtime import CPU, ORT, GraphSession, How, Watch, brief, unwatched
from modelhub.serving.trust import Trust

log = logging.getLogger(__name__)
SIDES: dict[str, tuple[str, ...]] = {
    "private": ("txt-base", "tabular-base", "tabular-dgn", "lm-tiny"),
    "external": ("txt-edge", "tabular-edge", "lm-tiny"),
}
REFUSED_S = 1.0  # until a refused model is looked at again
KINDS = {"text-classifier": "classification", "tabular": "prediction", "causal-lm": "chat"}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory: its runner, its manifest, and which clock measures its compute.

    `digest` names the manifest it was opened from; two versions of one model may be in memory while one takes over.
    """

    id: str
    kind: str
    runner: Any
    manifest: dict[str, Any]
    clock: Callable[[], int]
    digest: str = ""
    backend: str = ORT

    @property
    def key(self) -> str:
        return f"{self.id}@{self.digest[:12]}/{self.backend}"

    @property
    def version(self) -> str:
        return f"{self.manifest.get('version', '')}-{self.digest[:12]}"

    @property
    def sessions(self) -> Sequence[GraphSession]:
        return getattr(self.runner, "sessions", ())


class ModelPool:
    """Resolves `txt-base/support-intent` to a loaded runner and a head.

    Loading, dropping and replacing happen in the computing thread. Raises ServingError 404 for a model this side
    doesn't serve, ModelRefused for one that is corrupt, foreign or can't be opened, OutOfMemory for one that doesn't
    fit; what else is loaded stays.
    """

    def __init__(
        self, side: str, *, trunk_dir: Path | None, threads: int = 1, ids: Sequence[str] | None = None,
        room: Room | None = None, trust: Trust | None = None, watch: Watch = unwatched, backends: dict[str, str] | None = None,
        providers: Sequence[str] = (CPU,), counted: Any = None, count_every: int = 0,
    ) -> None:  # fmt: skip
        self.side, self.trunk_dir, self.threads = side, trunk_dir, threads
        self.ids: tuple[str, ...] = tuple(ids or SIDES[side])
        self.room, self.trust, self.watch = room or Room(), trust or Trust(), watch
        self.backends = dict(backends or {})
        self.counted, self.count_every = counted, count_every
        self.dropped: Callable[[Loaded], None] = lambda model: None
        self._providers = tuple(providers)
        self._loaded: dict[str, Loaded] = {}
        self._refused: dict[str, tuple[float, ServingError]] = {}
        self._most_rows: dict[str, int] = {}
        self._lock = threading.RLock()

    # ------------------------------------------------------------------ asking
    def resolve(self, name: str, kind: str) -> tuple[Loaded, str]:
        """(model, head). A fine-tuned language model is one of its own, by its whole name."""
        model_id, _, head = name.partition("/")
        model = self.load(model_id)
        if model.kind != kind:
            raise ServingError(
                400, "wrong_endpoint", f"{model_id} is a {model.kind} model, not a {kind} model."
            )
        if kind == "causal-lm":
            if "@" in head and not _made_here(model_id, head):
                raise ServingError(404, "model_not_found", f"There is no fine-tuned {head!r} of {model_id}.")
            return self.load(name) if "@" in head else model, head
        if head.partition("@")[0] not in model.manifest["heads"] and not _made_here(model_id, head):
            heads = ", ".join(sorted(model.manifest["heads"]))
            raise ServingError(404, "model_not_found", f"{model_id} has no head {head!r}; it has {heads}.")
        return model, head

    def loaded(self, model_id: str) -> Loaded | None:
        """The model if it is in memory; nothing is read."""
        return self._loaded.get(model_id)

    def load(self, model_id: str) -> Loaded:
        """The model, brought into memory where it isn't."""
        model = self._loaded.get(model_id)
        if model is not None:
            self.room.use(model.key)
            return model
        if model_id.partition("/")[0] not in self.ids:
            raise ServingError(
                404, "model_not_found", f"This server has no model {model_id!r}: it serves {self.ids}."
            )
        with self._lock:
            if model_id not in self._loaded:
                self._loaded[model_id] = self.open(model_id, self.backends.get(model_id, ORT))
                self.watch("load", model=model_id)
            return self._loaded[model_id]

    # ------------------------------------------------------------------ replacing
    def changed(self) -> list[str]:
        """Loaded models whose artifact on disk is another than the one they were opened from."""
        found = []
        for model_id, model in list(self._loaded.items()):
            try:
                if model.digest and self._digest(model_id) != model.digest:
                    found.append(model_id)
            except (artifacts.ArtifactMissing, OSError):
                continue  # taken away, or being written: what is loaded goes on
        return found

    def reload(self, model_id: str) -> Loaded:
        """Open what lies on disk beside what runs, then let new requests go to it; the old one ends what it has begun.

        When the new one can't be served the old one stays, and the refusal is raised.
        """
        with self._lock:
            new = self.open(model_id, self.backends.get(model_id, ORT))
            self.swap(new)
            self.watch("reload", model=model_id)
            return new

    def swap(self, new: Loaded) -> Loaded | None:
        """New requests are answered by `new` from now on; the one before it leaves when nobody holds it."""
        old = self._loaded.get(new.id)
        self._loaded[new.id] = new
        if old is not None and old.key != new.key:
            self.room.retire(old.key)
        return old

    def swap_held(self, model: Loaded) -> None:
        """New requests are answered by `model`; the one before it stays in memory until somebody retires it."""
        self._loaded[model.id] = model

    def open(self, model_id: str, backend: str) -> Loaded:
        """A model admitted to memory and opened, beside whatever version of it runs."""
        directory = _folder(model_id)
        self._lately_refused(f"{model_id}/{backend}")
        try:
            self.trust.check(directory, model_id)
            return self._admit(model_id, directory, self._digest(model_id), backend)
        except ServingError as error:
            self._refused[f"{model_id}/{backend}"] = (time.monotonic(), error)
            self.watch("refuse", model=model_id, reason=error.code)
            raise

    def _lately_refused(self, name: str) -> None:
        """A model that is asked for all the time is hashed and opened in vain now and then, not each time."""
        at, error = self._refused.get(name, (0.0, None))
        if error is not None and time.monotonic() - at < REFUSED_S:
            raise error

    def _admit(self, model_id: str, directory: Path, digest: str, backend: str) -> Loaded:
        try:
            manifest = artifacts.verify(directory)
        except artifacts.ArtifactCorrupt as error:
            raise ModelRefused(model_id, f"{error}.", code="artifact_corrupt") from None
        _check_workload(model_id, manifest)
        if manifest["kind"] not in KINDS:
            raise ServingError(
                404, "model_not_found", f"{model_id} is a {manifest['kind']} and is not served."
            )
        on_disk = self._file_bytes(manifest)
        name = f"{model_id}@{digest[:12]}/{backend}"
        for left in self.room.make_place(name, int(GROWTH * on_disk)):
            self.watch("evict", model=left.partition("@")[0])
        before = resident_bytes()
        model = self._open(model_id, directory, digest, backend)
        needed = max(on_disk, resident_bytes() - before)
        try:
            for left in self.room.make_place(name, needed):
                self.watch("evict", model=left.partition("@")[0])
        except OutOfMemory:
            raise OutOfMemory(model_id, needed, self.room.free) from None
        self.room.enter(name, needed, lambda: self._drop(model))
        return model

    def _open(self, model_id: str, directory: Path, digest: str, backend: str) -> Loaded:
        how = How(self.threads, self._providers, backend, model_id, self.watch)
        try:
            runner = open_runner(
                directory, how, trunk_dir=self.trunk_dir, trust=self.trust, room=self.room, counted=self.counted,
                count_every=self.count_every,
            )  # fmt: skip
        except artifacts.ArtifactCorrupt as error:
            raise ModelRefused(model_id, f"{error}.", code="artifact_corrupt") from None
        except MemoryError as error:
            raise ModelRefused(model_id, f"memory ran out: {brief(error)}", code="out_of_memory") from None
        manifest = artifacts.load_manifest(directory)
        return Loaded(model_id, manifest["kind"], runner, manifest, self._clock(runner), digest, backend)

    def _drop(self, model: Loaded) -> None:
        if self._loaded.get(model.id) is model:
            del self._loaded[model.id]
        if hasattr(model.runner, "close"):
            model.runner.close()
        self.dropped(model)

    def _digest(self, model_id: str) -> str:
        return artifacts.digest(_folder(model_id) / artifacts.MANIFEST)

    def _file_bytes(self, manifest: dict[str, Any]) -> int:
        total = sum(entry["bytes"] for entry in manifest["files"].values())
        trunk = (
            self.trunk_dir / "model.onnx"
            if self.trunk_dir and "trunk" in manifest.get("requires", {})
            else None
        )
        return total + (trunk.stat().st_size if trunk is not None and trunk.is_file() else 0)

    # ------------------------------------------------------------------ measuring
    def grown(self, model: Loaded, rows: int, call: Callable[[], Any]) -> Any:
        """The call's result; when a batch is larger than any before, what memory it left behind is booked."""
        if rows <= self._most_rows.get(model.key, 0):
            return call()
        self._most_rows[model.key] = rows
        before = resident_bytes()
        try:
            return call()
        finally:
            self.room.grew(model.key, resident_bytes() - before)

    def describe(self, model_id: str) -> dict[str, Any]:
        """What is served under an id, and how it really runs; a model that isn't loaded says why."""
        model = self._loaded.get(model_id)
        if model is None:
            known = [error for name, (_, error) in self._refused.items() if name.startswith(f"{model_id}/")]
            return {"id": model_id, "loaded": False, "refused": known[-1].message if known else ""}
        sessions = model.sessions
        quantised = sum(session.quantised_nodes for session in sessions)
        chosen = getattr(model.runner, "chosen", None)
        return {
            "id": model_id, "loaded": True, "task": KINDS[model.kind], "heads": sorted(model.manifest.get("heads", {})),
            "adapters": model.runner.adapters() if hasattr(model.runner, "adapters") else [],
            "version": model.version, "backend": model.backend,
            "providers": getattr(model.runner, "providers", [CPU]),
            "runs_on": sorted({session.runs_on for session in sessions}),
            "precision": "int8" if quantised else "float32", "quantised_nodes": quantised,
            "form": chosen.form if chosen else "", "passed_over": chosen.passed_over if chosen else [],
            "memory_bytes": self.room.bytes_of(model.key),
        }  # fmt: skip

    def _clock(self, runner: Any) -> Callable[[], int]:
        """CPU time of the computing thread where one thread computes: a busy neighbour doesn't lengthen it.

        Several threads, or a device of its own, are measured by the wall.
        """
        providers = getattr(runner, "providers", [CPU])
        on_cpu = all(p == CPU for p in providers)
        return time.thread_time_ns if on_cpu and self.threads == 1 else time.perf_counter_ns


def _folder(name: str) -> Path:
    """Where a model lies, or a fine-tuned copy of one (`lm-tiny/code-assist@ft-ab12`). Raises ArtifactMissing."""
    model_id, _, head = name.partition("/")
    return artifacts.find_head(model_id, head) if head else artifacts.find(model_id)


def _check_workload(name: str, manifest: dict[str, Any]) -> None:
    """Under another workload's name a fine-tuned copy is refused."""
    asked = name.partition("/")[2].partition("@")[0]
    if asked and manifest.get("head") != asked:
        why = f"it was made for the workload {manifest.get('head')!r}, and {asked!r} asks for it."
        raise ModelRefused(name, why, code="adapter_of_another_workload")


def _made_here(model_id: str, head: str) -> bool:
    """Whether it is a fine-tuned head of this model: a workload that is new to the model has no other."""
    try:
        return "@" in head and bool(artifacts.find_head(model_id, head))
    except artifacts.ArtifactMissing:
        return False
