"""Quantiles of Student's t."""

from __future__ import annotations


def quantile(share: float, freedom: float) -> float:
    """The value that a t-distributed number stays under with probability `share`; `freedom` may be a fraction."""
    # Only where something is foreseen: half a second of import that no page needs.
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share))
