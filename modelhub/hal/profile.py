"""What a device can do: read from the machine, then measured; or a vendor's data sheet, labelled so."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MEASURED, VENDOR = "measured", "vendor"
_ISA = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX VNNI",
        "avx512_bf16": "AVX-512 BF16", "avx512_fp16": "AVX-512 FP16", "amx_tile": "AMX", "amx_int8": "AMX INT8",
        "amx_bf16": "AMX BF16", "asimd": "NEON", "sve": "SVE", "bf16": "ARM BF16", "i8mm": "ARM I8MM"}  # fmt: skip


class ProfileInvalid(ValueError):
    """A recorded profile lacks a field or names an unknown origin."""


@dataclass(frozen=True, slots=True)
class CapabilityProfile:
    """One device. Ceilings are what it reaches at best: `copy_gb_s`, and `matmul_gflop_s` by dtype.

    `matrix_units`: name → shape of the unit that multiplies small matrices (tensor core, AMX tile, Ascend cube, AMD MFMA),
    (m, n, k) by dtype. `tf32` is False where a device has no such format. `origin`: measured here, or a vendor's figures;
    whatever is planned from vendor figures is a simulation. `date` is ISO.
    """

    name: str
    kind: str  # cpu · cuda · rocm · ascend
    cores: int
    isa: tuple[str, ...]
    memory_bytes: int
    dtypes: tuple[str, ...]
    providers: tuple[str, ...]
    matrix_units: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    tf32: bool = False
    copy_gb_s: float | None = None
    matmul_gflop_s: Mapping[str, float] = field(default_factory=dict)
    origin: str = MEASURED
    date: str = ""
    source: str = ""
    threads: int = 1

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> CapabilityProfile:
        """The profile that `as_dict` wrote. Raises ProfileInvalid."""
        try:
            made = cls(**{**body, "isa": tuple(body["isa"]), "dtypes": tuple(body["dtypes"]),
                          "providers": tuple(body["providers"]),
                          "matrix_units": {k: tuple(v) for k, v in body.get("matrix_units", {}).items()}})  # fmt: skip
        except (KeyError, TypeError, AttributeError) as error:
            raise ProfileInvalid(f"not a capability profile: {error}") from error
        if made.origin not in (MEASURED, VENDOR):
            raise ProfileInvalid(
                f"{made.name}: origin {made.origin!r} is neither {MEASURED!r} nor {VENDOR!r}"
            )
        return made

    def speed(self, dtype: str) -> float | None:
        """Matrix product ceiling in GFLOP/s; None when it isn't known."""
        return self.matmul_gflop_s.get(dtype)

    @property
    def simulated(self) -> bool:
        """Are plans made from this profile simulations?"""
        return self.origin == VENDOR


def read_profile(path: Path) -> CapabilityProfile:
    """A recorded profile. Raises ProfileInvalid, also for a file that isn't JSON."""
    try:
        body = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ProfileInvalid(f"{path.name}: {error}") from error
    return CapabilityProfile.from_dict(body)


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def cpu_profile(threads: int | None = None) -> CapabilityProfile:
    """This machine's CPU as it says itself; the ceilings are None until `ceilings.measure` fills them."""
    name, flags = _cpu_info()
    isa = tuple(word for flag, word in _ISA.items() if flag in flags)
    dtypes = ["float32", "bfloat16", "int8"]  # bf16 without instructions of its own is right but slow
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    units = {}
    if "amx_bf16" in flags:
        units["bfloat16"] = (16, 16, 32)
    if "amx_int8" in flags:
        units["int8"] = (16, 16, 64)
    return CapabilityProfile(
        name=name, kind="cpu", cores=cores, isa=isa, memory_bytes=_memory_bytes(), dtypes=tuple(dtypes),
        providers=_providers(), matrix_units=units, tf32=False, origin=MEASURED, date=today(),
        source="read from this machine", threads=threads or cores,
    )  # fmt: skip


def _cpu_info() -> tuple[str, frozenset[str]]:
    name = platform.processor() or platform.machine()
    flags: frozenset[str] = frozenset()
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:  # not Linux: the name is all there is
        return name, flags
    if found := re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE):
        name = found[1].strip()
    if found := re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE):
        flags = frozenset(found[1].split())
    return name, flags


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def _providers() -> tuple[str, ...]:
    """ONNX Runtime's list. It also names providers that can't run: `device.best_device` asks a session."""
    try:
        import onnxruntime
    except ImportError:
        return ()
    return tuple(onnxruntime.get_available_providers())
