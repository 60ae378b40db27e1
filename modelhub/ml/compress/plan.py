"""What compressing a large sparse model would take: memory by precision, where its experts lie, and how long each stage runs.

For models that aren't here: two hundred experts of half a billion parameters, say. Everything is worked out from the
shape, the activation log and the devices' profiles; nothing of it was run, and the report says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from modelhub.ml.activation.placement import plan_layer

BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "int8": 1.0, "int4": 0.5}
SCALES = {
    "int8": 1 / 64,
    "int4": 1 / 32,
}  # float32 scales for blocks of so many weights, as a share of a weight
TRAINING_BYTES = (
    18.0  # a parameter in training: weight and gradient in 16 bits, master copy and two moments in 32
)
HELD_BACK, USED_FLOPS = 0.9, 0.4  # share of memory for weights; share of the ceiling that training reaches


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator of a plan: its memory, its ceiling for matrix products in 16 bits, and whether a vendor said so."""

    name: str
    memory_bytes: float
    gflop_s: float
    vendor: bool = True

    @classmethod
    def recorded(cls, path: Path) -> Device:
        """From a recorded profile. Raises ValueError for one that lacks memory or speed."""
        body = json.loads(Path(path).read_text("utf-8"))
        speeds = body.get("tflops", {})
        found = next((speeds[name] for name in ("bf16", "fp16", "tf32", "fp32") if speeds.get(name)), None)
        if not found or not body.get("memory_gb"):
            raise ValueError(f"{Path(path).name} says neither memory nor speed of matrix products")
        return cls(body["name"], body["memory_gb"] * 1e9, found * 1e3, body.get("origin") != "measured")


@dataclass(frozen=True, slots=True)
class LargeModel:
    """A sparse model by its size. `active`: experts a token meets; `shared_parameters`: what every token meets."""

    experts: int = 200
    expert_parameters: float = 0.5e9
    active: int = 4
    shared_parameters: float = 2e9
    width: int = 4096

    @property
    def parameters(self) -> float:
        return self.experts * self.expert_parameters + self.shared_parameters

    @property
    def active_parameters(self) -> float:
        return self.active * self.expert_parameters + self.shared_parameters


@dataclass(frozen=True, slots=True)
class Work:
    """How much each stage reads: tokens of the activation log, of distillation, of calibration; what is left after merging."""

    log_tokens: float = 2e6
    probe_tokens: int = 4096
    distil_tokens: float = 2e9
    calibration_tokens: float = 1e6
    kept_experts: int = 64
    student_parameters: float = 1e9


@dataclass(slots=True)
class Plan:
    """The plan; `simulated` is always true."""

    memory_gib: dict[str, float]
    devices_needed: dict[str, int]
    placement: dict[str, Any]
    stages: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    simulated: bool = True

    def as_dict(self) -> dict[str, Any]:
        return {
            "simulated": self.simulated, "memory_gib": self.memory_gib, "devices_needed": self.devices_needed,
            "placement": self.placement, "stages": self.stages, "notes": self.notes,
        }  # fmt: skip


def plan(
    model: LargeModel,
    devices: Sequence[Device],
    *,
    work: Work | None = None,
    load: np.ndarray | None = None,
) -> Plan:
    """Memory, placement and time on these devices (one entry a device). `load` (E,): how often each expert was chosen.

    Raises ValueError where there is no device or the experts fit in no precision.
    """
    work = work or Work()
    if not devices:
        raise ValueError("a plan needs at least one device; name some profiles")
    memory = {name: _gib(memory_bytes(model, name)) for name in BYTES}
    room = min(device.memory_bytes for device in devices) * HELD_BACK
    needed = {name: math.ceil(memory_bytes(model, name) / room) for name in BYTES}
    speed = sum(device.gflop_s for device in devices) * 1e9 * USED_FLOPS
    counts = np.ones(model.experts) if load is None else np.asarray(load, np.float64)
    placement = _place(model, counts, len(devices), room, needed)
    whose = "vendors’ ceilings" if any(device.vendor for device in devices) else "measured ceilings"
    notes = [
        f"Nothing of this was run: speeds are {whose} times {USED_FLOPS:.0%}.",
        f"Smallest memory of the devices decides: {room / 2**30:.0f} GiB of each are for weights.",
    ]
    if load is None:
        notes.append("No activation log was given: experts are taken as equally busy.")
    return Plan(memory, needed, placement, _stages(model, work, speed, devices), notes)


