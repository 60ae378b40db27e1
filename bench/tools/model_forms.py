"""Whole sparse models in every form that a CPU runs, `QMoE` among them: what each answers, and how long it takes.

`python -m bench.tools.model_forms [answers] [recall] [times]` prints the rows. The weights are those that ship. txt-base ships in
8 bits, so the float forms compute with the very numbers its bytes stand for; `unrolled_int8` rounds them once more, by row.
Beside them stand the gate's keys drawn by chance, experts silenced, and for time a dense network whose feed-forward parts hold
every expert.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from bench.common import Results, Row
from bench.tools.contestants import session_contestant
from bench.tools.turns import INPUTS, Contestant, fastest, timed
from modelhub import artifacts
from modelhub.ml import datasets, features, tokens, trunk
from modelhub.ml.fairness.intervals import paired_difference, wilson
from modelhub.ml.graph import GraphBuilder
from modelhub.ml.kb.facts import ATTRIBUTES, CODE_LENGTH, EQUIPMENT, LETTERS, Facts, generate
from modelhub.ml.kb.model import KnowledgeConfig
from modelhub.ml.moe.body import norm_nodes, sparse_nodes
from modelhub.ml.moe.encoder_graph import write_encoder
from modelhub.ml.moe.expert_graph import FORMS
from modelhub.ml.moe.gate_graph import CosineTerms
from modelhub.ml.text.encoder import EncoderConfig
from modelhub.ml.text.served import FrozenBody
from modelhub.ml.text.sparse import body_features
from modelhub.ml.text.torch_form import read_encoder

SERVED = "qmoe"
MOST_LOST, LEAST_AGREEING = 1.0, 0.985
BATCHES = (1, 32)
State = dict[str, np.ndarray]
CONTROLS = {
    "random_router": "the gates' keys drawn by chance",
    "ffn_zero": "experts and shared parts silenced",
}


def rows(results: Results, parts: Sequence[str] = ()) -> None:
    """All rows, or those of the named parts; times belong to a quiet machine."""
    with tempfile.TemporaryDirectory(prefix="model-forms-") as folder:
        for part in parts or PARTS:
            PARTS[part](results, Path(folder))


# --- what txt-base answers ----------------------------------------------------------------------------------------------


def answer_rows(results: Results, folder: Path) -> None:
    """txt-base on all validation rows, with its wide channels as served: accuracy by form, agreement, and the controls."""
    state, config = shipped_encoder()
    texts, rng = Judge(), np.random.default_rng(1)
    right, labels = {}, {}
    for form in FORMS:
        right[form], labels[form] = texts.judge(write(state, config, folder / f"{form}.onnx", form))
    others = {"random_router": by_chance(state, rng), "ffn_zero": silenced(state)}
    for name, changed in others.items():
        right[name], _ = texts.judge(write(changed, config, folder / f"{name}.onnx", SERVED))
    what = f"txt-base, all {texts.count:,} validation rows, wide channels as served"
    for name, own in right.items():
        words = f"form {name}" if name in FORMS else f"form {SERVED}, {CONTROLS[name]}"
        interval = wilson(int(own.sum()), len(own)).as_dict()
        row = Row(f"full_model_accuracy_{name}", interval["value"], "share", interval["low"], interval["high"], len(own),
                  f"{what}: {words}; 95 % Wilson interval")  # fmt: skip
        results.put(row, control=name != SERVED)
    loss_rows(results, right, labels, what)


def loss_rows(
    results: Results, right: dict[str, np.ndarray], labels: dict[str, np.ndarray], what: str
) -> None:
    """Points that `QMoE` loses against the plain unrolled graph in float32, and how often both say the same."""
    lost = paired_difference(right["unrolled"], right[SERVED])
    how = f"{what}: accuracy of the unrolled float32 graph on the same weights less that of QMoE; paired 95 % interval"
    low, value, high = (round(100 * v, 3) for v in (lost.low, lost.value, lost.high))
    target, met = f"upper 95 % bound < {MOST_LOST:g} point", high < MOST_LOST
    n = len(right[SERVED])
    results.put(Row("full_model_qmoe_loss_points", value, "points", low, high, n, how, target, met))
    for form in FORMS:
        if form != "unrolled":
            same = labels[form] == labels["unrolled"]
            share = wilson(int(same.sum()), len(same)).as_dict()
            told = f"{what}: share of rows labelled as the unrolled float32 graph labels them; 95 % Wilson interval"
            served = form == SERVED
            row = Row(
                f"full_model_agreement_{form}", share["value"], "share", share["low"], share["high"], len(same), told,
                f">= {LEAST_AGREEING:g}" if served else None, share["value"] >= LEAST_AGREEING if served else None,
            )  # fmt: skip
            results.put(row, control=not served)


class Judge:
    """The validation rows of every text workload, their wide logits and heads, read once."""

    def __init__(self) -> None:
        self.body = FrozenBody(artifacts.find("txt-base"))
        self.trunk_dir = trunk.ensure_trunk(artifacts.home())
        self.names = list(self.body.manifest["heads"])
        self.y, self.ids, self.side = {}, {}, {}
        for name in self.names:
            held = datasets.load(name, "val")
            order = self.body.manifest["heads"][name]["labels"]
            self.y[name] = np.array([order.index(label) for label in held.labels])
            self.ids[name] = self.body.token_ids(held.texts)
            head = self.body.head(name)
            self.side[name] = head.wide_share * head.table.logits(self.ids[name]) + head.bias
        self.count = sum(len(y) for y in self.y.values())

    def judge(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Which rows a body answers right, and the label of each, workload after workload. Gives (N,) and (N,)."""
        right, labels = [], []
        for name in self.names:
            found = body_features(path, self.trunk_dir, self.ids[name])
            said = (found @ self.body.head(name).weight.T + self.side[name]).argmax(axis=1)
            right.append(said == self.y[name])
            labels.append(said)
        return np.concatenate(right), np.concatenate(labels)


