"""Whether experts are specialists: switch off the two that a line of business uses most, and see whom it hurts.

`python -m modelhub.ml.text.specialisation --from DIR --out FILE` runs it on the weights that training gathered.

The claim: it costs that workload at least three times what it costs the others, on average. The control: pairs of experts
drawn at random from the same blocks. Accuracy is that of the deep heads alone, on validation rows.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modelhub.ml.text.encoder import SparseEncoder
from modelhub.ml.text.pretrained import load_corpus
from modelhub.ml.train.encoder import shape_of
from modelhub.ml.train.encoder_loop import EncoderTraining, Materials, autocast, evaluate, expert_load

TIMES, RANDOM_PAIRS = 3.0, 5
_NEVER = -10.0  # below any probability: an expert with this bias is never among the chosen

Pair = tuple[tuple[int, int], ...]


@contextmanager
def switched_off(model: SparseEncoder, experts: Pair) -> Iterator[None]:
    """Keep these (block, expert) from being chosen, and put their bias back at the end."""
    gates = [block.experts.gate for block in model.blocks]
    before = [gate.selection_bias.clone() for gate in gates if gate is not None]
    try:
        for block, expert in experts:
            gate = gates[block]
            if gate is None:
                raise ValueError(f"block {block} has no gate: its feed-forward part is dense")
            gate.selection_bias[expert] = _NEVER
        yield
    finally:
        for gate, bias in zip([g for g in gates if g is not None], before, strict=True):
            gate.selection_bias.copy_(bias)


@torch.no_grad()
def loads_by_workload(model: SparseEncoder, materials: Materials, config: EncoderTraining) -> np.ndarray:
    """Tokens that each expert saw of each workload's validation rows. Gives (workloads, layers, E)."""
    model.eval()
    rows = materials.val
    total = np.zeros((len(rows.names), model.config.layers, model.config.experts))
    for which, batch in materials.val_batches(config.device, config.width):
        workload = torch.from_numpy(rows.workload[which]).to(config.device)
        with autocast(config):
            _, routings = model(materials.embeddings(batch), batch.segment, batch.texts, config.form)
        owner = torch.where(batch.segment < 0, -1, workload[batch.segment.clamp_min(0)])
        for index in range(len(rows.names)):
            used = owner == index
            total[index] += (
                torch.stack([expert_load(r, used, model.config.experts) for r in routings]).cpu().numpy()
            )
    return total


def hottest(loads: np.ndarray, workload: int, count: int = 2) -> Pair:
    """The experts that saw most of a workload's tokens, as (block, expert). Shapes: loads (workloads, layers, E)."""
    flat = loads[workload].ravel().argsort()[::-1][:count]
    return tuple((int(i) // loads.shape[2], int(i) % loads.shape[2]) for i in flat)


def measure(
    model: SparseEncoder, materials: Materials, config: EncoderTraining, *, seed: int = 1
) -> dict[str, Any]:
    """Per workload: its hottest experts, what their absence costs it and the others, in points, and random pairs beside.

    `times` is own cost over the others' mean cost (None where the others lose nothing).
    """
    names = materials.val.names
    whole = evaluate(model, materials, config)[0]["by_workload"]
    loads = loads_by_workload(model, materials, config)
    rng = np.random.default_rng(seed)

    def cost(pair: Pair) -> dict[str, float]:
        with switched_off(model, pair):
            found = evaluate(model, materials, config)[0]["by_workload"]
        return {name: (whole[name] - found[name]) * 100 for name in names}

    def ratio(costs: dict[str, float], own: str) -> tuple[float, float, float | None]:
        others = float(np.mean([value for name, value in costs.items() if name != own]))
        return costs[own], others, costs[own] / others if others > 0 else None

    rows: dict[str, Any] = {}
    for index, name in enumerate(names):
        pair = hottest(loads, index)
        mine, others, times = ratio(cost(pair), name)
        random = []
        for _ in range(RANDOM_PAIRS):
            drawn = tuple((block, int(rng.integers(model.config.experts))) for block, _ in pair)
            random.append(ratio(cost(drawn), name))
        rows[name] = {
            "experts": [list(place) for place in pair],
            "own_points": round(mine, 2),
            "others_points": round(others, 2),
            "times": None if times is None else round(times, 2),
            "met": times is not None and times >= TIMES and mine > 0,
            "random_own_points": [round(own, 2) for own, _, _ in random],
            "random_others_points": [round(other, 2) for _, other, _ in random],
        }
    return {"whole": whole, "workloads": rows, "met": sum(row["met"] for row in rows.values())}


def load_model(source: Path, variant: str, seed: int, labels: dict[str, list[str]]) -> SparseEncoder:
    """A trained encoder from the files that training gathered. Raises FileNotFoundError."""
    from modelhub.ml.text.sparse import read_state

    model = SparseEncoder(shape_of(variant), {name: len(own) for name, own in labels.items()})
    state = read_state(source, variant, seed)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    return model.eval()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="source", type=Path, required=True)
    parser.add_argument("--variant", default="upcycled")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=300, help="validation rows of each workload at most")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    trunk, rows = load_corpus()
    val = rows["val"]
    first = [np.flatnonzero(val.workload == index)[: given.rows] for index in range(len(val.names))]
    materials = Materials(trunk.embeddings(), rows["train"], val.take(np.concatenate(first)), torch.zeros(0))
    model = load_model(given.source, given.variant, given.seed, val.labels)
    given.out.write_text(json.dumps(measure(model, materials, EncoderTraining()), indent=1), "utf-8")


if __name__ == "__main__":
    main()
