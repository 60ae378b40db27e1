"""Ranges of activations, seen on held-back rows: four ways to say which values 8 bits should hold.

All work on one histogram a tensor. Minimum and maximum keep everything; a percentile drops the outermost share;
entropy (Migacz 2017) keeps the range whose 8-bit form tells most of what the histogram told; histogram equalisation
evens out the channels' histograms first (`equalise`) and keeps the range of least squared error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BINS, LEVELS, TAIL = 2048, 256, 1e-4
Range = tuple[float, float]


@dataclass(slots=True)
class Histogram:
    """How often values occurred: `counts` (BINS,) between low and high, which grow with what is added."""

    low: float
    high: float
    counts: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Histogram:
        """Raises ValueError for values that are no numbers, or none at all."""
        flat = np.asarray(values, np.float64).ravel()
        if not flat.size or not np.isfinite(flat).all():
            raise ValueError("a range can't be set from values that are no numbers, or from none")
        low, high = float(flat.min()), float(flat.max())
        if low == high:
            high = low + max(1e-6, abs(low) * 1e-6)
        return cls(low, high, np.histogram(flat, BINS, (low, high))[0].astype(np.float64))

    def add(self, values: np.ndarray) -> Histogram:
        """This and more values as one histogram over the wider span; what lay in a bin is moved to where its middle falls."""
        other = Histogram.of(values)
        low, high = min(self.low, other.low), max(self.high, other.high)
        merged = np.zeros(BINS)
        for part in (self, other):
            place = ((part.centres() - low) / (high - low) * BINS).astype(int).clip(0, BINS - 1)
            np.add.at(merged, place, part.counts)
        return Histogram(low, high, merged)

    def edges(self) -> np.ndarray:
        return np.linspace(self.low, self.high, BINS + 1)

    def centres(self) -> np.ndarray:
        edges = self.edges()
        return (edges[:-1] + edges[1:]) / 2


def minmax(seen: Histogram) -> Range:
    """All that was seen."""
    return seen.low, seen.high


def percentile(seen: Histogram, tail: float = TAIL) -> Range:
    """Without the outermost share at either end."""
    share = np.cumsum(seen.counts) / seen.counts.sum()
    edges = seen.edges()
    first, last = int(np.searchsorted(share, tail)), int(np.searchsorted(share, 1 - tail))
    return float(edges[first]), float(edges[min(last + 1, BINS)])


def entropy(seen: Histogram, steps: int = 96) -> Range:
    """The range whose rounding to 8 bits loses least: smallest KL of what was seen to what is kept.

    Each end gives way in turn where that loses least, so a one-sided spread gets a one-sided range.
    """
    whole = seen.counts / seen.counts.sum()
    first, last, step = 0, BINS, max(1, (BINS - LEVELS) // steps)
    best, kept = _lost(whole, first, last), (first, last)
    while last - first - step >= LEVELS:
        options = [(first + step, last), (first, last - step)]
        losses = [_lost(whole, *option) for option in options]
        first, last = options[int(np.argmin(losses))]
        if min(losses) <= best:
            best, kept = min(losses), (first, last)
    edges = seen.edges()
    return float(edges[kept[0]]), float(edges[kept[1]])


def _lost(whole: np.ndarray, first: int, last: int) -> float:
    """KL of the clipped histogram to its form in 256 levels, where levels spread evenly over the bins they had."""
    clipped = whole[first:last].copy()
    clipped[0] += whole[:first].sum()
    clipped[-1] += whole[last:].sum()
    level = np.arange(last - first) * LEVELS // (last - first)
    mass = np.bincount(level, whole[first:last], LEVELS)
    used = np.bincount(level, whole[first:last] > 0, LEVELS)
    coarse = np.where(whole[first:last] > 0, (mass / np.maximum(used, 1))[level], 0.0)
    coarse /= max(coarse.sum(), 1e-12)
    there = clipped > 0
    return float((clipped[there] * np.log(clipped[there] / np.maximum(coarse[there], 1e-9))).sum())


def equalised(seen: Histogram, steps: int = 128) -> Range:
    """The range that loses least in square, rounding and clipping together: what suits channels that were evened out.

    The channels' histograms are made alike first (`equalise`), so that the merged one has no long thin ends that belong
    to a few channels alone; each end then gives way in turn while the expected squared error falls.
    """
    whole, middles = seen.counts / seen.counts.sum(), seen.centres()

    def error(low: float, high: float) -> float:
        outside = np.maximum(low - middles, 0) + np.maximum(middles - high, 0)
        inside = whole[(middles >= low) & (middles <= high)].sum()
        return float((whole * outside**2).sum() + inside * ((high - low) / (LEVELS - 1)) ** 2 / 12)

    low, high, step = seen.low, seen.high, (seen.high - seen.low) / (2 * steps)
    best, kept = error(low, high), (low, high)
    while high - low > 2 * step:
        options = [(low + step, high), (low, high - step)]
        errors = [error(*option) for option in options]
        low, high = options[int(np.argmin(errors))]
        if min(errors) < best:
            best, kept = min(errors), (low, high)
    return kept


CALIBRATORS: dict[str, Callable[[Histogram], Range]] = {
    "min-max": minmax,
    "percentile": percentile,
    "entropy": entropy,
    "histogram-equalisation": equalised,
}


def observe(
    graph: Path, tensors: list[str], feeds: Iterable[dict[str, np.ndarray]]
) -> tuple[dict[str, Histogram], dict[str, np.ndarray]]:
    """Histogram of each named value of a float graph over all feeds, and each last axis's largest size.

    Gives name → Histogram and name → (D,) of the largest absolute value a channel took. Raises ValueError without feeds.
    """
    import onnx
    import onnxruntime as ort

    model = onnx.load(str(graph))
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in known)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    seen: dict[str, Histogram] = {}
    largest: dict[str, np.ndarray] = {}
    for feed in feeds:
        for name, values in zip(tensors, session.run(tensors, feed), strict=True):
            if not values.size:
                continue
            seen[name] = seen[name].add(values) if name in seen else Histogram.of(values)
            size = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
            largest[name] = np.maximum(largest[name], size) if name in largest else size
    if tensors and not seen:
        raise ValueError("calibration needs rows; there were none")
    return seen, largest
