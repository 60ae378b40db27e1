"""What devices can do, who says so, and how long measured work would take on them: a roofline over kinds of operators.

A device attains min(peak, operations a byte × bandwidth) × efficiency on one kind of operator (Williams, Waterman and
Patterson 2009). How long it takes there follows from what the measured device attains on the same kind. Operators that
the device's execution provider doesn't run stay on the CPU, at the time they take now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "data" / "devices"
MEASURED = "cpu-2vcpu"  # service times come from machines of this class
ORIGINS = ("measured", "vendor")
COVERAGE = ("native", "fallback", "missing")
# Asked for → what a device uses, best first: what it doesn't have gives way to the next.
PRECISIONS: dict[str, tuple[str, ...]] = {
    "fp32": ("fp32", "tf32", "bf16"),
    "tf32": ("tf32", "fp32", "bf16"),
    "bf16": ("bf16", "tf32", "fp32"),
    "int8": ("int8", "bf16", "tf32", "fp32"),
}
IN_8_BITS = ("matmul", "ffn_gelu")  # what becomes an 8-bit product when INT8 is asked for


@dataclass(frozen=True)
class Profile:
    """A device at its best. Tera-operations a second by precision, GB/s, watts; dollars are assumptions."""

    id: str
    name: str
    vendor: str
    kind: str
    provider: str
    origin: str
    date: date
    source: str
    tera: Mapping[str, float]
    memory_gb: float
    bandwidth_gb_s: float
    watts: int
    price_usd: Decimal | None
    price_source: str
    cloud_usd_per_hour: Decimal | None
    cloud_source: str

    def precision(self, asked: str) -> str:
        return next(name for name in PRECISIONS[asked] if name in self.tera)


@dataclass(frozen=True)
class Operator:
    """A kind of operator: its measured share of an answer's time, and its operations for each byte moved."""

    id: str
    what: str
    share: float
    flop_per_byte: float


@dataclass(frozen=True)
class Provider:
    """Which kinds of operators an execution provider runs on its device, and who says so."""

    id: str
    origin: str
    date: date
    source: str
    coverage: Mapping[str, str]


@dataclass(frozen=True)
class Devices:
    profiles: Mapping[str, Profile]
    operators: Mapping[str, Operator]
    providers: Mapping[str, Provider]
    mix_source: str
    intensity_source: str


@dataclass(frozen=True, slots=True)
class Carried:
    """Measured work on another device: its time as a share of the time measured; what of it stays on the CPU."""

    share: float
    fallback_share: float  # of the work, as measured
    fallback_time_share: float  # of the time it takes there
    fallback: tuple[str, ...]
    missing: tuple[str, ...]
    precision: str


def attained(profile: Profile, operator: Operator, precision: str, efficiency: float) -> float:
    """Giga-operations a second on one kind of operator."""
    return min(profile.tera[precision] * 1000, operator.flop_per_byte * profile.bandwidth_gb_s) * efficiency


def carry(devices: Devices, profile: Profile, *, precision: str, efficiency: float) -> Carried:
    """How long the measured mix of operators takes on a device. The measured device itself takes what was measured."""
    base, coverage = devices.profiles[MEASURED], devices.providers[profile.provider].coverage
    used = profile.precision(precision)
    if profile.id == base.id:
        return Carried(1.0, 0.0, 0.0, (), (), used)
    on_device = on_cpu = 0.0
    left: dict[str, list[str]] = {"fallback": [], "missing": []}
    for name, share, like in _mix(devices, used):
        if not share:
            continue
        if coverage[name] != "native":
            left[coverage[name]].append(name)
            on_cpu += share
            continue
        was = attained(base, devices.operators[like], base.precision("fp32"), 1.0)
        on_device += share * was / attained(profile, devices.operators[name], used, efficiency)
    total = on_device + on_cpu
    return Carried(
        total, on_cpu, on_cpu / total if total else 0.0, tuple(left["fallback"]), tuple(left["missing"]), used
    )


def _mix(devices: Devices, precision: str) -> list[tuple[str, float, str]]:
    """(operator, share of the measured time, the operator it was when measured)."""
    return [
        ("int8_matmul" if precision == "int8" and o.id in IN_8_BITS else o.id, o.share, o.id)
        for o in devices.operators.values()
    ]


@lru_cache(maxsize=4)
def load(folder: Path = FOLDER) -> Devices:
    """Every profile and the operators' table. ValueError names the file and what is wrong with it."""
    found = [_profile(path) for path in sorted((folder / "profiles").glob("*.json"))]
    table = json.loads((folder / "operators.json").read_text("utf-8"))
    operators = {
        n: Operator(n, o["what"], o["share"], o["flop_per_byte"]) for n, o in table["operators"].items()
    }
    if abs(sum(o.share for o in operators.values()) - 1) > 1e-6:
        raise ValueError("operators.json: the shares of the operators must sum to 1.")
    providers = {name: _provider(name, row, operators) for name, row in table["providers"].items()}
    profiles = {p.id: p for p in found}
    if MEASURED not in profiles:
        raise ValueError(
            f"data/devices/profiles must hold {MEASURED}.json: service times are measured on it."
        )
    for profile in found:
        if profile.provider not in providers:
            raise ValueError(f"{profile.id}.json: operators.json has no provider {profile.provider!r}.")
    sources = (f"{table[n]['source']} ({table[n]['date']})" for n in ("measured", "derived"))
    return Devices(profiles, operators, providers, *sources)


def _profile(path: Path) -> Profile:
    row: dict[str, Any] = json.loads(path.read_text("utf-8"))
    try:
        tera = {**row["tflops"], **({"int8": row["int8_tops"]} if row["int8_tops"] else {})}
        profile = Profile(
            row["id"], row["name"], row["vendor"], row["kind"], row["provider"], row["origin"],
            date.fromisoformat(row["date"]), row["source"], tera, row["memory_gb"], row["bandwidth_gb_s"], row["watts"],
            _usd(row["price_usd"]), row["price_source"], _usd(row["cloud_usd_per_hour"]), row["cloud_source"],
        )  # fmt: skip
    except KeyError as missing:
        raise ValueError(f"{path.name}: {missing} is missing.") from None
    if profile.id != path.stem or profile.origin not in ORIGINS or not profile.source:
        raise ValueError(
            f"{path.name}: id must be the file's name, origin one of {ORIGINS}, source not empty."
        )
    if not tera or min(*tera.values(), profile.bandwidth_gb_s, profile.memory_gb, profile.watts) <= 0:
        raise ValueError(f"{path.name}: speeds, bandwidth, memory and watts must be above zero.")
    return profile


def _usd(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _provider(name: str, row: dict[str, Any], operators: Mapping[str, Operator]) -> Provider:
    coverage = row["coverage"]
    if set(coverage) != set(operators) or not set(coverage.values()) <= set(COVERAGE):
        raise ValueError(f"operators.json: {name} must say {', '.join(COVERAGE)} for every operator.")
    return Provider(name, row["origin"], date.fromisoformat(row["date"]), row["source"], coverage)
