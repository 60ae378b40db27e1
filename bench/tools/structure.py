"""Separation, merging and what doesn't survive: the parts of the compression benchmark in which no student takes part."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

from bench.common import Results
from bench.tools.parts import part
from modelhub import artifacts
from modelhub.ml import trunk
from modelhub.ml.compress import two_hundred

TRIAL = bool(os.environ.get("COMPRESSION_TRIAL"))
SEEDS = (1, 2, 3)
SEED_FOLDER = "bench/compression"


def kept(results: Results, name: str, measure: Callable[[Results], None], key: str) -> None:
    if TRIAL:
        measure(results)
    else:
        part(results, artifacts.home() / SEED_FOLDER / "parts", name, key, measure)


def structure_rows(results: Results) -> None:
    """Separation, merging and what doesn't survive: no student takes part in these."""
    mark = f"{trunk.WEIGHTS_SHA256[:12]}-{separation_mark()}"
    kept(results, "separation", separation_rows, mark)
    kept(results, "redundancy", redundancy_rows, "two-hundred")
    known = artifacts.digest(artifacts.find("code-kb") / artifacts.MANIFEST)[:12]
    kept(results, "knowledge", knowledge_rows, known)


def separation_mark() -> str:
    """Names the settings: what was kept under others counts for nothing."""
    from modelhub.ml.compress.recover import Separation

    return hashlib.sha256(repr(Separation()).encode()).hexdigest()[:8]


def _tell_step(told: dict[str, Any]) -> None:
    if told["step"] % 25 == 0:
        print(f"  {told}", flush=True)


def separation_rows(results: Results) -> None:
    """The pretrained trunk's dense parts in sixteen experts, four of which answer, with both controls; three seeds."""
    from modelhub.ml.compress.recover import MOST_STEPS, Reference, Separation, few, run
    from modelhub.ml.text.pretrained import load_corpus

    corpus, rows = load_corpus()
    rows = {"train": few(rows["train"], 20 if TRIAL else 1500), "val": few(rows["val"], 10 if TRIAL else 500)}
    told: dict[str, list[float]] = {
        name: [] for name in ("share", "random_share", "ffn_zero_share", "before", "random_before", "active")
    }
    reference = Reference.of(corpus, rows)
    for seed in SEEDS[: 1 if TRIAL else None]:
        work = artifacts.home() / SEED_FOLDER / f"separation-{separation_mark()}-{seed}"
        config = Separation(steps=3 if TRIAL else MOST_STEPS, seed=seed)
        found = run(
            corpus, rows, config, reference=reference, work=None if TRIAL else work, progress=_tell_step
        )
        for name in ("share", "random_share", "ffn_zero_share"):
            told[name].append(found[name])
        for name, who in (("before", "learned_router"), ("random_before", "random_router")):
            told[name].append(found[who]["before"]["mean"] / found["dense"]["mean"])
        told["active"].append(found["active_share_ffn"])
    how = "MiniLM, six workloads' mean accuracy by fixed linear heads, over the dense trunk's; 200 recovery steps; three seeds"
    results.add(
        "separation_share_25",
        told["share"],
        "",
        f"16 experts a block, 4 answer a token: {how}",
        at_least=0.99,
    )
    results.add(
        "random_router_share_25", told["random_share"], "", f"the same with experts chosen by chance: {how}"
    )
    results.add(
        "ffn_zero_share", told["ffn_zero_share"], "", "every feed-forward part left out", control=True
    )
    results.add("separation_share_25_before", told["before"], "", "before any recovery step", control=True)
    results.add(
        "random_router_share_25_before",
        told["random_before"],
        "",
        "by chance, before any recovery step",
        control=True,
    )
    results.add(
        "separation_active_share_ffn",
        told["active"],
        "",
        "feed-forward parameters a token touches, router and shifts among them, over the dense part's",
        control=True,
    )


def redundancy_rows(results: Results) -> None:
    """Two hundred small experts: planted pairs found, merged by function and by chance."""
    config = two_hundred.TwoHundred(steps=20) if TRIAL else two_hundred.TwoHundred()
    runs = [
        two_hundred.run(two_hundred.TwoHundred(seed=seed, steps=config.steps))
        for seed in SEEDS[: 1 if TRIAL else None]
    ]
    how = "200 experts, d=32, 40 planted pairs; squared error over the target's variance; three seeds"
    for metric in (
        "planted_pairs_found",
        "error",
        "error_merged",
        "error_pruned",
        "error_merged_by_chance",
        "groups",
    ):
        results.add(f"two_hundred_{metric}", [run[metric] for run in runs], "", how, control=True)


def knowledge_rows(results: Results) -> None:
    """What doesn't survive: facts."""
    from modelhub.ml.distill.knowledge import load_teacher, survive

    teacher = load_teacher(artifacts.find("code-kb"))
    runs = [survive(teacher, steps=3 if TRIAL else 600, seed=seed) for seed in SEEDS[: 1 if TRIAL else None]]
    results.add(
        "knowledge_surviving_share", [run["share"] for run in runs], "",
        f"facts that a student of code-kb recalls over those of its teacher ({runs[0]['teacher_recalled']:.1%}); three seeds",
        control=True,
    )  # fmt: skip
