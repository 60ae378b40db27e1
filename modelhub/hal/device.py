"""What this machine computes on: asked of the runtimes themselves, never assumed."""

from __future__ import annotations

import importlib.util
import platform
from dataclasses import dataclass
from functools import lru_cache

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


@dataclass(frozen=True, slots=True)
class Device:
    """`providers`: for ONNX Runtime, best first; `torch`: the device string; `name`: for people."""

    name: str
    providers: tuple[str, ...]
    torch: str


@lru_cache(maxsize=1)
def best_device() -> Device:
    """CUDA when a session really runs on it, else the CPU. Call it in the process that computes: it wakes the GPU."""
    if runs_on(CUDA):
        return Device(_cuda_name(), (CUDA, CPU), "cuda")
    return Device(f"CPU ({platform.machine()})", (CPU,), "cpu")


def runs_on(provider: str) -> bool:
    """Make a session and ask it: the list of available providers also names those that can't run."""
    import onnxruntime

    if provider not in onnxruntime.get_available_providers():
        return False
    try:
        session = onnxruntime.InferenceSession(_smallest_graph(), providers=[provider, CPU])
    except Exception:  # a driver that doesn't fit raises whatever its vendor chose
        return False
    return session.get_providers()[0] == provider


def _smallest_graph() -> bytes:
    """y = x, for one number."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", [x], [y])
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString()


def _cuda_name() -> str:
    """The GPU's name as torch sees it, where torch is there and sees one."""
    if importlib.util.find_spec("torch") is None:
        return "CUDA device"
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CUDA device"
