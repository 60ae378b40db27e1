"""The training loop: one pass of seeded steps that can be stopped and taken up again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from modelhub.ml.lm import checkpoint
from modelhub.ml.lm.config import LmConfig
from modelhub.ml.lm.corpus import Corpus
from modelhub.ml.lm.model import LmOutput, MoE, TinyDeepseek

LOSS_CHUNK = 256  # tokens; a whole batch of float32 logits is slower to page in than to compute
BALANCE_STEP = 0.001  # loss-free balancing, arXiv:2408.15664


@dataclass(frozen=True)
class Plan:
    """How long and how hard to train. The last quarter reads sequences twice as long."""

    steps: int = 2000
    batch: int = 16
    sequence: int = 256
    peak_rate: float = 2e-3
    warmup: int = 100
    seed: int = 1
    save_every: int = 50
    bf16: bool = False


def has_fast_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; elsewhere autocast is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="ignore")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def learning_rate(step: int, plan: Plan) -> float:
    """Linear warm-up, then a cosine down to a twentieth of the peak."""
    if step < plan.warmup:
        return plan.peak_rate * (step + 1) / plan.warmup
    done = (step - plan.warmup) / max(1, plan.steps - plan.warmup)
    return plan.peak_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


def batch_at(stream: np.ndarray, step: int, plan: Plan) -> Tensor:
    """The batch of a step (B, S+1), the same whenever it is asked for, so a resumed run reads what it would have."""
    long = step >= plan.steps * 3 // 4
    size, length = (plan.batch // 2, plan.sequence * 2) if long else (plan.batch, plan.sequence)
    starts = np.random.default_rng((plan.seed, step)).integers(0, len(stream) - length - 1, max(1, size))
    return torch.from_numpy(np.stack([stream[s : s + length + 1] for s in starts]).astype(np.int64))


def loss_of(model: TinyDeepseek, ids: Tensor, bf16: bool) -> tuple[Tensor, LmOutput]:
    """Mean next-token cross-entropy in nats, and the forward pass it came from. ids (B, S+1)."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        output = model(ids[:, :-1])
    logits, targets = output.logits.flatten(0, 1), ids[:, 1:].flatten()
    parts = [
        F.cross_entropy(part.float(), target, reduction="sum")
        for part, target in zip(logits.split(LOSS_CHUNK), targets.split(LOSS_CHUNK), strict=True)
    ]
    return torch.stack(parts).sum() / targets.numel(), output


@torch.no_grad()
def balance(model: TinyDeepseek, chosen: list[Tensor]) -> None:
    """Raise the selection bias of experts that saw less than their share and lower the others'."""
    sparse = [block for block in model.modules() if isinstance(block, MoE)]
    for block, experts in zip(sparse, chosen, strict=True):
        load = experts.flatten().bincount(minlength=block.experts.count).float()
        block.gate.e_score_correction_bias += BALANCE_STEP * torch.sign(load.mean() - load)


@torch.no_grad()
def validate(model: TinyDeepseek, stream: np.ndarray, plan: Plan, limit: int = 80) -> np.ndarray:
    """Mean loss in nats per token of each of the first `limit` validation windows."""
    model.eval()
    length = min(plan.sequence * 2, len(stream) - 1)
    starts = range(0, len(stream) - length, length)
    losses = []
    for start in list(starts)[:limit]:
        ids = torch.from_numpy(stream[start : start + length + 1].astype(np.int64))[None]
        losses.append(loss_of(model, ids, bf16=False)[0].item())
    model.train()
    return np.array(losses)


def fit(
    cfg: LmConfig,
    corpus: Corpus,
    plan: Plan,
    path: Path,
    report: Callable[[int, int, str], None],
    stop: Callable[[], bool] = lambda: False,
) -> tuple[TinyDeepseek, dict[str, Any]]:
    """Train to the plan's end, or until `stop()`, taking up `path` when it exists. Gives model and state."""
    torch.manual_seed(plan.seed)
    model = TinyDeepseek(cfg)
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    plain = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    state: dict[str, Any] = {
        "step": 0,
        "seconds": 0.0,
        "seed": plan.seed,
        "config": cfg.to_dict(),
        "tokens": 0,
    }
    if path.exists():
        state = checkpoint.restore(path, model, optimizer)
    began, spent = time.monotonic(), state["seconds"]
    model.train()
    while state["step"] < plan.steps and not stop():
        step = state["step"]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, plan)
        ids = batch_at(corpus.train, step, plan)
        loss, output = loss_of(model, ids, plan.bf16)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        balance(model, output.experts)
        seconds = spent + time.monotonic() - began
        tokens = state["tokens"] + ids[:, 1:].numel()
        state.update(step=step + 1, seconds=round(seconds, 1), tokens=tokens, loss=round(loss.item(), 4))
        report(step + 1, plan.steps, f"loss {state['loss']:.3f}, {tokens / seconds:,.0f} tokens/s")
        if (step + 1) % plan.save_every == 0:
            checkpoint.save(path, model, optimizer, state)
    checkpoint.save(path, model, optimizer, state)
    return model, state
