"""The rows a workload is judged by: held back from every training, shipped or uploaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelhub.ml import datasets as text_sets
from modelhub.ml.tabular import data as tabular_sets
from modelhub.models import Dataset
from modelhub.sandbox import humaneval, mbpp
from modelhub.services.datasets import read_rows
from switchyard.core.errors import InvalidRequest
from switchyard.tenancy.models import Workload

CODE_METRIC = "humaneval_pass_at_1"
MBPP_METRIC = "mbpp_pass_at_1"
CODE_METRICS = (CODE_METRIC, MBPP_METRIC)


@dataclass(frozen=True, slots=True)
class ValidationRows:
    """Inputs (texts, records, or problems) with the right answer of each; `source` says where they are from."""

    inputs: list[Any]
    truth: list[Any]
    source: str

    def first(self, limit: int | None) -> ValidationRows:
        """At most so many of them; None gives all."""
        return self if limit is None else ValidationRows(self.inputs[:limit], self.truth[:limit], self.source)


def has_validation_rows(workload: Workload) -> bool:
    """Whether shipped rows judge this workload."""
    return (
        workload.name in text_sets.TEXT_SETS
        or workload.name in tabular_sets.WORKLOADS
        or workload.metric in CODE_METRICS
    )


def validation_rows(workload: Workload, dataset: Dataset | None = None) -> ValidationRows:
    """The shipped validation split, or the rows of an uploaded set. Raises InvalidRequest where there are none."""
    if dataset is not None:
        rows = read_rows(dataset)
        return ValidationRows(
            [text for text, _ in rows], [label for _, label in rows], f"dataset:{dataset.pk}"
        )
    if workload.name in text_sets.TEXT_SETS:
        shipped = text_sets.load(workload.name, "val")
        return ValidationRows(list(shipped.texts), list(shipped.labels), "validation")
    if workload.name in tabular_sets.WORKLOADS:
        records, targets = tabular_sets.load(workload.name, "val")
        return ValidationRows(records, targets, "validation")
    if workload.metric in CODE_METRICS:
        ours = workload.metric == CODE_METRIC
        problems = humaneval.load_problems() if ours else mbpp.load_tasks()
        return ValidationRows(problems, [p.test for p in problems], "HumanEval" if ours else "MBPP")
    raise InvalidRequest(
        f"There are no held-back rows for {workload.name}: upload a data set of it and name that."
    )