def memory_bytes(model: LargeModel, dtype: str) -> float:
    """Weights of the whole model in a precision, with the scales that block-wise rounding needs. Raises KeyError."""
    each = BYTES[dtype] + (4 * SCALES[dtype] if dtype in SCALES else 0.0)
    return model.parameters * each


def _gib(count: float) -> float:
    return round(count / 2**30, 1)


def _place(
    model: LargeModel, load: np.ndarray, devices: int, room: float, needed: dict[str, int]
) -> dict[str, Any]:
    """The highest precision in which all experts fit, and an even spread of their load over the devices."""
    fits = [name for name in ("float32", "bfloat16", "int8", "int4") if needed[name] <= devices]
    if not fits:
        raise ValueError(
            f"{devices} devices don't hold {model.experts} experts even in 4 bits: {needed['int4']} are needed"
        )
    dtype = fits[0]
    spare = int((room * devices - memory_bytes(model, dtype)) // (model.expert_parameters * BYTES[dtype]))
    even = -model.experts % devices
    redundant = even + devices * min(1, max(0, (spare - even) // devices))
    if redundant > max(spare, 0):
        redundant = even
    found = plan_layer(0, load, devices=devices, redundant=redundant)
    return {
        "precision": dtype, "devices": [list(held) for held in found.devices],
        "replicas": int(sum(found.replicas) - model.experts),
        "imbalance_before": round(found.imbalance_before, 3), "imbalance_after": round(found.imbalance_after, 3),
    }  # fmt: skip


def _stages(model: LargeModel, work: Work, speed: float, devices: Sequence[Device]) -> list[dict[str, Any]]:
    """Seconds of each stage at the devices' joint speed: a forward pass is two FLOPs a parameter and token, training six."""
    pairs = model.experts * (model.experts - 1) / 2
    inner = model.expert_parameters / (2 * model.width)
    log = 2 * model.active_parameters * work.log_tokens
    probes = 2 * model.expert_parameters * model.experts * work.probe_tokens
    closeness = pairs * 2 * work.probe_tokens * model.width
    aligned = (model.experts - work.kept_experts) * (4 * inner**2 * model.width)
    distil = (2 * model.active_parameters + 6 * work.student_parameters) * work.distil_tokens
    calibrate = 2 * work.student_parameters * work.calibration_tokens
    training = work.student_parameters * TRAINING_BYTES
    rows = [
        ("activation log", log, memory_bytes(model, "bfloat16")),
        ("experts' outputs on probes", probes, model.expert_parameters * 2 + model.experts * work.probe_tokens * model.width * 2),
        ("closeness and linkage", closeness, model.experts * work.probe_tokens * model.width * 2),
        ("alignment and merging", aligned, 4 * inner**2 + model.expert_parameters * 4),
        ("distillation, temperature 5 to 1", distil, memory_bytes(model, "bfloat16") + training),
        ("INT8 calibration", calibrate, work.student_parameters * 4),
    ]  # fmt: skip
    return [
        {"stage": name, "flops": float(f"{flops:.3g}"), "seconds": round(flops / speed, 1),
         "hours": round(flops / speed / 3600, 3), "memory_gib": _gib(held),
         "device_seconds": round(flops / speed * len(devices), 1)}
        for name, flops, held in rows
    ]  # fmt: skip
