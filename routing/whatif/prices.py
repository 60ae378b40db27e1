"""What an attempt costs by the sheets and rates of a moment, as floats: estimates are rounded when they are told. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costs.contracts import NodeRate, PriceSheet
from costs.pricing import HOUR_NS, PPM, prices_at
from routing.whatif.columns import Traffic

Floats = NDArray[np.float64]
LEAST_CALIBRATION = 20  # attempts from which on what was really paid corrects the sheet
MOST_CORRECTION = 4.0


@dataclass(frozen=True)
class Prices:
    """`sheets`: by span of time between two changes of price, deployment → sheet; `today` and `rates` as of now."""

    sheets: Sequence[Mapping[str, PriceSheet]]
    today: Mapping[str, PriceSheet]
    rates: Mapping[str, NodeRate]  # by deployment

    def then(self, name: str, segment: int) -> PriceSheet | None:
        """One that had no price then counts at today's."""
        return self.sheets[segment].get(name) or self.today.get(name)

    def cost(
        self, name: str, sheet: PriceSheet | None, *, n: Any, tokens_in: Any, tokens_out: Any, ns: Any, usual_in: float
    ) -> Any:  # fmt: skip
        """Nano-dollars of `n` attempts with these sums; `usual_in` tokens a call choose the tier. NaN without a price."""
        if sheet is not None:
            price, _cached, _write, out, _reasoning = prices_at(sheet, int(usual_in))
            whole = (tokens_in * price + tokens_out * out + n * sheet.call_nusd_per_munit) / PPM
            return np.maximum(whole, n * sheet.minimum_nusd)
        rate = self.rates.get(name)
        if rate is None:
            return n * np.nan
        return ns * (rate.nusd_per_hour * PPM / (HOUR_NS * rate.planned_utilisation_ppm))


def corrections(
    traffic: Traffic,
    prices: Prices,
    workload_of_group: NDArray[np.int64],
    workloads: int,
    own: NDArray[np.bool_],
) -> Floats:
    """(workloads, deployments): what was paid ÷ what sheet and tokens alone come to; `own` says which attempts count.

    Cached input, batch prices and older rates of a node are in it; 1 where too little was measured.
    """
    tries = traffic.tries
    modelled = np.zeros(len(tries["group"]))
    for code, name in enumerate(traffic.deployments):
        for segment in range(len(prices.sheets)):
            mine = (tries["deployment"] == code) & (tries["segment"] == segment) & own
            if not mine.any():
                continue
            tokens_in = tries["tokens_in"][mine]
            modelled[mine] = prices.cost(
                name, prices.then(name, segment), n=1.0, tokens_in=tokens_in, tokens_out=tries["tokens_out"][mine],
                ns=tries["accelerator_ns"][mine], usual_in=float(tokens_in.mean()),
            )  # fmt: skip
    width = max(1, len(traffic.deployments))
    place = workload_of_group[tries["group"]] * width + tries["deployment"]
    size = workloads * width
    known = np.nan_to_num(modelled)
    paid, by_sheet = np.bincount(place, tries["cost"] * own, size), np.bincount(place, known, size)
    counted = np.bincount(place[own], minlength=size)
    enough = (counted >= LEAST_CALIBRATION) & (by_sheet > 0) & (paid > 0)
    factor = np.divide(paid, by_sheet, out=np.ones(size), where=enough)
    return np.clip(factor, 1 / MOST_CORRECTION, MOST_CORRECTION).reshape(workloads, width)
