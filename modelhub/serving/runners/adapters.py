"""Adapters inside a text model's body, many at once: their weights in stacks, and for each row of a batch its place in them.

Place 0 is empty: rows without an adapter share a batch with rows of any. A place is filled when an adapter is first asked
for, and the least recently used one leaves when there are too many or the server needs the memory. The graph that takes
the stacks is made from the body that was verified, each time it is opened.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.ml.adapters.stored import PARTS, AdapterFile, read_adapter
from modelhub.serving.errors import ModelRefused
from modelhub.serving.memory import GROWTH, Room, resident_bytes
from modelhub.serving.runtime import Feed, GraphSession, How
from modelhub.serving.trust import Trust

MOST_PLACES, FIRST_PLACES = 64, 4  # no batch has more rows, so each may bring an adapter of its own


class Adapters:
    """Gives each row its place and runs the body with them. Raises ModelRefused for an adapter that isn't to be served here."""

    def __init__(
        self, body: Path, manifest: dict[str, Any], how: How, *, trust: Trust | None = None, room: Room | None = None
    ) -> None:  # fmt: skip
        self._body, self._manifest, self._how, self._trust, self._room = (
            Path(body),
            manifest,
            how,
            trust,
            room,
        )
        self._lock = threading.Lock()
        self._places: OrderedDict[str, int] = OrderedDict()  # least recently used first
        self._kinds: dict[str, str] = {}
        self._bytes: dict[str, int] = {}
        self._stacks: dict[str, np.ndarray] = {}  # part -> (places, blocks, …)
        self._sessions: dict[tuple[str, ...], GraphSession] = {}
        self._blocks = 0
        self._without: set[str] = set()  # fine-tuned heads that have nothing inside the trunk

    # ------------------------------------------------------------------ asking
    def places_of(self, names: Sequence[str]) -> list[int]:
        """Where each row's adapter lies, brought there where it doesn't yet; 0 for a head that has none.

        Raises ModelRefused, ArtifactMissing, ArtifactCorrupt; out_of_memory where one batch needs more than fit together.
        """
        with self._lock:
            found = {name: self._place(name) for name in dict.fromkeys(names)}
            if any(place and self._places.get(name) != place for name, place in found.items()):
                why = "the adapters that one batch asks for don't fit into memory together."
                raise ModelRefused(self._how.model, why, code="out_of_memory")
            return [found[name] for name in names]

    def _place(self, name: str) -> int:
        if "@" not in name or name in self._without:
            return 0
        if name in self._places:
            self._places.move_to_end(name)
            if self._room is not None:
                self._room.use(self._full(name))
            return self._places[name]
        folder = artifacts.find_head(self._manifest["id"], name)
        if self._trust is not None:
            self._trust.check(folder, self._full(name))
        manifest = artifacts.verify(folder)
        self._check(name, manifest)
        found = read_adapter(folder, manifest)
        if found is None:
            self._without.add(name)
            return 0
        return self._enter(name, found)

    def put(self, name: str, adapter: AdapterFile) -> int:
        """Put an adapter that is in memory into a place of its own, or in place of the one of this name."""
        with self._lock:
            if name in self._places:
                self._fill(self._places[name], adapter)
                self._kinds[name] = adapter.method
                return self._places[name]
            return self._enter(name, adapter)

    def warm(self, name: str) -> None:
        """Bring an adapter into its place and open the graph that runs it. Raises as `places_of`."""
        (place,) = self.places_of([name])
        if place:
            self._session(self._kinds_at({place}))

    def held(self) -> list[dict[str, Any]]:
        """Adapters in memory, least recently used first, with their kind and bytes."""
        return [{"name": n, "method": self._kinds[n], "bytes": self._bytes[n]} for n in self._places]

    def sessions(self) -> list[GraphSession]:
        return list(self._sessions.values())

    def close(self) -> None:
        with self._lock:
            for name in list(self._places):
                self._leave(name, quietly=True)
            self._forget_graphs()

    # ------------------------------------------------------------------ running
    def features(self, outputs: list[str], feed: Feed, places: Sequence[int]) -> list[np.ndarray]:
        """The body's outputs, each row with the adapter of its place. Shapes: places (B,)."""
        kinds = self._kinds_at(set(places))
        session = self._session(kinds)
        whole = dict(feed) | {"adapter": np.asarray(places, np.int64)}
        first = self._layers - self._blocks
        for kind in kinds:
            for part in PARTS[kind]:
                stack = self._stacks[part]
                whole |= {f"{part}.{first + block}": stack[block] for block in range(self._blocks)}
        return session.run(outputs, whole)

    def _kinds_at(self, places: set[int]) -> tuple[str, ...]:
        return tuple(sorted({self._kinds[n] for n, place in self._places.items() if place in places}))

    def _session(self, kinds: tuple[str, ...]) -> GraphSession:
        with self._lock:
            if kinds not in self._sessions:
                from modelhub.ml.text.adapted_graph import NotAdaptable, write_adapted

                name = f"{artifacts.digest(self._body)}.{'-'.join(kinds)}.{self._blocks}.onnx"
                try:
                    path = write_adapted(self._body, artifacts.home() / "forms" / name, kinds, self._blocks)
                except NotAdaptable as error:
                    raise ModelRefused(
                        self._how.model, f"{error}.", code="adapter_of_another_trunk"
                    ) from None
                self._sessions[kinds] = self._admitted(kinds, path)
            elif self._room is not None:
                self._room.use(self._graph(kinds))
            return self._sessions[kinds]

    def _admitted(self, kinds: tuple[str, ...], path: Path) -> GraphSession:
        """The graph beside the body takes memory of its own, and leaves like an adapter when others need it."""
        if self._room is None:
            return GraphSession(path, self._how)
        size = path.stat().st_size
        for left in self._room.make_place(self._graph(kinds), int(GROWTH * size)):
            self._how.watch("evict", model=left)
        before = resident_bytes()
        session = GraphSession(path, self._how)
        needed = max(size, resident_bytes() - before)
        self._room.enter(self._graph(kinds), needed, lambda: self._sessions.pop(kinds, None))
        return session

    def _forget_graphs(self) -> None:
        for kinds in self._sessions:
            if self._room is not None:
                self._room.leave(self._graph(kinds))
        self._sessions.clear()

    # ------------------------------------------------------------------ inside
    @cached_property
    def _layers(self) -> int:
        # Not at the top: it takes onnx, which a server without adapters hasn't.
        from modelhub.ml.text.adapted_graph import layers_of

        return layers_of(self._body)

    def _full(self, name: str) -> str:
        return f"{self._manifest['id']}/{name}+adapter"

    def _graph(self, kinds: tuple[str, ...]) -> str:
        return f"{self._manifest['id']}/graph for {' and '.join(kinds)}"

    def _check(self, name: str, manifest: dict[str, Any]) -> None:
        """An adapter is its own workload's: under another's name, or on another trunk, it is refused."""
        asked = name.partition("@")[0]
        if manifest.get("head") != asked:
            why = f"it was made for the workload {manifest.get('head')!r}, and {asked!r} asks for it."
            raise ModelRefused(f"{self._manifest['id']}/{name}", why, code="adapter_of_another_workload")
        own = self._manifest["files"]["body"]["sha256"]
        if manifest.get("body_sha256") != own:
            other = str(manifest.get("body_sha256"))
            why = f"it is an adapter of another trunk ({other[:12]}…, not {own[:12]}…); train it again."
            raise ModelRefused(f"{self._manifest['id']}/{name}", why, code="adapter_of_another_trunk")

    def _enter(self, name: str, adapter: AdapterFile) -> int:
        if adapter.blocks > self._layers:
            why = f"it has {adapter.blocks} blocks and the trunk {self._layers}."
            raise ModelRefused(f"{self._manifest['id']}/{name}", why, code="adapter_of_another_trunk")
        if self._room is not None:
            for left in self._room.make_place(self._full(name), int(GROWTH * adapter.size)):
                self._how.watch("evict", model=left)
        while len(self._places) >= MOST_PLACES:
            self._leave(next(iter(self._places)))
        taken = set(self._places.values())
        place = next(i for i in range(1, MOST_PLACES + 1) if i not in taken)
        self._fill(place, adapter)
        self._places[name], self._kinds[name], self._bytes[name] = place, adapter.method, adapter.size
        if self._room is not None:
            self._room.enter(self._full(name), adapter.size, lambda: self._dropped(name))
        return place

    def _fill(self, place: int, adapter: AdapterFile) -> None:
        """Write the weights into a place; stacks grow in places, blocks and rank as they must."""
        if adapter.blocks > self._blocks:
            self._blocks = adapter.blocks
            self._forget_graphs()
        for parts in PARTS.values():
            for part in parts:
                if part in adapter.arrays:
                    self._grow(part, place, adapter.arrays[part])
                    own = self._stacks[part][:, place]
                    own[:] = 0.0
                    value = adapter.arrays[part]
                    own[self._blocks - adapter.blocks :, : value.shape[1], : value.shape[2]] = value
                elif part in self._stacks and place < self._stacks[part].shape[1]:
                    self._stacks[part][:, place] = 0.0  # what an adapter of the other kind left here
        for part, stack in list(self._stacks.items()):
            self._grow(part, place, np.zeros((0, *stack.shape[2:]), np.float32))

    def _grow(self, part: str, place: int, value: np.ndarray) -> None:
        """A new array where a stack is too small: a batch that runs goes on with the one it has."""
        have = self._stacks.get(part, np.zeros((0, 0, 0, 0), np.float32))
        places = max(have.shape[1], FIRST_PLACES + 1)
        while places <= place:
            places = min(2 * places, MOST_PLACES + 1)
        wanted = (
            self._blocks,
            places,
            max(have.shape[2], value.shape[1]),
            max(have.shape[3], value.shape[2]),
        )
        if wanted == have.shape:
            return
        grown = np.zeros(wanted, np.float32)
        grown[self._blocks - have.shape[0] :, : have.shape[1], : have.shape[2], : have.shape[3]] = have
        self._stacks[part] = grown

    def _leave(self, name: str, *, quietly: bool = False) -> None:
        if self._places.pop(name, None) is None:
            return
        self._kinds.pop(name), self._bytes.pop(name)
        if self._room is not None:
            self._room.leave(self._full(name))
        if not quietly:
            self._how.watch("evict", model=self._full(name))

    def _dropped(self, name: str) -> None:
        """The room asked for its place; it has left there already."""
        if self._places.pop(name, None) is not None:
            self._kinds.pop(name), self._bytes.pop(name)
