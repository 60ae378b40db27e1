"""Our expert operator inside transformers' own models: Qwen-MoE, OLMoE, DeepSeek and whatever shares their layout.

transformers keeps the ways to run experts in a registry (`ALL_EXPERTS_FUNCTIONS`, from version 5); `register` adds ours as
`switchyard`, and a model is switched over with `use`. The one module here that imports transformers: trainers do, the
web side and the model server never.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN
from transformers.integrations import moe as registry

from modelhub.ml.moe import kernels
from modelhub.ml.moe.gate import within_mass

NAME = "switchyard"
_ACTIVATIONS = {type(ACT2FN["silu"]): "swiglu", type(ACT2FN["gelu"]): "geglu"}


class LayoutUnsupported(ValueError):
    """These experts don't have the layout that our operator reads."""


def register() -> str:
    """Make our operator known to transformers; gives the name to ask for it. Twice is once."""
    registry.ALL_EXPERTS_FUNCTIONS.register(NAME, experts_forward)
    return NAME


def use(model: PreTrainedModel, *, mass: float | None = None, k_min: int = 2) -> PreTrainedModel:
    """Run all experts of a model by our operator, in place.

    With `mass`, a token uses only the best of its chosen experts whose share passes it, at least k_min, mixed so that the
    weights keep their sum: a k that varies by token, in a model that was trained with a fixed one. The answers change.
    Raises LayoutUnsupported, naming the module, before anything is switched.
    """
    if mass is not None and not 0.0 < mass <= 1.0:
        raise ValueError(f"mass={mass} must lie in (0, 1]")
    found = [
        (name, module) for name, module in model.named_modules() if hasattr(module, "_is_expert_parallel")
    ]
    if not found:
        raise LayoutUnsupported(f"{type(model).__name__} has no experts that transformers' registry runs")
    for name, module in found:
        try:
            activation_of(module)
        except LayoutUnsupported as error:
            raise LayoutUnsupported(f"{name}: {error}") from None
    for _, module in found:
        module.switchyard_mass, module.switchyard_k_min = mass, k_min  # type: ignore[assignment]
    model.set_experts_implementation(register())
    return model


def activation_of(module: nn.Module) -> str:
    """The activation of a module of experts, as kernels name it. Raises LayoutUnsupported."""
    read: Callable[[str, Any], Any] = lambda name, default: getattr(module, name, default)  # noqa: E731
    if not read("has_gate", False) or read("has_bias", True) or read("is_transposed", True):
        raise LayoutUnsupported("expected experts with a gate, without biases, stored (E, out, in)")
    if not read("is_concatenated", False) or read("has_post_expert_norm", False):
        raise LayoutUnsupported("expected [gate; up] side by side and no norm behind the experts")
    if read("_is_expert_parallel", False):
        raise LayoutUnsupported("experts spread over several devices are transformers' own affair")
    activation = _ACTIVATIONS.get(type(read("act_fn", None)))
    if activation is None or type(module)._apply_gate is not registry._default_apply_gate:  # type: ignore[attr-defined]
        raise LayoutUnsupported(f"no operator for the activation {read('act_fn', None)!r}")
    return activation


def experts_forward(
    self: nn.Module, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor
) -> Tensor:
    """What the registry calls in place of a module's forward. Shapes: (T, D), (T, K), (T, K) -> (T, D)."""
    weights = top_k_weights.float()
    mass = getattr(self, "switchyard_mass", None)
    if mass is not None:
        top_k_index, weights = _narrow(top_k_index, weights, self.switchyard_k_min, mass)  # type: ignore[arg-type]
    return kernels.moe_experts(
        hidden_states, weights, top_k_index, self.gate_up_proj, self.down_proj, activation_of(self)  # type: ignore[arg-type]
    )  # fmt: skip


def _narrow(experts: Tensor, weights: Tensor, k_min: int, mass: float) -> tuple[Tensor, Tensor]:
    weights, order = weights.sort(dim=-1, descending=True, stable=True)
    total = weights.sum(dim=-1, keepdim=True)
    kept = weights * within_mass(weights / total.clamp_min(1e-20), k_min, mass)
    return experts.gather(-1, order), kept / kept.sum(dim=-1, keepdim=True).clamp_min(1e-20) * total


@dataclass(slots=True)
class GateLog:
    """Tokens by layer and expert. `layers` names the rows; counts (layers, E) int64."""

    layers: list[str]
    counts: Tensor
    tokens: int = field(default=0)


@contextmanager
def watch_gates(model: PreTrainedModel) -> Iterator[GateLog]:
    """Count which experts the gates of a model choose, by hooks that are gone when the block ends.

    Raises LayoutUnsupported for a model without gates, or whose gates don't hand out the experts they chose.
    """
    gates = [
        (name, module.gate) for name, module in model.named_modules()
        if isinstance(getattr(module, "gate", None), nn.Module) and hasattr(module, "experts")
    ]  # fmt: skip
    if not gates:
        raise LayoutUnsupported(f"{type(model).__name__} has no gate beside its experts")
    sizes = [int(gate.num_experts) for _, gate in gates]
    log = GateLog([name for name, _ in gates], torch.zeros(len(gates), max(sizes), dtype=torch.int64))
    handles = [gate.register_forward_hook(_counter(log, row)) for row, (_, gate) in enumerate(gates)]
    try:
        yield log
    finally:
        for handle in handles:
            handle.remove()


def _counter(log: GateLog, row: int) -> Callable[[nn.Module, Any, Any], None]:
    def count(gate: nn.Module, _: Any, output: Any) -> None:
        chosen = output[-1] if isinstance(output, tuple) else None
        if not isinstance(chosen, Tensor) or chosen.is_floating_point():
            raise LayoutUnsupported(
                f"{log.layers[row]}: its gate hands out no experts, but {type(output).__name__}"
            )
        log.counts[row] += torch.bincount(chosen.detach().flatten().cpu(), minlength=log.counts.size(1))
        if row == 0:
            log.tokens += len(chosen)

    return count
