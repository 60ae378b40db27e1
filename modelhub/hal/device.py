"""What this machine computes on: asked of the runtimes themselves, never assumed."""

from __future__ import annotations

import importlib.util
import platform
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Device:
    """`providers`: for ONNX Runtime, best first; `torch`: the device string; `name`: for people."""

    name: str
    providers: tuple[str, ...]
    torch: str


@lru_cache(maxsize=1)
def best_device() -> Device:
    """CUDA when a session can really be made on it, else the CPU."""
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers() and _cuda_name():
        return Device(_cuda_name(), ("CUDAExecutionProvider", "CPUExecutionProvider"), "cuda")
    return Device(f"CPU ({platform.machine()})", ("CPUExecutionProvider",), "cpu")


def _cuda_name() -> str:
    """The GPU's name as torch sees it; empty without torch or without a GPU."""
    if importlib.util.find_spec("torch") is None:
        return ""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
