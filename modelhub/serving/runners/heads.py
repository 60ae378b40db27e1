"""The heads of a text model: those it ships with, and adapters that were fine-tuned on it, loaded and let go by use."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.serving.errors import ModelRefused
from modelhub.serving.gated import GatedFile
from modelhub.serving.gates import check_gate, check_golden, needs_gate
from modelhub.serving.memory import GROWTH, Room, resident_bytes
from modelhub.serving.runtime import GraphSession, How
from modelhub.serving.trust import Trust

MOST_ADAPTERS = 32  # fine-tuned heads held at once; the least recently used leaves


class HeadMissing(KeyError):
    """The model has no head of that name, shipped or fine-tuned."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Head:
    """A head that is open: its graph, its labels, and the temperature that calibrates it.

    `gated`: the whole model's file, where the head lies in it (under `name`) and its answers come with what `operator`
    blocked.
    """

    session: GraphSession
    labels: list[str]
    temperature: float
    gated: GatedFile | None = None
    name: str = ""
    operator: Operator | None = None


@dataclass(frozen=True, slots=True)
class Operator:
    """The gate of a model whose heads lie in one file, for answers that adapters give on top of it."""

    kinds: list[str]
    tau: np.ndarray

    def blocked(self, risk: np.ndarray) -> np.ndarray:
        """Rows that aren't wholly below the thresholds; what is no number is blocked. Shapes: (N, K) -> (N,) of bool."""
        return np.logical_not((risk < self.tau).all(axis=1))


def operator_of(manifest: dict[str, Any]) -> Operator:
    """The gate as a manifest tells it."""
    gate = manifest["gate"]
    return Operator(gate["kinds"], np.array([gate["tau"][kind] for kind in gate["kinds"]], np.float32))


