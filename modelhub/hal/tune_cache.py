"""What was measured on a device, on disk: read by whoever wants to show it, without any runtime."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelhub import artifacts
from modelhub.hal import counters
from modelhub.hal.profile import CapabilityProfile

FORMAT = 1
BACKENDS_FILE = "backends.json"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One candidate on one shape bucket. `ms` is the median of `n` calls, None where it failed or was refused."""

    operator: str
    bucket: str
    implementation: str
    backend: str
    device: str
    dtype: str
    version: str
    ms: float | None
    sigma_ms: float | None
    n: int
    error: float | None
    allowed: float
    why: str
    fused: bool
    date: str

    @property
    def key(self) -> str:
        return "|".join(
            (self.operator, self.bucket, self.implementation, self.version, "" if self.fused else "steps")
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)


def _read_table(path: Path) -> tuple[dict[str, Any], list[Measurement]]:
    """A file's device and measurements. Raises one of _UNREADABLE for a file that isn't whole."""
    body = json.loads(path.read_text("utf-8"))
    if body["format"] != FORMAT:
        raise ValueError(f"format {body['format']}, expected {FORMAT}")
    found = [Measurement(**entry) for entry in body["entries"]]
    for each in found:
        if not all(isinstance(v, int | float | None) for v in (each.ms, each.sigma_ms, each.error)):
            raise ValueError(f"{each.key}: a time that is no number")
    return dict(body["device"]), found


class TuneCache:
    """The measurements of one device on disk. A file that isn't whole is put aside and begun anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Measurement] = {}
        self._read()

    @classmethod
    def for_device(cls, profile: CapabilityProfile, home: Path | None = None) -> TuneCache:
        words = json.dumps([profile.name, profile.kind, profile.cores, profile.threads, sorted(profile.isa)])
        digest = hashlib.sha256(words.encode()).hexdigest()[:12]
        return cls((home or artifacts.home()) / "hal" / f"autotune-{digest}.json")

    def _read(self) -> None:
        try:
            self.entries = {each.key: each for each in _read_table(self.path)[1]}
        except FileNotFoundError:
            return
        except _UNREADABLE as error:
            counters.cache_reset(type(error).__name__)
            if self.path.exists():
                os.replace(self.path, self.path.with_suffix(".corrupt"))
            self.entries = {}

    def put(self, found: Sequence[Measurement], profile: CapabilityProfile) -> None:
        """Add measurements and write; those that another process wrote meanwhile are kept."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            mine = self.entries | {each.key: each for each in found}
            self._read()
            self.entries |= mine
            entries = [each.as_dict() for _, each in sorted(self.entries.items())]
            artifacts.write_json(
                self.path, {"format": FORMAT, "device": profile.as_dict(), "entries": entries}
            )


def keep_backends(rows: Iterable[Mapping[str, Any]], home: Path | None = None) -> Path:
    """Write which backends were found, so that a process without their runtimes can tell."""
    path = (home or artifacts.home()) / "hal" / BACKENDS_FILE
    artifacts.write_json(path, {"format": FORMAT, "backends": list(rows)})
    return path


def kept_backends(home: Path | None = None) -> list[dict[str, Any]]:
    """Name, device, present, detail, version and implementations of each backend; empty before the first tuning."""
    try:
        body = json.loads(((home or artifacts.home()) / "hal" / BACKENDS_FILE).read_text("utf-8"))
        return [dict(row) for row in body["backends"]] if body["format"] == FORMAT else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def device_tables(home: Path | None = None) -> list[tuple[Mapping[str, Any], list[Measurement]]]:
    """Every device measured in a home: its profile and its measurements. Reads files only: the web process may call it."""
    found: list[tuple[Mapping[str, Any], list[Measurement]]] = []
    for path in sorted(((home or artifacts.home()) / "hal").glob("autotune-*.json")):
        try:
            device, entries = _read_table(path)
        except _UNREADABLE:  # whoever tunes next puts it aside; a reader changes nothing
            continue
        if entries:
            found.append((device, entries))
    return found
