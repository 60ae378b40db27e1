"""Rates by group and what they differ by: selection, true and false positives, four-fifths, odds.

Rates are fractions. A group without rows for a rate has NaN there, and takes no part in differences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class GroupRates:
    """One group's rates; `n` counts its rows, `positives` those whose truth is 1."""

    n: int
    positives: int
    selection: float
    true_positive: float
    false_positive: float
    accuracy: float


def by_group(groups: np.ndarray, predicted: np.ndarray, truth: np.ndarray) -> dict[str, GroupRates]:
    """Rates of every group, in order of name. Shapes: (N,) each, predicted and truth of 0 and 1.

    Raises ValueError for unequal lengths or for values other than 0 and 1.
    """
    groups, predicted, truth = np.asarray(groups), np.asarray(predicted), np.asarray(truth)
    if not len(groups) == len(predicted) == len(truth):
        raise ValueError(f"{len(groups)} groups, {len(predicted)} predictions and {len(truth)} truths differ")
    for name, values in (("predicted", predicted), ("truth", truth)):
        if not np.isin(values, (0, 1)).all():
            raise ValueError(f"{name} must hold 0 and 1 only")
    return {
        str(group): _rates(predicted[groups == group], truth[groups == group]) for group in np.unique(groups)
    }


def _rates(predicted: np.ndarray, truth: np.ndarray) -> GroupRates:
    yes, no = predicted[truth == 1], predicted[truth == 0]
    return GroupRates(
        n=len(truth),
        positives=len(yes),
        selection=_mean(predicted),
        true_positive=_mean(yes),
        false_positive=_mean(no),
        accuracy=_mean(predicted == truth),
    )


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def spread(values: list[float]) -> float:
    """Largest less smallest, NaN left out; 0 when fewer than two are left."""
    known = [value for value in values if not np.isnan(value)]
    return max(known) - min(known) if len(known) > 1 else 0.0


def demographic_parity_difference(rates: dict[str, GroupRates]) -> float:
    """Largest less smallest selection rate."""
    return spread([rate.selection for rate in rates.values()])


def demographic_parity_ratio(rates: dict[str, GroupRates]) -> float:
    """Smallest over largest selection rate; the four-fifths rule asks for 0.8. 1 when nobody is selected."""
    known = [rate.selection for rate in rates.values() if not np.isnan(rate.selection)]
    return min(known) / max(known) if known and max(known) > 0 else 1.0


def equal_opportunity_difference(rates: dict[str, GroupRates]) -> float:
    """Largest less smallest true-positive rate."""
    return spread([rate.true_positive for rate in rates.values()])


def equalized_odds_difference(rates: dict[str, GroupRates]) -> float:
    """The larger of the gaps in true-positive and in false-positive rates."""
    return max(equal_opportunity_difference(rates), spread([rate.false_positive for rate in rates.values()]))
