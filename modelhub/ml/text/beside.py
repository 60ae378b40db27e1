"""What was measured beside a text model that stands: folds of its small workloads, its dense baseline of equal active size.

`python -m modelhub.ml.text.beside --from DIR` takes what `modelhub.ml.train.encoders --beside` gathered, fits the linear parts
of each fold (kept in the work folder), and writes the figures into the model's manifest and card. No weight changes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelhub import artifacts
from modelhub.ml import datasets, trunk
from modelhub.ml.text import card, lessons
from modelhub.ml.text.figures import seeds_of, spread
from modelhub.ml.text.sparse import fold_rows_judged

DENSE_ACTIVE = "-dense-active"
KEPT = ("kept_across_folds", "calibration_error")  # of the validation rows, told beside the folds' figures


def add_beside(source: Path, out: Path, *, work: Path, machine: str = "") -> dict[str, Any]:
    """Put the figures of `source` into the artifact `out`; gives its manifest.

    Raises ArtifactCorrupt for a damaged artifact, ValueError where `source` holds neither folds nor a baseline of it.
    """
    manifest = artifacts.verify(out)
    variant = manifest["trunk_kind"]
    runs = json.loads((source / "metrics.json").read_text("utf-8"))["runs"]
    work.mkdir(parents=True, exist_ok=True)
    reader = lessons.Reader(trunk.ensure_trunk(artifacts.home()))
    train, val = (lessons.load_parts(reader, split, datasets.TEXT_WORKLOADS) for split in ("train", "val"))
    folded = fold_rows_judged(source, variant, train, val, work)
    dense = seeds_of(runs, variant + DENSE_ACTIVE)
    if not folded and not dense:
        raise ValueError(f"{source} holds neither the folds of {variant} nor {variant}{DENSE_ACTIVE}")
    for name, row in folded.items():
        before = manifest["metrics"][name]
        before = before.get("validation", before)
        manifest["metrics"][name] = {
            **row,
            **{key: before[key] for key in KEPT if key in before},
            "validation": before,
        }
    if dense:
        manifest["controls"]["dense_active"] = {
            **spread([run["final"]["accuracy"] for run in dense]),
            "flops_per_token": dense[0]["flops_per_token"],
            "parameters": dense[0]["parameters"]["total"],
            "machine": machine or dense[0]["device"],
        }
    manifest = artifacts.rewrite_manifest(out, manifest)
    card.write(out, manifest)
    return manifest


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the figures down and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="source", type=Path, required=True)
    parser.add_argument("--artifact", type=Path, default=artifacts.SHIPPED / "txt-base")
    parser.add_argument("--work", type=Path, default=artifacts.home() / "train" / "beside")
    parser.add_argument("--machine", default="", help="what the runs were made on, in words")
    given = parser.parse_args(arguments)
    manifest = add_beside(given.source, given.artifact, work=given.work, machine=given.machine)
    print(json.dumps(manifest["controls"]))
    for name, row in manifest["metrics"].items():
        print(
            f"{name:20} {row['value']:.4f}  TF-IDF {row['tfidf']['value']:.4f}  {row['verdict']} ({row['method']})"
        )


if __name__ == "__main__":
    main()
