"""Training that survives a kill: tensors in safetensors, the rest in JSON, both replaced in one step each."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

POINTER = "checkpoint.json"


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
    """Write a checkpoint; a kill at any moment, or a disk that is full, leaves the ones before it whole.

    `meta` must hold `step`. The last two are kept, each with a description of its own, so that one that the disk spoiled
    later costs a step and not the work. Raises OSError when there is no room; what was half written is gone then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = _pack(model, optimizers)
    name = f"weights-{meta['step']}.safetensors"
    told = json.dumps({**meta, "file": name, "hash": weight_hash(tensors)})
    _replace(folder / name, lambda draft: save_file(tensors, str(draft)))
    _replace(folder / f"weights-{meta['step']}.json", lambda draft: draft.write_text(told, "utf-8"))
    _replace(folder / POINTER, lambda draft: draft.write_text(told, "utf-8"))
    _sync_folder(folder)
    _keep_two(folder, name)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Written beside, synced, then moved into place. A draft that could not be finished is removed."""
    draft = path.with_name(f".{path.name}")
    try:
        write(draft)
        _sync(draft)
        os.replace(draft, path)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, SafetensorError):  # the library's name for a write that failed
            raise OSError(f"{path.name} could not be written: {error}") from error
        raise


def _keep_two(folder: Path, newest: str) -> None:
    weights = sorted(folder.glob("weights-*.safetensors"), key=lambda p: p.stat().st_mtime_ns)
    for old in set(weights) - set(weights[-2:]) - {folder / newest}:
        old.with_suffix(".json").unlink(missing_ok=True)
        old.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """So that the names are on the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _descriptions(folder: Path) -> list[Path]:
    """Newest first: what the pointer says, then each checkpoint's own."""
    own = sorted(folder.glob("weights-*.json"), key=_written, reverse=True)
    return [folder / POINTER, *own]


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _read(folder: Path, description: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """(meta, tensors) of a checkpoint that is whole and is the one it says; None otherwise."""
    try:
        meta = json.loads(description.read_text("utf-8"))
        tensors = load_file(str(folder / meta["file"]))
        return (meta, tensors) if weight_hash(tensors) == meta["hash"] else None
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def restore(
    folder: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, Any] | None:
    """Load the last whole checkpoint into model and optimizers and give its meta, or None where there is none.

    A checkpoint whose tensors are not the ones its JSON names counts as none; the one before it is taken then.
    """
    for description in _descriptions(folder):
        found = _read(folder, description)
        if found is not None:
            meta, tensors = found
            break
    else:
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
