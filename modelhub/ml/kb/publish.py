"""`python -m modelhub.ml.kb.publish --from DIR`: the knowledge network as an artifact, with its figures on a card."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from safetensors.numpy import load_file, save_file

from modelhub import artifacts
from modelhub.ml.kb.facts import ATTRIBUTES, CODE_LENGTH, EQUIPMENT, LETTERS
from modelhub.ml.kb.model import KnowledgeConfig
from modelhub.ml.moe.flops import knowledge_flops

WORDS = {
    "sparse": "sparse, learned gate",
    "dense_total": "dense, equal total parameters, as many steps",
    "dense_active": "dense, equal active parameters, as many steps",
    "random_router": "router by chance, trained as long",
}


def publish(source: Path, out: Path) -> dict[str, Any]:
    """Write weights in 16 bits, manifest and card from what `kb.train` measured; gives the manifest."""
    report = json.loads((source / "code-kb.json").read_text("utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    weights = load_file(str(source / "code-kb.safetensors"))
    halves = {name: value.astype("float16") if value.ndim > 1 else value for name, value in weights.items()}
    save_file(halves, str(out / "code-kb.safetensors"))
    manifest = {
        "id": "code-kb",
        "kind": "knowledge",
        "version": "1",
        "sparse": True,
        "precision": "fp16",
        "requires": {},
        "heads": {},
        "facts": report["facts"],
        "steps": report["steps"],
        "runs": report["rows"],
        "train": {
            "command": "python -m modelhub.ml.kb.train, then modelhub.ml.kb.publish",
            "machine": report["device"],
            "seed": _best_seed(report["rows"]),
        },
        "created": date.today().isoformat(),
    }
    manifest = artifacts.write_manifest(out, manifest, {"weights": "code-kb.safetensors"})
    (out / "card.md").write_text(card(manifest), "utf-8")
    return manifest


def _best_seed(rows: list[dict[str, Any]]) -> int:
    """Whose weights are kept: the sparse network that recalled most."""
    return int(
        max((row for row in rows if row["variant"] == "sparse"), key=lambda row: row["recalled"])["seed"]
    )


def card(manifest: dict[str, Any]) -> str:
    """The card, from the manifest's figures alone."""
    by_variant: dict[str, list[dict[str, Any]]] = {}
    for row in manifest["runs"]:
        by_variant.setdefault(row["variant"], []).append(row)
    lines = [
        "| | facts recalled, median (range) | active parameters | share | seconds | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for variant, own in by_variant.items():
        shares = [row["recalled"] for row in own]
        lines.append(
            f"| {WORDS[variant]} | {median(shares):.1%} ({min(shares):.1%}–{max(shares):.1%}) | {own[0]['active']:,.0f} | "
            f"{own[0]['active_share']:.1%} | {median(row['seconds'] for row in own):.0f} | {len(own)} |"
        )
    silenced = [row["ffn_zero"] for row in by_variant["sparse"]]
    lines.append(
        f"| sparse, every feed-forward part silenced | {median(silenced):.1%} | | | | {len(silenced)} |"
    )
    return (
        "\n\n".join(
            [
                "# code-kb",
                f"Fault-code knowledge: {len(EQUIPMENT)} kinds of equipment, codes of {CODE_LENGTH} of {len(LETTERS)} letters, "
                f"{len(ATTRIBUTES)} answers each; {manifest['facts']:,} facts drawn at random from a fixed seed "
                "(`modelhub/ml/kb/facts.py`). Nothing can be inferred: a fact is held in the weights or it isn't, so there is no "
                "validation part, and the score is recall.",
                "\n".join(lines),
                _flops(by_variant["sparse"]),
                f"Guessing is right {1 / next(iter(ATTRIBUTES.values())):.1%} of the time. Embeddings aren't counted. "
                f"{manifest['steps']} steps each, same order of facts. The facts are invented: no answer here is advice.",
            ]
        )
        + "\n"
    )


def _flops(runs: list[dict[str, Any]]) -> str:
    """FLOPs of a fact beside those of the dense network of equal total."""
    shape, answers = KnowledgeConfig(), sum(ATTRIBUTES.values())
    sparse = knowledge_flops(shape, answers, median(run["experts_used"] for run in runs))
    gates = shape.layers * 2 * shape.width * shape.experts
    dense = knowledge_flops(shape, answers, shape.experts) - gates
    return f"A fact costs {sparse / 1e6:.2f} MFLOP, {sparse / dense:.1%} of what it costs the dense network of equal total."


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the artifact `code-kb`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="source", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=artifacts.SHIPPED / "code-kb")
    given = parser.parse_args(arguments)
    print(card(publish(given.source, given.out)))


if __name__ == "__main__":
    main()
