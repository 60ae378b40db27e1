"""Train the tabular models: `python -m modelhub.ml.tabular.train [--smoke] [--out DIR] [--only base|edge]`.

A few minutes on one core. Each finished head is kept, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from modelhub import artifacts
from modelhub.ml.tabular.card import card
from modelhub.ml.tabular.judge import JUDGES
from modelhub.ml.tabular.recipes import RECIPES, Fitted, Size
from modelhub.serving.runners.tabular import TabularModel

NAMES = {"base": "tabular-base", "edge": "tabular-edge", "smoke": "tabular-smoke"}


def fit_heads(out: Path, size: Size, fresh: bool) -> tuple[dict[str, Fitted], float]:
    """Fit every head into `out`, or take up those an earlier run of the same size and seed finished."""
    fitted, seconds = {}, 0.0
    for done, (workload, recipe) in enumerate(RECIPES.items(), 1):
        note = out / f".{workload}.json"
        key = {"size": size.name, "seed": size.seed}
        if not fresh and note.exists() and (out / f"{workload}.onnx").exists():
            kept = json.loads(note.read_text("utf-8"))
            if kept["key"] == key:
                fitted[workload], seconds = Fitted(**kept["fitted"]), seconds + kept["seconds"]
                print(f"[{done}/{len(RECIPES)}] {size.name} {workload}: kept", file=sys.stderr)
                continue
        began = time.monotonic()
        fitted[workload] = recipe(out, size)
        spent = time.monotonic() - began
        seconds += spent
        artifacts.write_json(note, {"key": key, "seconds": spent, "fitted": fitted[workload].__dict__})
        print(f"[{done}/{len(RECIPES)}] {size.name} {workload}: {spent:.0f} s", file=sys.stderr, flush=True)
    return fitted, seconds


def build(out: Path, size: Size, fresh: bool = True) -> dict[str, Any]:
    """Fit, export, judge and describe one artifact. Gives its manifest."""
    out.mkdir(parents=True, exist_ok=True)
    fitted, seconds = fit_heads(out, size, fresh)
    files = {workload: f"{workload}.onnx" for workload in fitted}
    total = sum(one.parameters for one in fitted.values())
    facts: dict[str, Any] = {
        "id": NAMES[size.name],
        "kind": "tabular",
        "version": "1",
        "sparse": False,
        "precision": "fp32",
        "requires": {},
        "heads": {workload: one.head for workload, one in fitted.items()},
        "max_tokens": 0,
        "parameters": {"total": total, "active": total, "non_embedding": total, "active_share": 1.0},
        "train": {
            "command": "python -m modelhub.ml.tabular.train",
            "seed": size.seed,
            "seconds": round(seconds),
            "machine": "1 CPU core",
        },
        "facts": {workload: one.facts for workload, one in fitted.items()},
        "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    facts["benchmarks"] = pricing_benchmarks(out)
    artifacts.write_manifest(out, {**facts, "metrics": {}}, files)
    manifest = judge(out)
    for workload in fitted:
        (out / f".{workload}.json").unlink(missing_ok=True)
    return manifest


def judge(out: Path) -> dict[str, Any]:
    """Judge an artifact's files on validation rows (again) and write its manifest and card anew."""
    facts = artifacts.load_manifest(out)
    model = TabularModel(out)
    facts["metrics"] = {workload: JUDGES[workload](model) for workload in facts["heads"]}
    (out / "card.md").write_text(card(facts), encoding="utf-8")
    return artifacts.rewrite_manifest(out, facts, card="card.md")


def pricing_benchmarks(out: Path) -> dict[str, Any]:
    """The method's figures on real sales where `SWITCHYARD_DATA` has them, else those of the card before."""
    if os.environ.get("SWITCHYARD_DATA"):
        from modelhub.ml.pricing.measure import measure_all

        return measure_all(Path(os.environ["SWITCHYARD_DATA"]))
    previous = out / artifacts.MANIFEST
    return json.loads(previous.read_text("utf-8")).get("benchmarks", {}) if previous.exists() else {}


def main(argv: list[str] | None = None) -> int:
    """Command line. Gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--smoke", action="store_true", help="seconds: few rows, five trees, outside artifacts/"
    )
    parser.add_argument("--out", type=Path, help="folder that holds the artifacts (default artifacts/)")
    parser.add_argument("--only", choices=["base", "edge"])
    parser.add_argument("--judge", action="store_true", help="fit nothing: measure what is there again")
    parser.add_argument("--fresh", action="store_true", help="do not take up an interrupted run")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if args.smoke:
        sizes = [Size("smoke", rows=700, folds=2, seed=args.seed)]
    else:
        sizes = [Size(name, seed=args.seed) for name in ("base", "edge") if args.only in (None, name)]
    place: Path = args.out or (artifacts.home() / "train" if args.smoke else artifacts.SHIPPED)
    for size in sizes:
        out = place / NAMES[size.name]
        if args.judge:
            judge(out)
        else:
            build(out, size, fresh=args.fresh)
        print(f"{out} is ready", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
