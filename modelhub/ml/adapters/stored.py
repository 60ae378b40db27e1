"""Reading an adapter's weights from its folder: numpy and safetensors only, for whoever serves them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from modelhub import artifacts

# The matrices of each kind of adapter, n blocks stacked; shapes as in `modelhub.ml.adapters.inject`.
PARTS = {"lora": ("qkv_down", "qkv_up", "out_down", "out_up"), "expert": ("w1", "w2")}


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """Weights of an adapter as they are served. Shapes as `inject.Adapter`."""

    method: str
    blocks: int
    arrays: dict[str, np.ndarray]

    @property
    def size(self) -> int:
        """Bytes of its weights."""
        return sum(value.nbytes for value in self.arrays.values())


def read_adapter(folder: Path, manifest: dict[str, Any]) -> AdapterFile | None:
    """The adapter of a fine-tuned head; None for a head alone. Raises ArtifactCorrupt for weights that don't fit together."""
    if "adapter" not in manifest["files"]:
        return None
    told = manifest.get("adapter", {})
    try:
        arrays = load_file(str(artifacts.file_of(folder, manifest, "adapter")))
    except (SafetensorError, OSError) as error:
        raise artifacts.ArtifactCorrupt(f"{manifest['id']}: its adapter can't be read: {error}") from None
    names = set(PARTS.get(told.get("method"), ()))
    blocks = told.get("blocks", 0)
    if not names or set(arrays) != names or any(len(value) != blocks for value in arrays.values()):
        raise artifacts.ArtifactCorrupt(
            f"{manifest['id']}: its adapter is not the {told.get('method')!r} that its manifest says"
        )
    if not all(np.isfinite(value).all() for value in arrays.values()):
        raise artifacts.ArtifactCorrupt(f"{manifest['id']}: its adapter holds a value that is no number")
    return AdapterFile(told["method"], blocks, {n: v.astype(np.float32) for n, v in arrays.items()})
