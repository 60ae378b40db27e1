"""`python -m modelhub.ml.kb.train --out …`: the knowledge network with its dense baselines and controls, three seeds."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from modelhub.ml.kb.facts import ATTRIBUTES, Facts, generate
from modelhub.ml.kb.model import KnowledgeConfig, KnowledgeNet, count_parameters, tensors
from modelhub.ml.moe import balance
from modelhub.ml.train.schedule import one_cycle

SEEDS, MEAN_CHOSEN = (1, 2, 3), 3.0


def variants(shape: KnowledgeConfig) -> dict[str, KnowledgeConfig]:
    """The sparse network and what stands beside it."""
    return {
        "sparse": shape,
        "dense_total": shape.dense_total(),
        "dense_active": shape.dense_active(MEAN_CHOSEN),
        "random_router": replace(shape, random_router=True),
    }


def learn(
    config: KnowledgeConfig, facts: Facts, *, steps: int, batch: int, rate: float, seed: int, device: str
) -> tuple[KnowledgeNet, float]:
    """Train on all facts; give the network and the seconds it took."""
    torch.manual_seed(seed)
    model = KnowledgeNet(config).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    equipment, code, answers = tensors(facts, device)
    rng, started = np.random.default_rng(seed), time.perf_counter()
    order = torch.from_numpy(_order(len(facts), steps, batch, rng)).to(device)
    for step, chosen in enumerate(order):
        for group in optimizer.param_groups:
            group["lr"] = one_cycle(step, steps, rate)
        logits, routings = model(equipment[chosen], code[chosen])
        loss = recall_loss(logits, answers[chosen])
        for routing in routings:
            loss = loss + 1e-4 * routing.z_loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        for block, routing in zip(model.blocks, routings, strict=False):
            balance.move_selection_bias(block.gate, balance.expert_load(routing, config.experts))
    return model.eval(), time.perf_counter() - started


def _order(rows: int, steps: int, batch: int, rng: np.random.Generator) -> np.ndarray:
    """Every fact once before any comes again. Gives (steps, batch)."""
    passes = -(-steps * batch // rows)
    return np.concatenate([rng.permutation(rows) for _ in range(passes)])[: steps * batch].reshape(
        steps, batch
    )


def recall_loss(logits: Tensor, answers: Tensor) -> Tensor:
    """Cross-entropy, mean over facts and attributes. Shapes: logits (T, answers), answers (T, attributes)."""
    parts = logits.split(list(ATTRIBUTES.values()), dim=1)
    return torch.stack([F.cross_entropy(part, answers[:, i]) for i, part in enumerate(parts)]).mean()


@torch.no_grad()
def recalled(model: KnowledgeNet, facts: Facts, device: str) -> tuple[float, float]:
    """The share of facts (code and attribute) answered right, and the mean number of experts used."""
    equipment, code, answers = tensors(facts, device)
    right, chosen, asked = 0, 0.0, 0
    for which in torch.arange(len(facts), device=device).split(4096):
        logits, routings = model(equipment[which], code[which])
        best = torch.stack([p.argmax(dim=1) for p in logits.split(list(ATTRIBUTES.values()), dim=1)], dim=1)
        right += int((best == answers[which]).sum())
        asked += answers[which].numel()
        chosen += sum(float(r.chosen.float().mean()) for r in routings) / max(1, len(routings)) * len(which)
    return right / asked, chosen / len(facts)


def measure(
    shape: KnowledgeConfig,
    facts: Facts,
    *,
    steps: int,
    batch: int,
    rate: float,
    seeds: Sequence[int],
    device: str,
) -> tuple[list[dict[str, Any]], KnowledgeNet]:
    """A row per variant and seed, and the best sparse network."""
    rows: list[dict[str, Any]] = []
    best: tuple[float, KnowledgeNet] | None = None
    for seed in seeds:
        for name, config in variants(shape).items():
            model, seconds = learn(
                config, facts, steps=steps, batch=batch, rate=rate, seed=seed, device=device
            )
            share, chosen = recalled(model, facts, device)
            row = {"variant": name, "seed": seed, "recalled": round(share, 4), "seconds": round(seconds, 2)}
            row |= {"experts_used": round(chosen, 3), **count_parameters(model, chosen)}
            if name == "sparse":
                if best is None or share > best[0]:
                    best = (share, model)
                model.silence(True)
                row["ffn_zero"] = round(recalled(model, facts, device)[0], 4)
                model.silence(False)
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    assert best is not None
    return rows, best[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all variants and write `code-kb.json` and the best sparse network's weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--codes", type=int, default=1500, help="facts for each of 24 kinds of equipment, times 4 attributes"
    )
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    facts, shape = generate(codes=given.codes), KnowledgeConfig()
    rows, best = measure(
        shape,
        facts,
        steps=given.steps,
        batch=given.batch,
        rate=given.rate,
        seeds=given.seeds,
        device=given.device,
    )
    given.out.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().contiguous() for name, value in best.state_dict().items()}
    save_file(state, str(given.out / "code-kb.safetensors"))
    report = {
        "facts": len(facts) * len(ATTRIBUTES),
        "device": given.device,
        "steps": given.steps,
        "rows": rows,
    }
    (given.out / "code-kb.json").write_text(json.dumps(report, indent=1), "utf-8")


if __name__ == "__main__":
    main()
