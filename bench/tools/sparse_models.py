"""Whole text models, not one layer: the classifier's body and a sparse encoder with attention, in float and in 8 bits."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from bench.common import Results
from bench.tools.contestants import session_contestant
from bench.tools.turns import INPUTS, Contestant, fastest, timed
from modelhub.ml import export
from modelhub.ml.features import open_session
from modelhub.ml.moe import body
from modelhub.ml.moe.encoder_graph import write_encoder
from modelhub.ml.moe.model import GatingConfig, build
from modelhub.serving.app import COUNT_EVERY

LENGTH = 48  # tokens of a text
WIDTH, LAYERS, ATTENTION_HEADS, EXPERTS, HIDDEN = 256, 3, 8, 32, 128
FORMS = {  # what competes on each side: experts or dense, and in which forms of the graph
    "dense": (False, ("moe",)), "dense_int8": (False, ("unrolled_int8",)),
    "sparse": (True, ("moe", "unrolled")), "sparse_int8": (True, ("qmoe", "unrolled_int8")),
}  # fmt: skip


def rows(results: Results) -> None:
    """The encoder as served, at one text and at 32; the cost of its activation log; the classifier's body."""
    with tempfile.TemporaryDirectory() as folder:
        for texts in (1, 32):
            encoder_rows(results, Path(folder), texts)
        body_rows(results, Path(folder))


def encoder(
    folder: Path, feeds: list[dict[str, np.ndarray]], experts: bool, form: str, counts: bool = False
) -> Contestant:
    path = folder / "encoder.onnx"
    write_encoder(
        encoder_state(experts),
        path,
        layers=LAYERS,
        attention_heads=ATTENTION_HEADS,
        form=form,
        counts=counts,
        half=False,
    )
    session = open_session(path)
    return session_contestant(session, feeds)


def encoder_state(experts: bool) -> body.State:
    """Random weights of the sparse encoder, with one shared expert, or of the dense one of equal total."""
    rng = np.random.default_rng(0)

    def matrix(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) * shape[-1] ** -0.5).astype(np.float32)

    def norm(name: str) -> body.State:
        return {name + ".weight": np.ones(WIDTH, np.float32), name + ".bias": np.zeros(WIDTH, np.float32)}

    state = norm("norm")
    shared = HIDDEN if experts else (EXPERTS + 1) * HIDDEN
    for layer in range(LAYERS):
        name = f"layers.{layer}."
        state |= norm(name + "attended") | norm(name + "fed")
        for part, size in (("qkv", 3 * WIDTH), ("out", WIDTH)):
            state |= {
                f"{name}{part}.weight": matrix(size, WIDTH),
                f"{name}{part}.bias": np.zeros(size, np.float32),
            }
        fed = name + "experts."
        state |= {
            fed + "up": matrix(shared, WIDTH),
            fed + "down": matrix(WIDTH, shared),
            fed + "bias": np.zeros(WIDTH),
        }
        if experts:
            state |= {fed + "w1": matrix(EXPERTS, HIDDEN, WIDTH), fed + "w2": matrix(EXPERTS, WIDTH, HIDDEN)}
            # A spread of 1.3 of the logits: about as sure as the trained gates, which use 2 to 3 experts.
            state |= {
                fed + "gate.keys": matrix(EXPERTS, WIDTH),
                fed + "gate.scale": np.float32(1.3 * WIDTH**0.5),
            }
            state[fed + "gate.selection_bias"] = np.zeros(EXPERTS, np.float32)
    return state


def encoder_rows(results: Results, folder: Path, texts: int) -> None:
    rng = np.random.default_rng(0)
    mask = np.ones((texts, LENGTH), np.int64)
    feeds = [
        {"embedded": rng.normal(size=(texts, LENGTH, WIDTH)).astype(np.float32), "attention_mask": mask}
        for _ in range(INPUTS)
    ]
    sides = {
        side: {form: encoder(folder, feeds, experts, form) for form in forms}
        for side, (experts, forms) in FORMS.items()
    }
    best = {side: fastest(found) for side, found in sides.items()}
    runs = {side: sides[side][best[side]] for side in sides} | {"qmoe": sides["sparse_int8"]["qmoe"]}
    runs["counting"] = counting = encoder(folder, feeds, True, best["sparse"], counts=True)
    rounds, chosen = timed(runs), counts_of(counting) / (LAYERS * texts * LENGTH)
    best |= {"qmoe": "qmoe"}
    what = (
        f"whole encoder d={WIDTH}, {LAYERS} layers, E={EXPERTS}, f={HIDDEN}, one shared, k={chosen:.2f}, attention included, "
        f"{texts} × {LENGTH} tokens, CPU time of one thread"
    )

    def add(metric: str, over: str, under: str, control: bool = False) -> None:
        ratios = [one[over] / one[under] for one in rounds]
        how = f"{what}: {over} ({best[over]}) over {under} ({best[under]})"
        results.add(f"{metric}_b{texts}", ratios, "×", how, control=control)

    add("full_model_speedup", "dense", "sparse")
    add("full_model_speedup_int8", "dense_int8", "sparse_int8")
    add("full_model_speedup_int8_vs_fp32", "dense", "sparse_int8")
    add("full_model_speedup_qmoe", "dense_int8", "qmoe")
    add("full_model_speedup_qmoe_vs_fp32", "dense", "qmoe")
    add("dense_int8_over_fp32", "dense", "dense_int8", control=True)
    every = [100 * (one["counting"] / one["sparse"] - 1) for one in rounds]
    sampled = [cost / COUNT_EVERY for cost in every]  # batches that nobody counts don't compute the counts
    how = (
        f"{what}: one batch in {COUNT_EVERY} counted, as served; its part of what counting every batch costs"
    )
    results.add(f"activation_log_cost_b{texts}", sampled, "%", how, at_most=1.0)
    results.add(
        f"activation_log_cost_every_b{texts}", every, "%", f"{what}: every batch counted", control=True
    )
    results.add(
        f"dense_total_ms_full_b{texts}", [1e3 * one["dense"] for one in rounds], "ms", what, control=True
    )


def counts_of(counting: Contestant) -> float:
    return float(np.asarray(counting(0)).sum())


def body_rows(results: Results, folder: Path) -> None:
    """The classifier over pooled states as it is shipped: 8-bit beside 16-bit weights, and what the log costs it."""
    torch.manual_seed(0)
    config = GatingConfig()
    model = build(config, {"labels": 77}).eval()
    state = export.state_arrays(model)
    rng = np.random.default_rng(0)
    for texts in (1, 64):
        feeds = [{"pooled": rng.normal(size=(texts, config.width)).astype(np.float32)} for _ in range(INPUTS)]
        runs = {
            form: _body(state, folder, config, form, feeds)
            for form in ("moe", "unrolled", "qmoe", "unrolled_int8")
        }
        rounds = timed(runs)
        what = f"classifier body, d={config.width}, {config.layers} layers, E={config.experts}, {texts} texts"
        for form in ("unrolled", "qmoe", "unrolled_int8"):
            ratios = [one["moe"] / one[form] for one in rounds]
            results.add(
                f"body_{form}_over_moe_b{texts}", ratios, "×", f"{what}: MoE over {form}", control=True
            )


def _body(
    state: body.State, folder: Path, config: GatingConfig, form: str, feeds: list[dict[str, np.ndarray]]
) -> Contestant:
    path = folder / f"body-{form}.onnx"
    body.write_body(state, path, layers=config.layers, mass=config.mass, form=form, half=False)
    return session_contestant(open_session(path), feeds)