def shipped_encoder() -> tuple[State, EncoderConfig]:
    """The weights that txt-base's bytes stand for."""
    directory = artifacts.find("txt-base")
    return read_encoder(artifacts.file_of(directory, artifacts.verify(directory), "body"))


def write(state: State, config: EncoderConfig, path: Path, form: str, counts: bool = False) -> Path:
    write_encoder(
        state, path, layers=config.layers, attention_heads=config.attention_heads, k_min=config.k_min,
        k_max=config.k_max, mass=config.mass, form=form, counts=counts, half=False,
    )  # fmt: skip
    return path


def by_chance(state: State, rng: np.random.Generator) -> State:
    """The same network with keys that mean nothing; scale and balance stay."""
    return state | {
        name: rng.normal(size=value.shape).astype(np.float32)
        for name, value in state.items()
        if name.endswith("gate.keys")
    }


def silenced(state: State) -> State:
    """The same network without its feed-forward parts."""
    ends = (".w2", ".down", ".experts.bias", ".shared.2.weight")
    return state | {name: np.zeros_like(value) for name, value in state.items() if name.endswith(ends)}


def every_expert(state: State, config: EncoderConfig) -> State:
    """The dense network of as many parameters: each feed-forward part holds the shared one and all experts."""
    dense = {name: value for name, value in state.items() if ".gate." not in name}
    for layer in range(config.layers):
        name = f"layers.{layer}.experts."
        w1, w2 = dense.pop(name + "w1"), dense.pop(name + "w2")
        down = np.concatenate(list(w2), axis=1) / len(w2)
        dense[name + "up"] = np.concatenate([state[name + "up"], w1.reshape(-1, w1.shape[2])])
        dense[name + "down"] = np.concatenate([state[name + "down"], down], axis=1)
    return dense


# --- what code-kb recalls -----------------------------------------------------------------------------------------------


