"""Stage one for a model that has experts already: which of them do the same work, and what merging them would cost.

The served text model is read back from its own graphs; probes are states of real rows before each block. Experts are
clustered by their outputs, the log of who was chosen beside it; the merged network then answers held-back rows next to
the served one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modelhub.ml.activation.served_encoder import Served, load
from modelhub.ml.compress.merge import Experts, clusters, leave_out, reduce
from modelhub.ml.moe.gate import Routing
from modelhub.ml.text.encoder import ACTIVATION, SparseEncoder, TokenExperts, mean_by_text
from modelhub.ml.text.packing import pack_pieces
from modelhub.ml.text.pretrained import Pretrained

PROBES, ROWS_AT_ONCE, WIDTH = 384, 32, 128


def has_experts(manifest: dict[str, Any]) -> bool:
    """Whether a text model's own trunk consists of experts that can be read back."""
    return manifest.get("trunk_kind") in ("split", "upcycled", "sparse")


@torch.no_grad()
def analyse(
    directory: Path,
    trunk: Pretrained,
    head: str,
    rows: list[np.ndarray],
    *,
    keep: int,
    log_weight: float = 0.2,
    check: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Cluster every block's experts into `keep` groups, merge them, and compare the labels of token rows.

    `rows` hold positions in the trunk's vocabulary. Gives groups by block, agreement of the merged network and of one
    with as few experts chosen by load alone, with the served one. Raises ValueError for fewer groups than a token uses.
    """
    served = load(directory)
    model = served.model
    if not model.config.k_max <= keep <= model.config.experts:
        raise ValueError(f"keep={keep} must lie in {model.config.k_max}..{model.config.experts}")
    inputs, logs = _probe(model, trunk, rows, check)
    merged, pruned, report = copy.deepcopy(model), copy.deepcopy(model), []
    for layer, block in enumerate(model.blocks):
        if check is not None:
            check()
        part = block.experts
        assert part.gate is not None
        experts = Experts(part.w1.numpy(), part.w2.numpy(), part.gate.keys.numpy(), ACTIVATION)
        load_of = logs[layer].sum(axis=0)
        groups = clusters(
            experts.said(inputs[layer]), log=logs[layer], log_weight=log_weight, alike=None, count=keep
        )
        one = reduce(experts, groups, load_of, inputs[layer])
        _replace(merged.blocks[layer].experts, one.experts)
        order = np.argsort(-load_of)[: len(one.experts)]
        _replace(
            pruned.blocks[layer].experts,
            Experts(experts.w1[order], experts.w2[order], experts.keys[order], ACTIVATION),
        )
        idle = leave_out(experts, load_of, 0.1).report["left_out"]
        report.append({"block": layer, **one.report, "nearly_idle": idle})
    wanted, found, by_load = (_labels(net, served, head, trunk, rows) for net in (model, merged, pruned))
    return {
        "experts": model.config.experts, "kept": keep, "blocks": report, "rows": len(rows),
        "agreement_merged": round(float((wanted == found).mean()), 4),
        "agreement_busiest_kept": round(float((wanted == by_load).mean()), 4),
    }  # fmt: skip


def _probe(
    model: SparseEncoder, trunk: Pretrained, rows: list[np.ndarray], check: Callable[[], None] | None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What each block's experts were given, and which of them were chosen, token by token."""
    seen: list[list[np.ndarray]] = [[] for _ in model.blocks]
    chosen: list[list[np.ndarray]] = [[] for _ in model.blocks]

    def remember(layer: int) -> Callable[..., None]:
        def hook(module: nn.Module, given: tuple[Tensor, ...], found: tuple[Tensor, Routing | None]) -> None:
            routing = found[1]
            assert routing is not None
            used = torch.zeros(len(given[0]), model.config.experts)
            used.scatter_(1, routing.experts, (routing.weights > 0).float())
            seen[layer].append(given[0].numpy())
            chosen[layer].append(used.numpy())

        return hook

    hooks = [block.experts.register_forward_hook(remember(layer)) for layer, block in enumerate(model.blocks)]
    try:
        for _ in _pooled(model, trunk, rows, check):
            pass
    finally:
        for hook in hooks:
            hook.remove()
    inputs, logs = [np.concatenate(part) for part in seen], [np.concatenate(part) for part in chosen]
    pick = np.random.default_rng(0).permutation(len(inputs[0]))[:PROBES]
    return [part[pick] for part in inputs], logs


def _pooled(
    model: SparseEncoder, trunk: Pretrained, rows: list[np.ndarray], check: Callable[[], None] | None = None
) -> Any:
    """Positions and pooled states of the rows, batch by batch, texts of like length together."""
    embed = trunk.embeddings()
    order = np.argsort([len(row) for row in rows], kind="stable")
    for which in np.array_split(order, max(1, len(order) // ROWS_AT_ONCE)):
        if check is not None:
            check()
        batch = pack_pieces([rows[i] for i in which], WIDTH)
        keep = batch.segment[:, None, :, None] == batch.segment[:, None, None, :]
        x = model.enter(embed(batch))
        for block in model.blocks:
            x, _ = block(x, keep, "sorted")
        yield which, mean_by_text(x, batch.segment, batch.texts)


def _labels(
    model: SparseEncoder, served: Served, head: str, trunk: Pretrained, rows: list[np.ndarray]
) -> np.ndarray:
    """Labels by the deep part alone, which is what the experts change. Gives (N,)."""
    weights, found = served.heads[head], np.zeros(len(rows), np.int64)
    for which, pooled in _pooled(model, trunk, rows):
        features = model.features(pooled).numpy()
        found[which] = (features @ weights.weight.T + weights.bias).argmax(axis=1)
    return found


def _replace(part: TokenExperts, left: Experts) -> None:
    """Put fewer experts in a block's place; the bias of the selection starts at nought for them."""
    assert part.gate is not None
    part.w1, part.w2 = (nn.Parameter(torch.from_numpy(np.ascontiguousarray(w))) for w in (left.w1, left.w2))
    part.gate.keys = nn.Parameter(torch.from_numpy(np.ascontiguousarray(left.keys)))
    part.gate.selection_bias = torch.zeros(len(left))
