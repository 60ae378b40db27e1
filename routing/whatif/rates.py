"""What an answer takes and how often it is right, by deployment and stratum, also where a deployment never answered. Pure numpy.

Each quantity has a deployment's part and a stratum's part (a two-way model), fitted to what was measured; where there is a lot
of a cell's own it speaks for itself. So a deployment that only ever saw short questions is judged on long ones by how much
longer ones take everybody. The first axis everywhere is the replicate: 0 is the estimate itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
OWN_REQUESTS = 20.0  # requests after which a cell's own mean counts as much as the model's
OWN_JUDGED = 30.0  # the same for judged answers
SWEEPS = 40
STRATUM_RIDGE = 1.0  # strata differ by about one on the logit scale, unless they show otherwise
DEPLOYMENT_RIDGE = 0.05


def two_way_means(total: Floats, size: Floats, count: Floats) -> tuple[Floats, Floats]:
    """(means (R, D, S) of total ÷ size, the deployments' own parts (R, D)), NaN for a deployment that was never measured.

    Multiplicative: mean = deployment × stratum, by alternating sums (iterative proportional fitting).

    Shapes: total, size, count (R, D, S); `size` is what the total is per (requests, tokens), `count` the requests.
    """
    part = _ratio(total.sum(2), size.sum(2))  # (R, D)
    stratum = np.ones((total.shape[0], total.shape[2]))
    for _ in range(SWEEPS):
        usual = np.nan_to_num(part)[:, :, None] * size
        stratum = _ratio(total.sum(1), usual.sum(1), otherwise=1.0)
        stratum = np.where(stratum > 0, stratum, 1.0)
        part = _ratio(total.sum(2), (size * stratum[:, None, :]).sum(2))
    fit = part[:, :, None] * stratum[:, None, :]
    unit = _ratio(size, count, otherwise=0.0) * OWN_REQUESTS
    unit = np.where(count > 0, unit, 1.0)
    return (total + unit * fit) / (size + unit), part


def two_way_rates(correct: Floats, judged: Floats, evaluated_correct: Floats, evaluated: Floats) -> Floats:
    """Chances (R, D, S) of a right answer; NaN for a deployment that nobody ever judged.

    logit = deployment + stratum, by alternating Newton steps with a small ridge; evaluations are one more stratum, whose own
    difficulty is learnt from those that have both.

    Shapes: correct, judged (R, D, S); evaluated_correct, evaluated (R, D).
    """
    hits = np.concatenate([correct, evaluated_correct[:, :, None]], axis=2)
    n = np.concatenate([judged, evaluated[:, :, None]], axis=2)
    overall = _logit((hits.sum((1, 2)) + 0.5) / (n.sum((1, 2)) + 1.0))[:, None]
    own = np.repeat(overall, n.shape[1], axis=1)
    stratum = np.zeros((n.shape[0], n.shape[2]))
    for _ in range(SWEEPS):
        p = _expit(own[:, :, None] + stratum[:, None, :])
        slope = (hits - n * p).sum(2) - DEPLOYMENT_RIDGE * (own - overall)
        own = own + np.clip(slope / ((n * p * (1 - p)).sum(2) + DEPLOYMENT_RIDGE), -1, 1)
        p = _expit(own[:, :, None] + stratum[:, None, :])
        slope = (hits - n * p).sum(1) - STRATUM_RIDGE * stratum
        stratum = stratum + np.clip(slope / ((n * p * (1 - p)).sum(1) + STRATUM_RIDGE), -1, 1)
    p = _expit(own[:, :, None] + stratum[:, None, :])[:, :, :-1]
    rates = (correct + OWN_JUDGED * p) / (judged + OWN_JUDGED)
    return np.where(n.sum(2)[:, :, None] > 0, rates, np.nan)


def fill_unmeasured(
    means: Floats, parts: Floats, elsewhere: Floats, noise: Floats, *, sd_elsewhere: float, sd_assumed: float
) -> Floats:
    """Means with the never measured filled in: as the deployment compares with its neighbours in other workloads
    (`elsewhere` (D,), NaN where it is unknown), else as its neighbours do here; `noise` (R, D) standard normal widens both.
    """
    known = ~np.isnan(parts)
    if known.all() or not known.any():
        return means
    measured_here = np.maximum((~np.isnan(means)).sum(1), 1)
    here = np.nansum(means, axis=1) / measured_here  # (R, S): what an average neighbour takes
    usual = np.where(known & ~np.isnan(elsewhere), parts, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = _row_mean(usual / elsewhere)  # (R, 1)
        own = elsewhere[None, :] * scale / _row_mean(parts)
    measured = ~np.isnan(own)
    factor = np.where(measured, own * np.exp(sd_elsewhere * noise), np.exp(sd_assumed * noise))
    return np.where(np.isnan(means), here[:, None, :] * factor[:, :, None], means)


def _row_mean(values: Floats) -> Floats:
    n = (~np.isnan(values)).sum(1, keepdims=True)
    return np.where(n > 0, np.nansum(values, axis=1, keepdims=True) / np.maximum(n, 1), np.nan)


def _ratio(top: Floats, bottom: Floats, otherwise: float = np.nan) -> Floats:
    out = np.full(np.broadcast(top, bottom).shape, otherwise)
    return np.divide(top, bottom, out=out, where=bottom > 0)


def _logit(p: Floats) -> Floats:
    return np.log(p / (1 - p))


def _expit(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
