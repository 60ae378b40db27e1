"""Recorded capability profiles: one file a device, each with its origin and date.

A file is either a whole profile, as a measurement writes it, or one that names a `device` of data/devices: then speed, memory,
origin and date are that file's, so that no figure of a data sheet stands in two places, and this one adds what a purchase
doesn't ask for: units, formats, providers. Which operators a provider runs is the table of data/devices too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from costs.planning import devices
from modelhub.hal.profile import CapabilityProfile, ProfileInvalid

FOLDER = Path(__file__).parent
TABLES = {
    "cpu": "CPU",
    "cuda": "CUDA/TensorRT",
    "rocm": "MIGraphX",
    "ascend": "CANN",
}  # kind → provider there


def load(name: str, folder: Path = FOLDER) -> CapabilityProfile:
    """A recorded profile by its file's name. Raises ProfileInvalid, naming those there are."""
    path = folder / f"{name}.json"
    if not path.is_file():
        raise ProfileInvalid(f"there is no profile {name!r}; recorded: {', '.join(names(folder))}")
    try:
        body: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ProfileInvalid(f"{path.name}: {error}") from error
    body.pop("id", None)
    return CapabilityProfile.from_dict(_whole(path.name, body) if "device" in body else body)


def names(folder: Path = FOLDER) -> list[str]:
    """The recorded profiles, by name."""
    return sorted(path.stem for path in folder.glob("*.json"))


def _whole(file: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A profile completed with the figures of data/devices."""
    try:
        device = devices.load().profiles[body["device"]]
        rates = {dtype: device.tera[word] * 1000.0 for dtype, word in body["rates"].items()}
        return {
            "name": device.name, "kind": body["kind"], "cores": body["cores"], "isa": body["isa"],
            "memory_bytes": int(device.memory_gb * 10**9), "dtypes": list(rates), "providers": body["providers"],
            "matrix_units": body["matrix_units"], "tf32": body["tf32"], "copy_gb_s": device.bandwidth_gb_s,
            "matmul_gflop_s": rates, "origin": device.origin, "date": device.date.isoformat(),
            "source": f"{device.source} {body['shapes_source']}",
        }  # fmt: skip
    except KeyError as missing:
        raise ProfileInvalid(f"{file}: {missing} is missing here or in data/devices") from None


@lru_cache(maxsize=8)
def coverage(kind: str) -> Mapping[str, str]:
    """Operator → native, fallback or missing, for the provider that a kind of device is reached by. Raises ProfileInvalid."""
    try:
        return devices.load().providers[TABLES[kind]].coverage
    except KeyError:
        raise ProfileInvalid(
            f"no table of operators for devices of kind {kind!r}; known: {', '.join(TABLES)}"
        ) from None
