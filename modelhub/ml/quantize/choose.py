"""From float32 to 8 bits: every way is tried on held-back rows, the best is kept, and the report shows them all.

dynamic, and static by four calibrators → the one that agrees most with the float answers → worst nodes back to float
until the bound holds → figures on other rows than those that chose.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from modelhub.ml.fairness.intervals import wilson
from modelhub.ml.quantize import calibrate, static
from modelhub.ml.quantize.equalise import equalise
from modelhub.ml.quantize.ptq import loss_points, quantise_dynamic

DYNAMIC = "dynamic"
ENOUGH_ROWS = 1000  # below, an interval is wider than the limit whatever was lost
METHODS = (DYNAMIC, *calibrate.CALIBRATORS)
Answer = Callable[[Path], np.ndarray]


@dataclass(frozen=True, slots=True)
class Bound:
    """What an 8-bit form may cost: points of accuracy (upper 95 % bound from 1,000 rows on) and answers that agree."""

    most_loss_points: float = 1.0
    least_agreement: float = 0.985


@dataclass(frozen=True, slots=True)
class Judge:
    """How forms are compared: `logits(graph)` answers all judged rows, in one order; `y` are their labels.

    `chosen_by` (N,) of bool marks the rows that may choose between forms; the others give the reported figures.
    """

    logits: Answer
    y: np.ndarray
    chosen_by: np.ndarray


@dataclass(slots=True)
class Quantised:
    """The form that was kept: how it was made, which nodes stay in float, whether it holds the bound, all figures."""

    method: str
    keep_float: list[str]
    holds: bool
    report: dict[str, Any] = field(default_factory=dict)


def quantise(
    source: Path,
    target: Path,
    judge: Judge,
    feeds: list[dict[str, np.ndarray]],
    *,
    work: Path,
    bound: Bound | None = None,
    methods: tuple[str, ...] = METHODS,
) -> Quantised:
    """Write the best 8-bit form of a float32 graph and give how it does. `feeds` are calibration inputs of the graph.

    When no form holds the bound, the best found is written all the same and `holds` says so.
    Raises ValueError for an unknown method or no calibration rows.
    """
    bound = bound or Bound()
    if unknown := set(methods) - set(METHODS):
        raise ValueError(f"unknown methods {sorted(unknown)}; known: {', '.join(METHODS)}")
    work.mkdir(parents=True, exist_ok=True)
    reference = judge.logits(source)
    make = _Maker(source, work, feeds)
    tried: dict[str, dict[str, Any]] = {}
    for method in methods:
        path = make.form(method)
        tried[method] = {**_figures(judge, reference, judge.logits(path)), "bytes": path.stat().st_size}
    best = max(methods, key=lambda name: (tried[name]["chosen_by"]["agreement"], -methods.index(name)))
    path, kept, steps = _give_back(make, best, judge, reference, bound)
    shutil.copyfile(path, target)
    found = _figures(judge, reference, judge.logits(target))["reported"]
    holds = _holds(found, bound)
    report = {
        "method": best, "kept_float": kept, "holds": holds, "steps": steps, "bytes_before": source.stat().st_size,
        "bytes": target.stat().st_size, "evened_out": make.evened, "methods": tried, **found,
        "bound": {"loss_points": bound.most_loss_points, "agreement": bound.least_agreement},
    }  # fmt: skip
    return Quantised(best, kept, holds, report)


class _Maker:
    """Makes 8-bit forms of one graph; ranges are observed once, again for the evened-out graph."""

    def __init__(self, source: Path, work: Path, feeds: list[dict[str, np.ndarray]]) -> None:
        self.source, self.work, self.feeds = source, work, feeds
        self.evened: list[str] = []
        self._seen: dict[bool, tuple[Path, dict[str, calibrate.Histogram]]] = {}

    def nodes(self) -> list[str]:
        """What can be given back to float, in the graph's order."""
        return [product.node for product in static.products(self.source)]

    def form(self, method: str, keep_float: frozenset[str] = frozenset()) -> Path:
        target = self.work / f"{method}-{len(keep_float)}.onnx"
        if method == DYNAMIC:
            quantise_dynamic(self.source, target, keep_float)
            return target
        even = method == "histogram-equalisation"
        graph, seen = self._observed(even)
        ranges = {name: calibrate.CALIBRATORS[method](histogram) for name, histogram in seen.items()}
        static.quantise_static(graph, target, ranges, keep_float)
        return target

    def _observed(self, even: bool) -> tuple[Path, dict[str, calibrate.Histogram]]:
        if even not in self._seen:
            graph = self.source
            names = self._activations(graph)
            if even:
                largest = calibrate.observe(graph, names, self.feeds)[1]
                graph = self.work / "evened.onnx"
                self.evened = equalise(self.source, graph, largest)
            self._seen[even] = (graph, calibrate.observe(graph, names, self.feeds)[0])
        return self._seen[even]

    @staticmethod
    def _activations(graph: Path) -> list[str]:
        found = [product.activation for product in static.products(graph) if product.kind == "MatMul"]
        return list(dict.fromkeys(found))


def _give_back(
    make: _Maker, method: str, judge: Judge, reference: np.ndarray, bound: Bound
) -> tuple[Path, list[str], list[dict[str, Any]]]:
    """Return the node whose rounding harms most to float, again and again, until the choosing rows hold the bound."""
    kept: list[str] = []
    path, steps = make.form(method), []
    found = _figures(judge, reference, judge.logits(path))["chosen_by"]
    while not _holds(found, bound) and len(kept) < len(make.nodes()):
        options = {
            node: _figures(judge, reference, judge.logits(make.form(method, frozenset([*kept, node]))))[
                "chosen_by"
            ]
            for node in make.nodes()
            if node not in kept
        }
        worst = max(
            options, key=lambda node: (options[node]["agreement"], -options[node]["loss_points"]["value"])
        )
        kept.append(worst)
        found = options[worst]
        path = make.form(method, frozenset(kept))
        steps.append({"back_to_float": worst, **found})
    return path, kept, steps


def _holds(found: dict[str, Any], bound: Bound) -> bool:
    """The upper bound of the loss is held to the limit where rows are enough for one; on fewer its estimate is."""
    lost = found["loss_points"]["high" if found["n"] >= ENOUGH_ROWS else "value"]
    return lost < bound.most_loss_points and found["agreement"] >= bound.least_agreement


def _figures(judge: Judge, reference: np.ndarray, found: np.ndarray) -> dict[str, dict[str, Any]]:
    parts = {"chosen_by": judge.chosen_by, "reported": ~judge.chosen_by}
    return {
        name: compare(reference[rows], found[rows], judge.y[rows])
        for name, rows in parts.items()
        if rows.any()
    }


def compare(reference: np.ndarray, found: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Agreement of two forms' answers with its interval, and points of accuracy lost. Shapes: (N, L), (N, L), (N,)."""
    before, after = reference.argmax(axis=1), found.argmax(axis=1)
    same = before == after
    agreement = wilson(int(same.sum()), len(same))
    return {
        "n": len(y), "agreement": round(agreement.value, 4), "agreement_low": round(agreement.low, 4),
        "loss_points": loss_points(before == y, after == y),
    }  # fmt: skip
