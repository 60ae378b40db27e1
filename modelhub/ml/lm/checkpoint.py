"""Training state in one safetensors file: weights, both Adam moments and the step, replaced atomically."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from modelhub.ml.lm.config import LmConfig


def save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Write everything a resumed run needs; a kill in the middle leaves the last whole file."""
    tensors = {f"model/{name}": value.contiguous() for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for moment in ("exp_avg", "exp_avg_sq"):
            if parameter in optimizer.state:
                tensors[f"{moment}/{name}"] = optimizer.state[parameter][moment]
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"state": json.dumps(state)})
    os.replace(partial, path)


def read_state(path: Path) -> dict[str, Any]:
    """The JSON part: step, seed, configuration, seconds spent."""
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["state"])


def load_weights(path: Path) -> tuple[dict[str, torch.Tensor], LmConfig]:
    """The model's state dict and its configuration."""
    with safe_open(path, framework="pt") as file:
        weights = {
            name.removeprefix("model/"): file.get_tensor(name)
            for name in file.keys()  # noqa: SIM118 - a safetensors handle is not a mapping
            if name.startswith("model/")
        }
        return weights, LmConfig.from_dict(json.loads(file.metadata()["state"])["config"])


def restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put weights and moments back and give the saved state."""
    state = read_state(path)
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        model.load_state_dict({name: file.get_tensor(f"model/{name}") for name in model.state_dict()})
        for name, parameter in model.named_parameters():
            if f"exp_avg/{name}" in names:
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(state["step"])),
                    "exp_avg": file.get_tensor(f"exp_avg/{name}"),
                    "exp_avg_sq": file.get_tensor(f"exp_avg_sq/{name}"),
                }
    return state
