"""`python -m modelhub.ml.train.text --model txt-base|txt-edge`: retrain a shipped text model, resumably."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from modelhub import artifacts
from modelhub.ml.train.progress import Bar

SMOKE_ROWS = 12


def main(arguments: Sequence[str] | None = None) -> None:
    """Train one text model; work in progress is kept under the home and picked up again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=("txt-base", "txt-edge"), required=True)
    parser.add_argument("--out", type=Path, default=artifacts.SHIPPED)
    parser.add_argument("--work", type=Path, default=artifacts.home() / "train")
    parser.add_argument(
        "--smoke", action="store_true", help="a few rows, so often that the operator stops something"
    )
    parser.add_argument("--no-folds", action="store_true", help="leave the cross-validated figures out")
    parser.add_argument(
        "--weights", type=Path, help="txt-edge: a student that `text.edge_carry` trained elsewhere"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    work = chosen.work / f"{chosen.model}{'-smoke' if chosen.smoke else ''}"
    limit = SMOKE_ROWS if chosen.smoke else None
    if chosen.model == "txt-base":
        from modelhub.ml.text.base import make_base
        from modelhub.ml.train.loop import TrainConfig

        config = TrainConfig(seed=chosen.seed)
        config = replace(config, epochs=1, batch=64) if chosen.smoke else config
        folds = not (chosen.smoke or chosen.no_folds)
        bar = Bar("txt-base")
        manifest = make_base(
            chosen.out / "txt-base", work=work, config=config, limit=limit, fold_figures=folds, progress=bar
        )
    elif chosen.weights is not None:
        from modelhub.ml.text.edge import finish_trained

        manifest = finish_trained(
            chosen.out / "txt-edge", chosen.weights, teacher_dir=chosen.out / "txt-base", work=work,
            progress=Bar("txt-edge"),
        )  # fmt: skip
    else:
        from modelhub.ml.text.edge import SHIPPED, make_edge

        training = replace(SHIPPED, seed=chosen.seed)
        training = replace(training, epochs=24, batch=64, copies=0.0) if chosen.smoke else training
        manifest = make_edge(
            chosen.out / "txt-edge",
            teacher_dir=chosen.out / "txt-base",
            work=work,
            config=training,
            limit=limit,
            progress=Bar("txt-edge"),
        )
    shutil.rmtree(work)  # what it kept was for going on after a cut; the next run starts anew
    for name, row in manifest["metrics"].items():
        print(
            f"{name}: {row['value']:.4f} (TF-IDF {row['tfidf']['value']:.4f}), n={row['n']}, {row['verdict']}"
        )


if __name__ == "__main__":
    main()
