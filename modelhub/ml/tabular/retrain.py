"""A head fitted anew on somebody's own rows, in a folder that the model server finds by its name."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.ml.tabular.schema import COLUMNS, check_row

FITS = {"equipment-fault": "fit_equipment", "plate-fault": "fit_plates"}  # functions of `recipes`
FOLDS = 5


class TooFewRows(ValueError):
    """There is a class with fewer rows than folds: nothing held out could judge it."""


def typed(workload: str, target: str) -> Any:
    """The target in the data set's own type. Raises ValueError for one that the workload doesn't have."""
    if workload == "equipment-fault":
        if target.strip() not in ("0", "1"):
            raise ValueError(f"machine_failure is 0 or 1, not {target[:40]!r}")
        return int(target)
    return target


def retrain(
    workload: str,
    records: list[dict[str, Any]],
    targets: list[Any],
    out: Path,
    *,
    base: dict[str, Any],
    seed: int = 0,
) -> dict[str, Any]:
    """Fit, export and describe a head in `out`; gives the manifest.

    `base`: the manifest of the model it will be served by, whose size of model it takes. Raises TooFewRows, KeyError for a
    workload that isn't retrained here, RecordError for a record that doesn't fit its columns.
    """
    # It loads scikit-learn; pages ask for FITS only, and hold 100 MB less without it.
    from modelhub.ml.tabular import recipes

    fit = getattr(recipes, FITS[workload])
    rows = np.array([check_row(record, COLUMNS[workload], index) for index, record in enumerate(records)])
    truth = np.array(targets)
    labels, counts = np.unique(truth, return_counts=True)
    if len(labels) < 2 or counts.min() < FOLDS:
        rare = {str(label): int(count) for label, count in zip(labels, counts, strict=True) if count < FOLDS}
        raise TooFewRows(
            f"each answer needs at least {FOLDS} rows and there must be two of them; {rare or list(map(str, labels))}"
        )
    out.mkdir(parents=True, exist_ok=True)
    fitted = fit(
        out,
        recipes.Size("edge" if base["id"].endswith("-edge") else "base", folds=FOLDS, seed=seed),
        rows,
        truth,
    )
    (out / f"{workload}.onnx").replace(out / "head.onnx")
    facts = {
        "id": out.name, "kind": "tabular-head", "base": base["id"], "workload": workload, "version": "1",
        "head": fitted.head | {"file": "head"}, "facts": fitted.facts, "rows": len(rows),
        "parameters": {"total": fitted.parameters, "active": fitted.parameters}, "train": {"seed": seed},
        "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }  # fmt: skip
    return artifacts.write_manifest(out, facts, {"head": "head.onnx"})
