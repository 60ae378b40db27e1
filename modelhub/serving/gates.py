"""The operator in a served file: that it is there on every answer's path, is the one we know, and does what it did.

A model whose manifest says `bias_operator: required` is opened only when its graph holds our gate, letter by letter,
before each of its answers; when nothing else leaves the graph; when the thresholds are those of the manifest; and when
the answers kept beside it come out again. A graph from which the gate was taken, or in which NaN passes, is refused.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.serving.errors import ModelRefused
from modelhub.serving.graphs import GATE_DOMAIN, NodeFacts, NotAGraph, Structure, read_structure

GATE, REQUIRED = "BiasGate", "required"
# SHA-256 of the function's bytes in the file, for every definition of the gate that was ever shipped.
KNOWN_GATES = frozenset(
    {
        "3fea7290dcf72e2448f3c612e0d488b12f814fcca3957eb874d6f2b75c5773a8",
        "ceb4452d7dc93d4ea8aebbd3e3da17c3f2b13c6b8fd1748f883b1e1a1010777d",  # without casts: less to run
    }
)
FEATURES, RISK, TAU = "features", "risk", "tau"
STRAYS = 0.05  # of the largest value: 8-bit products differ a little between processors


def needs_gate(manifest: dict[str, Any]) -> bool:
    """Whether a manifest promises the operator."""
    return manifest.get("bias_operator") == REQUIRED


def check_gate(path: Path, manifest: dict[str, Any]) -> None:
    """Raises ModelRefused `gate_missing`, `gate_unknown`, `gate_bypassed` or `gate_threshold`."""
    model = manifest["id"]
    try:
        found = read_structure(Path(path).read_bytes())
    except NotAGraph as error:
        raise ModelRefused(model, f"{Path(path).name}: {error}.", code="artifact_corrupt") from None
    _check_function(found, model)
    gates = [node for node in found.nodes if node.domain == GATE_DOMAIN]
    answers = [(entry["output"], entry["blocked"]) for entry in manifest["heads"].values()]
    for safe, blocked in answers:
        own = [node for node in gates if node.outputs == (safe, blocked)]
        if len(own) != 1:
            why = f"{len(own)} gates stand before its answer {safe!r}; there must be exactly one."
            raise ModelRefused(model, why, code="gate_missing")
        _check_inputs(own[0], found, model)
    if len(gates) != len(answers):
        why = f"it has {len(gates)} gates for {len(answers)} answers."
        raise ModelRefused(model, why, code="gate_bypassed")
    allowed = {FEATURES, RISK} | {name for pair in answers for name in pair}
    if stray := set(found.outputs) - allowed:
        why = f"{', '.join(sorted(stray))} leaves the graph without passing the gate."
        raise ModelRefused(model, why, code="gate_bypassed")
    _check_features(found, model)
    _check_tau(found, manifest)


def _check_function(found: Structure, model: str) -> None:
    own = [digest for domain, name, digest in found.functions if (domain, name) == (GATE_DOMAIN, GATE)]
    if len(own) != 1 or len(found.functions) != 1:
        why = f"its manifest promises the operator and its graph defines {len(own)} of it."
        raise ModelRefused(model, why, code="gate_missing")
    if own[0] not in KNOWN_GATES:
        raise ModelRefused(model, f"its {GATE} is not the one that is known here.", code="gate_unknown")


def _check_inputs(gate: NodeFacts, found: Structure, model: str) -> None:
    """The gate reads the very risk that leaves the graph, made by a sigmoid, and the stored thresholds."""
    makers = {name: node for node in found.nodes for name in node.outputs}
    risk = makers.get(RISK)
    if gate.operator != GATE or gate.inputs[1:] != (RISK, TAU) or risk is None or risk.operator != "Sigmoid":
        raise ModelRefused(model, "its gate does not read the risk head.", code="gate_bypassed")
    if TAU not in found.constants or TAU in makers or RISK in found.constants:
        raise ModelRefused(model, "its gate's thresholds are not stored in the graph.", code="gate_threshold")


def _check_features(found: Structure, model: str) -> None:
    """What adapters read is what the heads read, and nothing that a head made."""
    makers = {name: node for node in found.nodes for name in node.outputs}
    maker = makers.get(FEATURES)
    while maker is not None and maker.operator == "Identity":
        maker = makers.get(maker.inputs[0])
    if FEATURES in found.outputs and (maker is None or maker.operator != "LayerNormalization"):
        why = f"its {FEATURES} are not made by the encoder's last layer."
        raise ModelRefused(model, why, code="gate_bypassed")


def _check_tau(found: Structure, manifest: dict[str, Any]) -> None:
    told = [float(manifest["gate"]["tau"][kind]) for kind in manifest["gate"]["kinds"]]
    held = struct.unpack(f"<{len(found.constants[TAU]) // 4}f", found.constants[TAU])
    if np.asarray(told, np.float32).tolist() != list(held):
        why = f"its gate's thresholds are {list(held)} and its manifest says {told}."
        raise ModelRefused(manifest["id"], why, code="gate_threshold")


def check_golden(directory: Path, manifest: dict[str, Any], answered: Any) -> None:
    """Run the answers kept beside a model again. Raises ModelRefused `golden_failed` when one comes out otherwise.

    `answered`: what has `run(head, rows)` with logits, risk and blocked.
    """
    told = json.loads(artifacts.file_of(directory, manifest, "golden").read_text("utf-8"))
    stops = 0
    for head in manifest["heads"]:
        rows = told["heads"].get(head)
        if not rows:
            raise ModelRefused(
                manifest["id"], f"no answers of {head} are kept to check it by.", code="golden_failed"
            )
        found = answered.run(head, [np.asarray(row["ids"], np.int64) for row in rows])
        for place, row in enumerate(rows):
            stops += row["blocked"]
            if wrong := _differs(row, found, place):
                why = f"a kept answer of {head} (row {place + 1}) comes out otherwise: {wrong}."
                raise ModelRefused(manifest["id"], why, code="golden_failed")
    if not stops:
        why = "none of the answers kept beside it is a blocked one, so nothing shows that its gate works."
        raise ModelRefused(manifest["id"], why, code="golden_failed")


def _differs(row: dict[str, Any], found: Any, place: int) -> str:
    blocked = bool(found.blocked[place])
    if blocked is not bool(row["blocked"]):
        return "it is blocked" if blocked else "it is not blocked"
    if not np.allclose(found.risk[place], row["risk"], atol=STRAYS):
        return f"its risk is {found.risk[place].round(3).tolist()}, kept was {row['risk']}"
    if blocked:
        return "" if np.isneginf(found.logits[place]).all() else "its answer is readable though blocked"
    kept = np.asarray(row["logits"], np.float32)
    if found.logits[place].shape != kept.shape or int(found.logits[place].argmax()) != int(kept.argmax()):
        return "its label is another"
    far = float(np.abs(found.logits[place] - kept).max()) / max(1.0, float(np.abs(kept).max()))
    return "" if far <= STRAYS else f"its scores stray by {far:.2g}"
