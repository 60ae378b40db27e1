"""An adapter inside the trunk, trained on the weights that are served and checked in the graph that will answer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.ml import features, tokens, trunk
from modelhub.ml.adapters.inject import Adapter, AdapterShape
from modelhub.ml.adapters.inner import BATCH, SEEN_ROWS, Examples, Settings, Tuned, all_logits, train_inner
from modelhub.ml.adapters.rows import Part
from modelhub.ml.adapters.seen import Seen, see_once
from modelhub.ml.text.adapted_graph import with_adapters
from modelhub.ml.text.torch_form import open_encoder, read_encoder
from modelhub.ml.train.checkpoint import weight_hash

TOP_HIDDEN, TOP_SEEN = 64, 2 * SEEN_ROWS  # an epoch on states computed once costs next to nothing
PARTS = ("train", "held", "guard")


def see_rows(run: Any) -> dict[str, Seen]:
    """What the served graph says of each part of a `finetune.Run`'s rows, by one run over them.

    Raises NotAdaptable or NotOurForm for a body that takes no adapters inside.
    """
    used, body = time.process_time(), _body(run)
    _, config = read_encoder(body)
    first = config.layers - min(run.options.blocks, config.layers)

    def told(done: int, of: int) -> None:
        run.progress({"stage": "features", "rows": of, "done": done})

    def seen(name: str) -> Seen:
        ids = getattr(run.prepared, name).ids
        return see_once(body, _embed(run), ids, first, kept=run.kept(f"{name}.states"), told=told)

    found = {name: seen(name) for name in PARTS}
    run.cpu_s += time.process_time() - used
    return found


def _body(run: Any) -> Path:
    return artifacts.file_of(run.body.directory, run.body.manifest, "body")


def _embed(run: Any) -> Path:
    return (run.trunk_dir or trunk.ensure_trunk(artifacts.home())) / "embed.onnx"


def train_inside(run: Any, method: str, *, top: bool = False) -> dict[str, Any]:
    """Train an adapter and a head for a `finetune.Run`; what is made, with the trunk's hash before and after.

    It starts from the head as it was shipped, or from nothing. `top`: a plugin expert in the topmost block alone.
    Raises NotAdaptable, NotOurForm, LossNotFinite, RuntimeError if the trunk moved.
    """
    if run.seen is None:
        run.seen = see_rows(run)
    own, options, used = run.prepared, run.options, time.process_time()
    body, embed = _body(run), _embed(run)
    encoder = open_encoder(body)
    before = weight_hash(encoder.state_dict())
    if top:
        shape = AdapterShape("expert", 1, hidden=TOP_HIDDEN)
    else:
        shape = AdapterShape(method, min(options.blocks, encoder.config.layers))  # type: ignore[arg-type]
    model = Tuned(Adapter(shape, encoder.config.width, options.seed), own.weights.weight, own.weights.bias)

    def examples(name: str) -> Examples:
        seen, part = run.seen[name], getattr(own, name)
        return Examples(seen.top if top else seen.entering, part.offset, part.y)

    train, held, guard = (examples(name) for name in PARTS)
    adapted = train.states.encoder(encoder, model.adapter)
    untouched = Tuned(Adapter(shape, encoder.config.width), own.weights.weight, own.weights.bias)
    plain = train.states.encoder(encoder, untouched.adapter)
    firsts = [all_logits(plain, untouched, part) for part in (held, guard)]
    run.cpu_s += time.process_time() - used
    rows = TOP_SEEN if top else SEEN_ROWS
    settings = Settings(options.planned, options.batch(BATCH), options.multiplier, options.seed, rows)
    outcome = train_inner(
        encoder, model, train, held, settings, folder=run.kept("top" if top else method), progress=run.progress,
        should_stop=run.should_stop,
    )  # fmt: skip
    made: dict[str, Any] = {
        "method": method, "stopped": outcome.stopped, "curve": outcome.curve, "cpu_s": outcome.cpu_s, "hash": outcome.hash,
        "batch": settings.batch, "told": {},
    }  # fmt: skip
    if outcome.stopped:
        return made
    lasts = [all_logits(adapted, model, part) for part in (held, guard)]
    weight, bias = (value.detach().numpy().copy() for value in (model.weight, model.bias))
    after = weight_hash(encoder.state_dict())
    if after != before:
        raise RuntimeError(
            "the shared trunk moved while an adapter was trained on it: nothing of this run is kept"
        )
    arrays = model.adapter.arrays()
    size = sum(value.size for value in arrays.values())
    made["told"] = {
        "trunk_hash": {"before": before, "after": after, "equal": True},
        "adapter": shape.as_dict()
        | {"parameters": size, "share_of_trunk": round(size / _parameters(encoder), 5)},
        "served": served_beside(body, embed, own.held, (shape, arrays), (weight, bias), lasts[0]),
    }
    return made | {
        "adapter": (shape, arrays), "weight": weight, "bias": bias, "held_logits": lasts[0], "guard_logits": lasts[1],
        "held_before": firsts[0], "guard_before": firsts[1],
    }  # fmt: skip


def _parameters(encoder: Any) -> int:
    return int(sum(p.numel() for p in encoder.parameters()))


def served_beside(
    body: Path, embed: Path, held: Part, adapter: tuple[AdapterShape, dict[str, np.ndarray]],
    head: tuple[np.ndarray, np.ndarray], logits: np.ndarray,
) -> dict[str, Any]:  # fmt: skip
    """Accuracy of the graph that will answer beside that of the torch form it was trained in, on the same held-back rows."""
    shape, arrays = adapter
    x = graph_features(body, embed, held.ids, shape, arrays)
    served = x @ head[0].T + head[1] + held.offset
    ours, theirs = logits.argmax(axis=1), served.argmax(axis=1)
    return {
        "torch_accuracy": round(float((ours == held.y).mean()), 4),
        "graph_accuracy": round(float((theirs == held.y).mean()), 4),
        "agreement": round(float((ours == theirs).mean()), 4),
        "n": len(held),
    }


def graph_features(
    body: Path, embed: Path, ids: list[np.ndarray], shape: AdapterShape, arrays: dict[str, np.ndarray]
) -> np.ndarray:
    """Features by the served graph with this one adapter for every row. Gives (N, D) float32."""
    import onnxruntime as ort

    graph = with_adapters(body, [shape.method], shape.blocks).SerializeToString()
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session, embedding = (
        ort.InferenceSession(graph, options, ["CPUExecutionProvider"]),
        features.open_session(embed),
    )
    stacks = {}
    for entry in session.get_inputs():
        name, _, layer = entry.name.partition(".")
        if name in arrays:
            place = int(layer) - min(_layers(session))
            own = arrays[name][place]
            stacks[entry.name] = np.stack([np.zeros_like(own), own])
    width = int(session.get_outputs()[0].shape[1])
    found = np.zeros((len(ids), width), np.float32)
    short = [features.cut(row) for row in ids]
    for group in tokens.batches_by_length([len(row) for row in short], 4096, 64):
        batch, mask = tokens.pad([short[i] for i in group])
        feed = {"attention_mask": mask, "adapter": np.ones(len(group), np.int64), **stacks}
        feed["embedded"] = embedding.run(["embedded"], {"input_ids": batch})[0]
        found[group] = session.run(["features"], feed)[0]
    return found


def _layers(session: Any) -> list[int]:
    return [int(entry.name.partition(".")[2]) for entry in session.get_inputs() if "." in entry.name]
