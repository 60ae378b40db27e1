"""Training that survives a kill: tensors in safetensors, the rest in JSON, both replaced in one step each."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


def weight_hash(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names and bytes of parameters and buffers, in order of name."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode())
        total.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def _pack(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    tensors = {
        f"model.{name}": value.detach().contiguous().clone() for name, value in model.state_dict().items()
    }
    for which, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"optimizer.{which}.{index}.{name}"] = (
                    torch.as_tensor(value).detach().contiguous().clone()
                )
    return tensors


def save(
    folder: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], meta: dict[str, Any]
) -> None:
    """Write a checkpoint; a kill at any moment leaves the one before it whole. `meta` must hold `step`."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = _pack(model, optimizers)
    name = f"weights-{meta['step']}.safetensors"
    temporary = folder / f".{name}"
    save_file(tensors, str(temporary))
    _sync(temporary)
    os.replace(temporary, folder / name)
    pointer = folder / ".checkpoint.json"
    pointer.write_text(json.dumps({**meta, "file": name, "hash": weight_hash(tensors)}), "utf-8")
    _sync(pointer)
    os.replace(pointer, folder / "checkpoint.json")
    kept = sorted(folder.glob("weights-*.safetensors"), key=lambda p: p.stat().st_mtime_ns)[-2:]
    for old in set(folder.glob("weights-*.safetensors")) - set(kept) - {folder / name}:
        old.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def restore(
    folder: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, Any] | None:
    """Load the last whole checkpoint into model and optimizers and give its meta, or None where there is none.

    A checkpoint whose tensors are not the ones its JSON names counts as none.
    """
    try:
        meta = json.loads((folder / "checkpoint.json").read_text("utf-8"))
        tensors = load_file(str(folder / meta["file"]))
    except (OSError, ValueError, SafetensorError):
        return None
    if weight_hash(tensors) != meta["hash"]:
        return None
    own = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    model.load_state_dict(own)
    for which, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(f"optimizer.{which}."):
                _, _, index, field = name.split(".", 3)
                state.setdefault(int(index), {})[field] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return meta
