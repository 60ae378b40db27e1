"""What many training runs say together: medians and ranges over seeds, the sparse network beside its controls."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

MOST_ACTIVE, LEAST_RELATIVE = 0.30, 0.99
SIDES = {
    "random_router": "-random-router",
    "dense_total": "-dense-total",
    "dense_active": "-dense-active",
}


def seeds_of(runs: list[dict[str, Any]], variant: str) -> list[dict[str, Any]]:
    """The runs of a variant on the shipped split, trials and folds left out, by seed."""
    own = [
        r
        for r in runs
        if r["variant"] == variant and r.get("fold") is None and r.get("folder", "runs") == "runs"
    ]
    return sorted(own, key=lambda run: int(run["seed"]))


def best_run(runs: list[dict[str, Any]], usable: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The usable run of the best sparse trunk: first the trunk (median of the mean accuracy), then its best seed.

    Only trunks whose every seed keeps its active share are considered. Raises ValueError where there is none.
    """
    variants = sorted({run["variant"] for run in runs if "-" not in run["variant"]})
    within = {}
    for variant in variants:
        own = seeds_of(runs, variant)
        if (
            own
            and all(run["parameters"]["active_share"] <= MOST_ACTIVE for run in own)
            and any(map(usable, own))
        ):
            within[variant] = median(float(run["final"]["mean"]) for run in own)
    if not within:
        raise ValueError(
            f"no trunk of {', '.join(variants)} has weights here and an active share of at most {MOST_ACTIVE:.0%}"
        )
    trunk = max(within, key=lambda variant: within[variant])
    return max(filter(usable, seeds_of(runs, trunk)), key=lambda run: float(run["final"]["mean"]))


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": round(median(values), 4), "low": min(values), "high": max(values), "seeds": len(values)}


def summary(runs: list[dict[str, Any]], variant: str) -> dict[str, Any]:
    """The gate's row with its controls: accuracy over all validation rows of the deep heads alone, by seed.

    `relative` is the sparse network's accuracy over that of the dense one of equal total size, seed by seed.
    """
    own = seeds_of(runs, variant)
    found: dict[str, Any] = {
        "learned_gate": spread([run["final"]["accuracy"] for run in own]),
        "active_share": spread([run["parameters"]["active_share"] for run in own]),
        "ffn_zero": spread([run["ffn_zero"]["accuracy"] for run in own]),
        "shuffled_gate": spread([run["shuffled_gate"]["accuracy"] for run in own]),
        "plateau": all(run["plateau"] for run in own),
    }
    for name, suffix in SIDES.items():
        beside = seeds_of(runs, variant + suffix)
        if beside:
            found[name] = spread([run["final"]["accuracy"] for run in beside])
            found[name]["flops_per_token"] = beside[0]["flops_per_token"]
    pairs = [
        run["final"]["accuracy"] / other["final"]["accuracy"]
        for run, other in zip(own, seeds_of(runs, variant + "-dense-total"), strict=False)
        if run["seed"] == other["seed"]
    ]
    if pairs:
        found["relative"] = spread([round(pair, 4) for pair in pairs])
    return found
