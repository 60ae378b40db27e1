"""The model card of the tabular models, written from measured facts."""

from __future__ import annotations

from typing import Any

from modelhub.ml.pricing.catalogue import SOURCES


def interval(figures: dict[str, Any], percent: bool = False) -> str:
    """`0.812 (0.790 to 0.833)`."""
    value, low, high = figures["value"], figures["low"], figures["high"]
    if percent:
        return f"{value:.1%} ({low:.1%} to {high:.1%})"
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def card(facts: dict[str, Any]) -> str:
    """Markdown; every figure is read from the manifest's own facts."""
    rows = [
        f"| {workload} | {m['metric']} | {interval(m)} | {m['control']['name']}: {interval(m['control'])} "
        f"| {interval(m['correct'], percent=True)} | {m['n']:,} | {m['verdict']} |"
        for workload, m in facts["metrics"].items()
    ]
    fault, life, price = (facts["metrics"][w] for w in ("equipment-fault", "remaining-life", "price-advice"))
    sources = "\n".join(f"- {text}" for text in SOURCES.values())
    return f"""# {facts["id"]}

Four predictions from rows of numbers. Trained by scikit-learn, served as ONNX ({facts["precision"]},
{facts["parameters"]["total"]:,} stored splits, leaves and coefficients), by `{facts["train"]["command"]}`
(seed {facts["train"]["seed"]}, {facts["train"]["seconds"]} s on {facts["train"]["machine"]}).

Figures on validation rows with 95 % intervals (bootstrap; by engine for remaining-life; Wilson for the share
correct). The control is a plain model on the same rows; *pass* means better than it with the interval of the
paired difference above zero, *not_enough_data* that these rows cannot tell.

| head | metric | value | control | correct | n | verdict |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

- **equipment-fault** (AI4I 2020, a simulation): alarm at {facts["heads"]["equipment-fault"]["threshold"]:.3f}, the lowest
  threshold whose precision on held-out training folds is surely 0.6 (Wilson's lower bound).
  Recall {interval(fault["recall"])}, precision {interval(fault["precision"])};
  {fault["positives"]} failures. The row "always no" is right
  {interval(fault["always_no"], percent=True)} of the time and finds nothing.{verticals(facts)}
- **plate-fault** (UCI steel plates, real): seven kinds of fault; {facts["metrics"]["plate-fault"]["n"]} validation rows
  are few.
- **remaining-life** (C-MAPSS FD001, a simulation): cycles left, capped at 125, judged at {life["n"]} sampled cycles of
  {life["engines"]} engines; reads up to {facts["heads"]["remaining-life"]["window"]} cycles. At each engine's last cycle
  the RMSE is {life["rmse_at_last_cycle"]["value"]:.2f}. `low` and `high` held
  {interval(life["inside_interval"], percent=True)} of the truth (meant: 90 %).
- **price-advice** (our seeded retail generator): following the advice misses
  {interval(price["profit_regret"], percent=True)} of the best possible expected profit; leaving prices alone misses
  {interval(price["profit_regret_without_advice"], percent=True)}. The model's form is close to the generator's, so
  expect less on real sales: see below. Advice stays within prices that were charged before.

## The generator

Products, prices, costs and volumes are invented; no sales record is copied. Own-price elasticities lie in ranges
that were published:

{sources}

Elasticities found (generator's own in brackets): {found(facts)}.

{benchmarks(facts)}
## Limits

Two of the sets are simulations. No model here knows a plant, an engine or a shop but those it was trained on:
fit your own rows before acting on an answer.
"""


def verticals(facts: dict[str, Any]) -> str:
    """What the private fault model gains over plain ones, and what the gain is made of; the stand-in's is a plain one."""
    fault = facts["metrics"]["equipment-fault"]
    if "beside" not in fault or facts["heads"]["equipment-fault"]["features"] != "equipment":
        return ""
    beside, gain = fault["beside"], fault["gain_pct"]
    return f"""
  PR-AUC of plain boosting on the raw columns: {interval(beside["plain_boosting"])}; this model's is {gain["value"]:.0f} %
  ({gain["low"]:.0f} to {gain["high"]:.0f}) above the better of it and logistic regression. The gain is that of the three
  columns physics gives: boosting alone with them has {interval(beside["boosting_with_physics"])}."""


def found(facts: dict[str, Any]) -> str:
    """Each product's elasticity and the true one."""
    pairs = facts["facts"]["price-advice"]["elasticities"].items()
    return "; ".join(f"{name} {pair['found']:.2f} ({pair['generator']:.2f})" for name, pair in pairs)


def benchmarks(facts: dict[str, Any]) -> str:
    """The demand method fitted anew on real sales, which are not shipped."""
    if not facts.get("benchmarks"):
        return ""
    lines = [
        f"| {name} | {one['form']} | {interval(one['mape'], percent=True)} | {interval(one['correct'], percent=True)} "
        f"| {interval(one['control_mape'], percent=True)} | {one['n']:,} | {one['elasticities']} |"
        for name, one in facts["benchmarks"].items()
    ]
    return f"""## The method on real sales

The same form of demand (log units, a price slope per product, the advertisement where known), fitted and judged on
sets that are not shipped (`python -m modelhub.ml.pricing.measure`); no shipped model is trained on them.

| set | reads | MAPE | within 15 % | control MAPE | n | elasticities found |
|---|---|---|---|---|---|---|
{chr(10).join(lines)}

"""
