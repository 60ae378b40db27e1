"""Fine-tuning one head of a text model on a customer's rows: frozen body, low-rank adapter, resumable.

torch is imported when the work starts, so that callers may import this module without it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np

from modelhub import artifacts
from modelhub.ml import datasets
from modelhub.ml.fairness.intervals import paired_difference, wilson
from modelhub.ml.text import graphs
from modelhub.ml.text.blend import cross_entropy, fit_blend
from modelhub.ml.text.corpus import spread
from modelhub.ml.text.served import FrozenBody

HELD_SHARE, MOST_HELD = 0.25, 500
REHEARSED_PER_LABEL, MOST_REHEARSED, GUARD_ROWS = 10, 1000, 300
AUTO_EPOCHS, PATIENCE, RATE, DECAY, BATCH = 40, 8, 3e-3, 0.01, 64

Row = tuple[str, str]


class TooFewRows(ValueError):
    """The rows cannot be split into a part to learn from and a part to judge by."""


@dataclass(frozen=True, slots=True)
class _Data:
    """Frozen features, wide logits (the fixed offset) and label positions."""

    x: np.ndarray
    offset: np.ndarray
    y: np.ndarray


@dataclass(frozen=True, slots=True)
class _Parts:
    """Rows to learn from, the customer's rows to judge by, and shipped validation rows to see forgetting."""

    train: _Data
    held: _Data
    guard: _Data
    rehearsed: int