class Heads:
    """Gives a head by name. An adapter that was fitted on another body or trunk is refused, and nothing else is."""

    def __init__(
        self, directory: Path, manifest: dict[str, Any], how: How, *, trust: Trust | None = None, room: Room | None = None,
        tokenizer: str = "",
    ) -> None:  # fmt: skip
        self._directory, self._manifest, self._how = directory, manifest, how
        self._trust, self._room, self._tokenizer_digest = trust, room, tokenizer
        self._lock = threading.Lock()
        self.operator: Operator | None = None
        self._gated = self._open_gated() if needs_gate(manifest) else None
        self._shipped = {name: self._load_shipped(name) for name in manifest["heads"]}
        self._tuned: OrderedDict[str, Head] = OrderedDict()

    def of(self, name: str) -> Head:
        """Raises HeadMissing, ArtifactCorrupt, ModelRefused (another trunk, unsigned, no room)."""
        found = self._shipped.get(name)
        if found is not None:
            return found
        with self._lock:
            if name not in self._tuned:
                self._tuned[name] = self._load_tuned(name)
                while len(self._tuned) > MOST_ADAPTERS:
                    self._let_go(next(iter(self._tuned)))
            self._tuned.move_to_end(name)
            if self._room is not None:
                self._room.use(self._full(name))
            return self._tuned[name]

    def sessions(self) -> list[GraphSession]:
        return [head.session for head in (*self._shipped.values(), *self._tuned.values())]

    def tuned(self) -> list[str]:
        """Adapters in memory, least recently used first."""
        return list(self._tuned)

    def close(self) -> None:
        """Give the room of every adapter back."""
        for name in self.tuned():
            self._let_go(name, quietly=True)

    # ------------------------------------------------------------------ inside
    def _full(self, name: str) -> str:
        return f"{self._manifest['id']}/{name}"

    def _let_go(self, name: str, *, quietly: bool = False) -> None:
        if self._tuned.pop(name, None) is None:
            return
        if self._room is not None:
            self._room.leave(self._full(name))
        if not quietly:
            self._how.watch("evict", model=self._full(name))

    def _open_gated(self) -> GatedFile:
        """Raises ModelRefused where the operator isn't what the manifest promises."""
        path = artifacts.file_of(self._directory, self._manifest, "body")
        check_gate(path, self._manifest)
        gated = GatedFile(path, list(self._manifest["heads"]), self._how)
        check_golden(self._directory, self._manifest, gated)
        gate = self._manifest["gate"]
        self.operator = Operator(
            gate["kinds"], np.array([gate["tau"][kind] for kind in gate["kinds"]], np.float32)
        )
        return gated

    def _load_shipped(self, name: str) -> Head:
        entry = self._manifest["heads"][name]
        if self._gated is not None:
            temperature = float(entry.get("temperature", 1.0))
            return Head(
                self._gated.session(name), entry["labels"], temperature, self._gated, name, self.operator
            )
        path = artifacts.file_of(self._directory, self._manifest, f"head:{name}")
        return Head(GraphSession(path, self._how), entry["labels"], float(entry.get("temperature", 1.0)))

    def _load_tuned(self, name: str) -> Head:
        if "@" not in name:
            known = ", ".join(self._manifest["heads"])
            raise HeadMissing(f"{self._manifest['id']} has no head {name!r}; it has: {known}")
        try:
            folder = artifacts.find_head(self._manifest["id"], name)
        except artifacts.ArtifactMissing as error:
            raise HeadMissing(str(error)) from error
        if self._trust is not None:
            self._trust.check(folder, self._full(name))
        manifest = artifacts.verify(folder)
        if needs_gate(manifest):
            return self._load_student(name, folder, manifest)
        self._check_base(name, manifest)
        path = artifacts.file_of(folder, manifest, "head")
        head = self._admitted(name, path, manifest)
        self._how.watch("load", model=self._full(name))
        return head

    def _load_student(self, name: str, folder: Path, manifest: dict[str, Any]) -> Head:
        """A compressed head: a whole small model behind its own gate, read with the same tokenizer as this one."""
        read_by = self._tokenizer_digest
        if read_by and manifest["files"]["tokenizer"]["sha256"] != read_by:
            why = "it reads texts with another tokenizer than this model's."
            raise ModelRefused(self._full(name), why, code="adapter_of_another_trunk")
        workload = name.partition("@")[0]
        if list(manifest["heads"]) != [workload]:
            raise ModelRefused(
                self._full(name), f"it answers {', '.join(manifest['heads'])}, not {workload}."
            )
        path = artifacts.file_of(folder, manifest, "body")
        check_gate(path, manifest)
        gated = GatedFile(path, [workload], self._how)
        check_golden(folder, manifest, gated)
        entry = manifest["heads"][workload]
        operator = operator_of(manifest)
        self._how.watch("load", model=self._full(name))
        return Head(
            gated.session(workload), entry["labels"], float(entry["temperature"]), gated, workload, operator
        )

    def _check_base(self, name: str, manifest: dict[str, Any]) -> None:
        """Numbers fitted on one trunk mean nothing on another, and nothing would look wrong."""
        if manifest.get("body_sha256") != self._manifest["files"]["body"]["sha256"]:
            why = "it was fitted on another body than this model's; train it again on this one."
            raise ModelRefused(self._full(name), why, code="adapter_of_another_trunk")
        own = self._manifest["requires"].get("trunk", {}).get("sha256")
        named = manifest.get("trunk_sha256", own)
        if named != own:
            why = f"it was fitted on trunk {str(named)[:12]}… and this model has {str(own)[:12]}…"
            raise ModelRefused(self._full(name), why, code="adapter_of_another_trunk")

    def _admitted(self, name: str, path: Path, manifest: dict[str, Any]) -> Head:
        def opened() -> Head:
            session = GraphSession(path, self._how)
            return Head(session, manifest["labels"], float(manifest.get("temperature", 1.0)))

        if self._room is None:
            return opened()
        full, needed = self._full(name), int(GROWTH * path.stat().st_size)
        for left in self._room.make_place(full, needed):
            self._how.watch("evict", model=left)
        before = resident_bytes()
        head = opened()
        grown = resident_bytes() - before
        self._room.enter(full, max(path.stat().st_size, grown), lambda: self._dropped(name))
        return head

    def _dropped(self, name: str) -> None:
        """The room asked for its place; it has left there already."""
        self._tuned.pop(name, None)
