"""Devices that misbehave: one fails, one lies, one crawls, one goes away. They keep the contract of a backend."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from modelhub.hal.operators import OPERATORS, Dims, Operands
from modelhub.hal.registry import Implementation, Prepared, Presence

FIRST = 1000  # before every real backend, so that only examination and measurement can keep them out


class FakeDevice:
    """Right and quick; the others differ in one thing. `operators`: which it implements."""

    device = "cpu"

    def __init__(
        self, name: str = "honest", operators: Sequence[str] = ("matmul", "ffn_gelu"), dtype: str = "float32"
    ):
        self.name, self.operators, self.dtype = name, operators, dtype
        self.calls = 0

    def presence(self) -> Presence:
        return Presence(True, "a fake device", "1")

    def implementations(self) -> Sequence[Implementation]:
        return [
            Implementation(o, self.name, self.device, self.dtype, partial(self._prepare, o), priority=FIRST)
            for o in self.operators
        ]

    def _prepare(self, name: str, constants: Operands, attributes: Mapping[str, Any], dims: Dims) -> Prepared:
        op = OPERATORS[name]

        def run(*activations: np.ndarray) -> Any:
            self.calls += 1
            found = op.exact({**dict(zip(op.activations, activations, strict=True)), **constants}, attributes)
            return self.answer(*(part.astype(np.float32) for part in found))

        return Prepared(run)

    def answer(self, *found: np.ndarray) -> Any:
        return found if len(found) > 1 else found[0]


class LyingDevice(FakeDevice):
    """Says float32 and computes in sixteen bits, as a device with the wrong switch does."""

    def answer(self, *found: np.ndarray) -> Any:
        return super().answer(*(part.astype(np.float16).astype(np.float32) for part in found))


class NotANumberDevice(FakeDevice):
    """Right until `after` calls were made; then one number in its answer isn't finite."""

    def __init__(self, *args: Any, after: int = 0, **named: Any):
        super().__init__(*args, **named)
        self.after = after

    def answer(self, *found: np.ndarray) -> Any:
        if self.calls > self.after:
            found[0].flat[0] = np.nan
        return super().answer(*found)


class CrawlingDevice(FakeDevice):
    """Answers rightly, `seconds` late: the first `quick` calls (its examination) are in time."""

    def __init__(self, *args: Any, seconds: float = 60.0, quick: int = 0, **named: Any):
        super().__init__(*args, **named)
        self.seconds, self.quick = seconds, quick
        self.stop = threading.Event()  # lets a test end the waiting

    def answer(self, *found: np.ndarray) -> Any:
        if self.calls > self.quick:
            self.stop.wait(self.seconds)
        return super().answer(*found)


class VanishingDevice(FakeDevice):
    """Works until `gone` is set; then every call and every preparation raises, as after a device was unplugged."""

    def __init__(self, *args: Any, **named: Any):
        super().__init__(*args, **named)
        self.gone = False

    def presence(self) -> Presence:
        return Presence(not self.gone, "unplugged" if self.gone else "a fake device", "1")

    def answer(self, *found: np.ndarray) -> Any:
        self._here()
        return super().answer(*found)

    def _prepare(self, name: str, constants: Operands, attributes: Mapping[str, Any], dims: Dims) -> Prepared:
        self._here()
        return super()._prepare(name, constants, attributes, dims)

    def _here(self) -> None:
        if self.gone:
            raise RuntimeError("device 0 is lost")