def split_rows(rows: list[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """A seeded quarter (at most 500) to judge by, the rest to learn from. Raises TooFewRows under 8 rows."""
    if len(rows) < 8:
        raise TooFewRows(f"{len(rows)} rows: at least 8 are needed, so that 2 can be held back to judge by")
    order = np.random.default_rng(seed).permutation(len(rows))
    held = min(MOST_HELD, max(2, round(len(rows) * HELD_SHARE)))
    return [rows[i] for i in order[held:]], [rows[i] for i in order[:held]]


def fine_tune_head(
    base_dir: Path,
    head: str,
    rows: list[Row],
    *,
    out_dir: Path,
    epochs: int | Literal["auto"] = "auto",
    seed: int = 0,
    progress: Callable[[dict[str, Any]], None] = lambda report: None,
    should_stop: Callable[[], bool] = lambda: False,
    checkpoint_dir: Path | None = None,
    trunk_dir: Path | None = None,
) -> dict[str, Any]:
    """Fit a head on `rows` of (text, label) and write it to `out_dir`, named `<head>@<version>`.

    Labels that the head did not know are added to it. A sample of the shipped training rows is rehearsed, so
    that old labels are not forgotten. `auto` runs until the held-back rows' loss stops falling. Gives a report
    with accuracy before and after on the same held-back rows. What `progress` raises ends the run at once; one
    that `should_stop` ends writes no head
    (`"stopped": True`); started again with the same `checkpoint_dir` it goes on, and ends with the weights of
    an unbroken run. Raises TooFewRows, KeyError for an unknown head.
    """
    started = time.monotonic()
    body = FrozenBody(Path(base_dir), trunk_dir)
    known = body.manifest["heads"][head]["labels"] if head in body.manifest["heads"] else []
    labels = [*known, *sorted({label for _, label in rows} - set(known))]
    weights = _widen(body.head(head), len(labels))
    progress({"stage": "features", "rows": len(rows)})
    parts = _prepare(body, head, rows, labels, weights, seed, progress)
    tuned = _train(parts, weights, epochs, seed, progress, should_stop, checkpoint_dir)
    report: dict[str, Any] = {
        "head": head,
        "rows": {"train": len(parts.train.y) - parts.rehearsed, "validation": len(parts.held.y)},
        "labels_added": labels[len(known) :],
        "epochs": len(tuned["curve"]),
        "curve": tuned["curve"],
        "stopped": tuned["stopped"],
        "device": "cpu",
    }
    report["rows"]["rehearsed"] = parts.rehearsed
    if not tuned["stopped"]:
        report |= _judge(parts, tuned, weights, len(known))
        report["weight_hash"] = tuned["hash"]
        _write(Path(out_dir), body, head, labels, weights, tuned, parts, report)
    report["seconds"] = round(time.monotonic() - started, 2)
    return report


def _widen(weights: graphs.HeadWeights, n_labels: int) -> graphs.HeadWeights:
    """Room for new labels: zero weights, and the mean bias, in both channels."""
    more = n_labels - len(weights.bias)
    if not more:
        return weights
    table = weights.table
    grown = type(table)(
        row=table.row,
        idf=table.idf,
        weight=np.pad(table.weight, ((0, 0), (0, more))),
        scale=np.pad(table.scale, (0, more), constant_values=1.0),
        bias=np.pad(table.bias, (0, more), constant_values=float(table.bias.mean())),
    )
    weight = np.pad(weights.weight, ((0, more), (0, 0)))
    bias = np.pad(weights.bias, (0, more), constant_values=float(weights.bias.mean()))
    return graphs.HeadWeights(weight, bias.astype(np.float32), grown, weights.wide_share)


def _prepare(
    body: FrozenBody,
    head: str,
    rows: list[Row],
    labels: list[str],
    weights: graphs.HeadWeights,
    seed: int,
    progress: Callable[[dict[str, Any]], None],
) -> _Parts:
    train, held = split_rows(rows, seed)
    own = {text for text, _ in held}
    old, guard = _shipped_rows(head, "train", MOST_REHEARSED), _shipped_rows(head, "val", GUARD_ROWS)
    per_label = min(len(old), REHEARSED_PER_LABEL * len(labels))
    old = [row for row in old[:per_label] if row[0] not in own]
    place = {label: index for index, label in enumerate(labels)}

    def told(done: int, of: int) -> None:
        progress({"stage": "features", "rows": of, "done": done})

    def data(part: list[Row]) -> _Data:
        if not part:
            empty = np.zeros((0, len(labels)), np.float32)
            return _Data(np.zeros((0, weights.weight.shape[1]), np.float32), empty, np.zeros(0, np.int64))
        x, ids = body.features([text for text, _ in part], told)
        offset = weights.wide_share * weights.table.logits(ids)
        y = np.array([place[label] for _, label in part])
        return _Data(x, offset.astype(np.float32), y)

    return _Parts(data(train + old), data(held), data(guard), len(old))


def _shipped_rows(head: str, split: str, most: int) -> list[Row]:
    if head not in datasets.TEXT_SETS:
        return []
    rows = datasets.load(head, split)
    return [(rows.texts[i], rows.labels[i]) for i in spread(rows.labels, most)]


def _train(
    parts: _Parts,
    weights: graphs.HeadWeights,
    epochs: int | Literal["auto"],
    seed: int,
    progress: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool],
    checkpoint_dir: Path | None,
) -> dict[str, Any]:
    """Train the adapter; gives the best merged weights, their hash, the curve, and whether it was stopped."""
    import torch

    from modelhub.ml.adapters.lora import AdaptedHead
    from modelhub.ml.train import checkpoint

    most = AUTO_EPOCHS if epochs == "auto" else int(epochs)
    torch.manual_seed(seed)
    model = AdaptedHead(torch.tensor(weights.weight), torch.tensor(weights.bias))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    meta = checkpoint.restore(checkpoint_dir, model, [optimizer]) if checkpoint_dir else None
    curve: list[dict[str, float]] = meta["curve"] if meta else []
    started, first, stopped = time.monotonic(), len(curve), False
    while len(curve) < most and not (epochs == "auto" and _flat(curve)):
        if should_stop():
            stopped = True
            break
        loss = _epoch(model, optimizer, parts.train, seed, len(curve))
        point = {"epoch": len(curve) + 1, "loss": round(loss, 5), **_held_point(model, parts.held)}
        if not curve or point["held_loss"] < min(p["held_loss"] for p in curve):
            model.remember()
        curve.append(point)
        if checkpoint_dir is not None:
            checkpoint.save(checkpoint_dir, model, [optimizer], {"step": len(curve), "curve": curve})
        pace = (time.monotonic() - started) / (len(curve) - first)
        progress(
            {"stage": "training", **point, "epochs": most, "eta_s": round(pace * (most - len(curve)), 1)}
        )
    best = {"weight": model.best_weight, "bias": model.best_bias}
    arrays = {name: value.numpy().copy() for name, value in best.items()}
    return {**arrays, "hash": checkpoint.weight_hash(best), "curve": curve, "stopped": stopped}


def _flat(curve: list[dict[str, float]]) -> bool:
    """Whether the held-back loss has not fallen for `PATIENCE` epochs."""
    losses = [point["held_loss"] for point in curve]
    return len(losses) > PATIENCE and min(losses[-PATIENCE:]) >= min(losses[:-PATIENCE])


def _epoch(model: Any, optimizer: Any, data: _Data, seed: int, epoch: int) -> float:
    import torch
    from torch.nn import functional as F

    order = np.random.default_rng((seed, epoch)).permutation(len(data.y))
    x, offset, y = (torch.from_numpy(array) for array in (data.x, data.offset, data.y))
    total = 0.0
    for start in range(0, len(order), BATCH):
        chosen = torch.from_numpy(order[start : start + BATCH])
        loss = F.cross_entropy(model(x[chosen]) + offset[chosen], y[chosen], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += float(loss.detach()) * len(chosen)
    return total / len(order)


def _held_point(model: Any, held: _Data) -> dict[str, float]:
    weight, bias = (array.numpy() for array in model.merged())
    logits = held.x @ weight.T + bias + held.offset
    right = (logits.argmax(axis=1) == held.y).mean()
    return {"held_loss": round(cross_entropy(logits, held.y), 5), "accuracy": round(float(right), 4)}


def _judge(parts: _Parts, tuned: dict[str, Any], weights: graphs.HeadWeights, n_known: int) -> dict[str, Any]:
    """Before and after on the same rows; the head as shipped can choose among its own labels only."""
    was, now = (
        _right(parts.held, weights.weight, weights.bias, n_known),
        _right(parts.held, tuned["weight"], tuned["bias"]),
    )
    report: dict[str, Any] = {
        "before": {**wilson(int(was.sum()), len(was)).as_dict(), "n": len(was)},
        "after": {**wilson(int(now.sum()), len(now)).as_dict(), "n": len(now)},
        "paired_difference": paired_difference(now, was).as_dict(),
    }
    if len(parts.guard.y):
        report["shipped_validation"] = {
            "before": round(float(_right(parts.guard, weights.weight, weights.bias, n_known).mean()), 4),
            "after": round(float(_right(parts.guard, tuned["weight"], tuned["bias"]).mean()), 4),
            "n": len(parts.guard.y),
        }
    return report


def _right(data: _Data, weight: np.ndarray, bias: np.ndarray, labels: int | None = None) -> np.ndarray:
    """Which rows a head gets right, choosing among its first `labels` labels. Gives (N,) of bool."""
    logits = data.x @ weight.T + bias + data.offset
    return logits[:, :labels].argmax(axis=1) == data.y


def _write(
    out: Path,
    body: FrozenBody,
    head: str,
    labels: list[str],
    weights: graphs.HeadWeights,
    tuned: dict[str, Any],
    parts: _Parts,
    report: dict[str, Any],
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    graphs.write_head(out / "head.onnx", tuned["weight"], tuned["bias"], weights.table, weights.wide_share)
    temperature = float(body.manifest["heads"][head].get("temperature", 1.0))
    if len(parts.held.y) >= 100:
        logits = parts.held.x @ tuned["weight"].T + tuned["bias"] + parts.held.offset
        fitted = fit_blend(logits, np.zeros_like(logits), parts.held.y).temperature
        temperature = fitted if math.isfinite(fitted) else temperature
    manifest = {
        "id": out.name,
        "kind": "text-head",
        "version": out.name.partition("@")[2],
        "base": body.manifest["id"],
        "body_sha256": body.manifest["files"]["body"]["sha256"],
        "trunk_sha256": body.manifest["requires"].get("trunk", {}).get("sha256"),
        "head": head,
        "labels": labels,
        "temperature": temperature,
        "metrics": {name: report[name] for name in ("before", "after", "paired_difference")},
        "train": {"rows": report["rows"], "epochs": report["epochs"], "weight_hash": report["weight_hash"]},
        "created": date.today().isoformat(),
    }
    artifacts.write_manifest(out, manifest, {"head": "head.onnx"})