def knowledge_rows(results: Results, folder: Path) -> None:
    """code-kb, where experts carry everything: the share of facts recalled in each form, and by the controls."""
    directory = artifacts.find("code-kb")
    manifest = artifacts.verify(directory)
    state = {
        name: value.astype(np.float32)
        for name, value in load_file(str(artifacts.file_of(directory, manifest, "weights"))).items()
    }
    facts = generate(codes=manifest["facts"] // (len(EQUIPMENT) * len(ATTRIBUTES)))
    found = {form: recalled(state, facts, folder / "kb.onnx", form) for form in FORMS}
    rng = np.random.default_rng(1)
    for name, changed in (("random_router", by_chance(state, rng)), ("ffn_zero", silenced(state))):
        found[name] = recalled(changed, facts, folder / "kb.onnx", SERVED)
    for name, own in found.items():
        words = f"form {name}" if name in FORMS else f"form {SERVED}, {CONTROLS[name]}"
        share = wilson(int(own.sum()), own.size).as_dict()
        how = f"code-kb as shipped: share of {own.size:,} facts recalled, {words}; 95 % Wilson interval"
        row = Row(
            f"full_model_recalled_{name}",
            share["value"],
            "share",
            share["low"],
            share["high"],
            own.size,
            how,
        )
        results.put(row, control=name != SERVED)
    lost = paired_difference(found["unrolled"].ravel(), found[SERVED].ravel())
    low, value, high = (round(100 * v, 3) for v in (lost.low, lost.value, lost.high))
    how = "code-kb: facts that the unrolled float32 graph recalls less those of QMoE, in points; paired 95 % interval"
    results.put(
        Row("full_model_recalled_qmoe_loss_points", value, "points", low, high, found[SERVED].size, how,
            f"upper 95 % bound < {MOST_LOST:g} point", high < MOST_LOST)
    )  # fmt: skip


def recalled(state: State, facts: Facts, path: Path, form: str) -> np.ndarray:
    """Which answers are right. Gives (facts, attributes) of bool."""
    write_knowledge(state, path, form)
    session = features.open_session(path)
    right = np.zeros(facts.answers.shape, bool)
    for start in range(0, len(facts.code), 4096):
        part = slice(start, start + 4096)
        logits = session.run(None, {"equipment": facts.equipment[part], "code": facts.code[part]})[0]
        ends = np.cumsum(list(ATTRIBUTES.values()))
        for index, (end, size) in enumerate(zip(ends, ATTRIBUTES.values(), strict=True)):
            right[part, index] = logits[:, end - size : end].argmax(axis=1) == facts.answers[part, index]
    return right


def write_knowledge(state: State, path: Path, form: str) -> None:
    """Write `equipment` (T,), `code` (T, 3) int64 -> `logits` (T, L), the experts in one of their forms."""
    g, shape = GraphBuilder("knowledge"), KnowledgeConfig()
    equipment, code = g.input("equipment", "int64", ["T"]), g.input("code", "int64", ["T", CODE_LENGTH])
    place = g.op("Add", code, g.const(np.arange(CODE_LENGTH) * len(LETTERS)))
    each = g.op("Gather", g.const(state["letters.weight"]), place)
    letters = g.op("ReduceSum", each, g.const(np.array([1])), keepdims=0)
    x = g.op("Add", g.op("Gather", g.const(state["equipment.weight"]), equipment), letters)
    for layer in range(shape.layers):
        name = f"layers.{layer}."
        keys, scale, bias = (state[f"{name}gate.{part}"] for part in ("keys", "scale", "selection_bias"))
        terms = CosineTerms(keys, float(scale), bias, k_min=shape.k_min, k_max=shape.k_max, mass=shape.mass)
        y = norm_nodes(g, state, name + "norm", x)
        mixed, _ = sparse_nodes(g, state, name, y, terms, activation="silu", form=form, half=False)
        x = g.op("Add", x, mixed)
    out = g.op(
        "MatMul", norm_nodes(g, state, "norm", x), g.const(np.ascontiguousarray(state["head.weight"].T))
    )
    g.output("logits", g.op("Add", out, g.const(state["head.bias"])), "float", ["T", len(state["head.bias"])])
    g.save(path)


# --- how long -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Side:
    """A network, and the forms that compete for its part of a ratio."""

    dense: bool
    forms: tuple[str, ...]


SIDES = {
    "dense": Side(True, ("moe",)),
    "dense_int8": Side(True, ("unrolled_int8",)),
    "sparse": Side(False, ("moe", "unrolled")),
    "unrolled": Side(False, ("unrolled",)),
    "qmoe": Side(False, ("qmoe",)),
    "sparse_int8": Side(False, ("qmoe", "unrolled_int8")),
}
RATIOS = (
    ("speedup", "dense", "sparse"),
    ("speedup_int8", "dense_int8", "sparse_int8"),
    ("speedup_qmoe", "dense_int8", "qmoe"),
    ("speedup_qmoe_vs_fp32", "dense", "qmoe"),
    ("speedup_qmoe_vs_unrolled", "unrolled", "qmoe"),
)


def time_rows(results: Results, folder: Path) -> None:
    """txt-base's body on real texts, routed as they are: each form against the dense network, in turns."""
    state, config = shipped_encoder()
    dense = every_expert(state, config)
    for texts in BATCHES:
        feeds = list(real_feeds(texts))
        sides: dict[str, dict[str, Contestant]] = {}
        for name, side in SIDES.items():
            sides[name] = {
                form: _contestant(dense if side.dense else state, config, folder, form, feeds)
                for form in side.forms
            }
        best = {name: fastest(found) for name, found in sides.items()}
        rounds = timed({name: sides[name][best[name]] for name in sides})
        tokens_mean = np.mean([feed["attention_mask"].sum() / texts for feed in feeds])
        what = f"txt-base's body, {texts} validation texts of {tokens_mean:.0f} tokens on average, CPU time of one thread"
        for metric, over, under in RATIOS:
            ratios = [one[over] / one[under] for one in rounds]
            how = f"{what}: {over} ({best[over]}) over {under} ({best[under]})"
            results.add(f"full_model_txt_base_{metric}_b{texts}", ratios, "×", how)
        for name in ("dense", "dense_int8", "qmoe", "unrolled"):
            ms = [1e3 * one[name] for one in rounds]
            results.add(f"full_model_txt_base_ms_{name}_b{texts}", ms, "ms", f"{what}: {name}", control=True)


def _contestant(
    state: State, config: EncoderConfig, folder: Path, form: str, feeds: list[dict[str, Any]]
) -> Contestant:
    return session_contestant(features.open_session(write(state, config, folder / "timed.onnx", form)), feeds)


def real_feeds(texts: int) -> Iterator[dict[str, np.ndarray]]:
    """Embedded validation texts of every workload, mixed: INPUTS batches of them."""
    body, trunk_dir = FrozenBody(artifacts.find("txt-base")), trunk.ensure_trunk(artifacts.home())
    embedding = features.open_session(trunk_dir / "embed.onnx")
    each = -(-INPUTS * texts // len(body.manifest["heads"]))
    drawn = [text for name in body.manifest["heads"] for text in datasets.load(name, "val").texts[:each]]
    order = np.random.default_rng(1).permutation(len(drawn))[: INPUTS * texts]
    ids = body.token_ids([drawn[i] for i in order])
    for start in range(0, len(ids), texts):
        batch, mask = tokens.pad([features.cut(row) for row in ids[start : start + texts]])
        yield {"embedded": embedding.run(["embedded"], {"input_ids": batch})[0], "attention_mask": mask}


PARTS = {"answers": answer_rows, "recall": knowledge_rows, "times": time_rows}


def main() -> None:
    """Print the rows of the named parts, or of all."""
    rows(Results("model_forms"), sys.argv[1:])


if __name__ == "__main__":
    main()
