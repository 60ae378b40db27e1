"""From torch to ONNX: state as arrays, and the check that the written graph answers as the network does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

TOLERANCE = 1e-4


class ParityBroken(ValueError):
    """The exported graph does not answer as the network it was made from."""


def state_arrays(module: object) -> dict[str, np.ndarray]:
    """Parameters and buffers of a torch module as numpy arrays by name."""
    return {name: value.detach().cpu().numpy() for name, value in module.state_dict().items()}  # type: ignore[attr-defined]


def round_to_half(module: object) -> None:
    """Round floating parameters to what 16 bits hold, in place: the network then equals its 16-bit file."""
    for parameter in module.parameters():  # type: ignore[attr-defined]
        parameter.data = parameter.data.half().float()


def check_parity(
    path: Path, feed: dict[str, np.ndarray], expected: np.ndarray, *, tolerance: float = TOLERANCE
) -> float:
    """Run a graph's first output and give its largest difference from `expected`. Raises ParityBroken.

    The difference is relative to the largest expected value where that is over one.
    """
    from modelhub.ml.features import open_session

    found = open_session(path).run(None, feed)[0]
    if found.shape != expected.shape:
        raise ParityBroken(f"{path.name} answers {found.shape}, the network {expected.shape}")
    gap = float(np.abs(found - expected).max() / max(1.0, float(np.abs(expected).max())))
    if not gap <= tolerance:
        raise ParityBroken(f"{path.name} differs from the network by {gap:.2e}, allowed is {tolerance:.0e}")
    return gap
