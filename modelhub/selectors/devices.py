"""Devices and what runs on them, read from what `manage.py hal tune` kept: no runtime is loaded here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from modelhub.hal import tune_cache
from modelhub.hal.tune_cache import Measurement

SAME, ANY, BOTH = "same precision", "any precision", "both"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One implementation on one shape. `chosen`: same precision (float32), any precision, both, or nothing; `times`: as long
    as the float32 choice."""

    operator: str
    shape: str
    implementation: str
    device: str
    dtype: str
    chosen: str
    ms: float | None
    sigma_ms: float | None
    times: float | None
    error: float | None
    allowed: float
    fused: bool
    version: str
    date: str
    note: str


@dataclass(frozen=True, slots=True)
class MeasuredDevice:
    """A device's profile and its candidates, by operator and shape, the quickest first."""

    id: str
    profile: dict[str, Any]
    candidates: list[Candidate]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def measured_devices() -> list[MeasuredDevice]:
    """Every device that was tuned in this home. The hardware is the platform's: every member may see it."""
    found = []
    for profile, entries in tune_cache.device_tables(Path(settings.HOME)):
        name = "|".join(str(profile.get(part)) for part in ("name", "kind", "cores", "threads"))
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        found.append(
            MeasuredDevice(f"{profile.get('kind', 'device')}-{digest}", dict(profile), candidates(entries))
        )
    return found


def candidates(entries: Iterable[Measurement]) -> list[Candidate]:
    """The latest version's measurements with what is chosen among them."""
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for entry in _latest(entries):
        groups.setdefault((entry.operator, entry.bucket), []).append(entry)
    rows = []
    for (operator, shape), group in sorted(groups.items()):
        standing = [m for m in group if m.ms is not None and m.fused]
        exact = min((m for m in standing if m.dtype == "float32"), key=_ms, default=None)
        quickest = min(standing, key=_ms, default=None)
        for m in sorted(group, key=_ms):
            chosen = BOTH if m is exact is quickest else SAME if m is exact else ANY if m is quickest else ""
            times = m.ms / exact.ms if m.ms is not None and exact is not None and exact.ms else None
            note = m.why or ("" if m.fused else "unfused, for comparison")
            rows.append(Candidate(
                operator, shape, m.implementation, m.device, m.dtype, chosen, m.ms, m.sigma_ms, times, m.error, m.allowed,
                m.fused, m.version, m.date, note,
            ))  # fmt: skip
    return rows


def _ms(measured: Measurement) -> float:
    return measured.ms if measured.ms is not None else float("inf")


def _latest(entries: Iterable[Measurement]) -> list[Measurement]:
    """One measurement for each implementation and shape: that of the version measured last."""
    kept: dict[tuple[str, str, str, bool], Measurement] = {}
    for entry in sorted(entries, key=lambda m: (m.date, m.version)):
        kept[entry.operator, entry.bucket, entry.implementation, entry.fused] = entry
    return list(kept.values())


def known_backends() -> list[dict[str, Any]]:
    """Backends with presence, as found when the device was tuned last."""
    return tune_cache.kept_backends(Path(settings.HOME))
