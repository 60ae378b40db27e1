"""Who can run which operator: operator × device × dtype × shape, with tolerance and priority.

A backend module offers `backends() -> list[Backend]`; it may be imported without its runtime and says in `presence()` whether
that runtime and its device are really here. Nothing in this file imports a runtime.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from modelhub.hal.operators import OPERATORS, Dims, Operands

DTYPES = ("float32", "tf32", "float16", "bfloat16", "int8")
# largest error against float64, relative to the largest magnitude of the answer; INT8 is judged by a task (conformance.py)
TOLERANCES = {"float32": 1e-5, "tf32": 1e-3, "float16": 1e-3, "bfloat16": 1e-2}
AGREEMENT = 0.985  # INT8: share of rows whose answer must be that of float64

BACKENDS = (
    "modelhub.hal.backends.torch_cpu",
    "modelhub.hal.backends.ort_cpu",
    "modelhub.hal.backends.native_cpu",
    "modelhub.hal.backends.openvino_cpu",
    "modelhub.hal.backends.reference",
    "modelhub.hal.backends.cuda",
    "modelhub.hal.backends.ort_devices",
    "modelhub.hal.backends.emulated",
)


class BackendFailed(RuntimeError):
    """An implementation raised, gave numbers that aren't finite, or took longer than it may."""


class NoBackend(LookupError):
    """No backend that is present runs this operator on these shapes."""


@dataclass(frozen=True, slots=True)
class Presence:
    """Is a backend's runtime and device here? `detail` says what was found or is missing; `version` keys the autotune cache."""

    present: bool
    detail: str
    version: str = ""


@dataclass(slots=True)
class Prepared:
    """An operator with its constants in place.

    `load` brings a numpy array to the backend, `run` takes loaded activations in the operator's order, `read` brings one
    result back (a tuple for operators of several outputs), `synchronise` waits until a device has really finished.
    """

    run: Callable[..., Any]
    load: Callable[[np.ndarray], Any] = lambda array: array
    read: Callable[[Any], Any] = lambda value: value
    synchronise: Callable[[], None] = lambda: None
    extra_bytes: int = 0  # memory taken by the prepared constants

    def __call__(self, *activations: np.ndarray) -> tuple[np.ndarray, ...]:
        """Numpy in, a tuple of numpy out."""
        found = self.read(self.run(*(self.load(array) for array in activations)))
        return found if isinstance(found, tuple) else (found,)


def always(dims: Dims) -> bool:
    """The shape predicate of an implementation that takes every shape."""
    return True


@dataclass(frozen=True, slots=True)
class Implementation:
    """One way to run one operator.

    `prepare(constants, attributes, dims)` gives a Prepared; `fits(dims)` is the predicate on shapes; `priority` decides
    before anything was measured, higher first; `fused=False` marks the chain of single steps that fusion is compared with,
    `emulated=True` numbers of a device computed elsewhere: neither is ever chosen to serve.
    """

    operator: str
    backend: str
    device: str
    dtype: str
    prepare: Callable[[Operands, Mapping[str, Any], Dims], Prepared]
    fits: Callable[[Dims], bool] = always
    priority: int = 0
    tolerance: float | None = None
    fused: bool = True
    emulated: bool = False
    variant: str = ""

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise ValueError(
                f"{self.backend} implements {self.operator!r}, which is no operator: {', '.join(OPERATORS)}"
            )
        if self.dtype not in DTYPES:
            raise ValueError(f"{self.backend}: dtype {self.dtype!r} is none of {', '.join(DTYPES)}")

    @property
    def key(self) -> str:
        """`backend/dtype`, with the variant where a backend has several: a name for people, caches and metrics."""
        return f"{self.backend}/{self.dtype}" + (f"/{self.variant}" if self.variant else "")

    @property
    def allowed_error(self) -> float | None:
        """Its tolerance; None for INT8, which a task judges."""
        return self.tolerance if self.tolerance is not None else TOLERANCES.get(self.dtype)


class Backend(Protocol):
    """A runtime on a device. `presence` and `implementations` may load the runtime; making the object must not."""

    name: str
    device: str

    def presence(self) -> Presence: ...

    def implementations(self) -> Sequence[Implementation]: ...


@dataclass
class Registry:
    """Backends and what they implement; those that aren't present stay listed with the reason and give no candidates."""

    backends: dict[str, Backend] = field(default_factory=dict)
    presences: dict[str, Presence] = field(default_factory=dict)
    implementations: list[Implementation] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)

    def add(self, backend: Backend) -> Presence:
        """Take a backend in; its implementations only when it is present. A backend that raises counts as not present."""
        try:
            presence = backend.presence()
            found = list(backend.implementations()) if presence.present else []
        except Exception as error:  # a runtime that is half installed raises whatever it likes
            presence, found = Presence(False, f"{type(error).__name__}: {error}"), []
        self.backends[backend.name], self.presences[backend.name] = backend, presence
        self.implementations += found
        return presence

    def register(self, implementation: Implementation) -> None:
        """Take one implementation in. Raises ValueError when that operator, key and fusion are already there."""
        for other in self.implementations:
            if (other.operator, other.key, other.fused) == (
                implementation.operator, implementation.key, implementation.fused,
            ):  # fmt: skip
                raise ValueError(f"{implementation.operator} on {implementation.key} is registered twice")
        self.implementations.append(implementation)

    def version(self, backend: str) -> str:
        presence = self.presences.get(backend)
        return presence.version if presence else ""

    def candidates(
        self, operator: str, dims: Dims, *, dtypes: Sequence[str] | None = None, device: str | None = None,
        fused: bool | None = True, emulated: bool = False,
    ) -> list[Implementation]:  # fmt: skip
        """What may run this operator on these shapes, best priority first; lost backends are left out.

        `fused=None` gives fused and unfused forms; `dtypes` limits the precisions (None: every one).
        """
        found = [
            each for each in self.implementations
            if each.operator == operator and each.fits(dims) and each.backend not in self.lost
            and (fused is None or each.fused == fused) and (emulated or not each.emulated)
            and (dtypes is None or each.dtype in dtypes) and (device is None or each.device == device)
        ]  # fmt: skip
        return sorted(found, key=lambda each: -each.priority)

    def lose(self, backend: str, why: str) -> None:
        """Leave a backend out from now on: its device went away."""
        self.lost[backend] = why

    def regain(self, backend: str) -> bool:
        """Ask a lost backend again; True when it is back."""
        presence = self.backends[backend].presence()
        self.presences[backend] = presence
        if presence.present:
            self.lost.pop(backend, None)
        return presence.present

    def rows(self) -> Iterator[tuple[str, str, Presence]]:
        """(backend, device, presence) of every backend, present or not."""
        for name, backend in self.backends.items():
            yield name, backend.device, self.presences[name]


def load(modules: Sequence[str] = BACKENDS) -> Registry:
    """A registry of all backends. Loads their runtimes: call it in a process that computes, never in the web process."""
    registry = Registry()
    for module in modules:
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            continue  # a backend that this distribution leaves out
        for backend in found.backends():
            registry.add(backend)
    return registry
