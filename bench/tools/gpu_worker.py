"""One process of the GPU benchmark: `python -m bench.tools.gpu_worker --part … --journal FILE`. The parent is bench/gpu.py."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from bench.tools.gpu_journal import Journal, read


def main() -> None:
    parser = argparse.ArgumentParser(description="One process of the GPU benchmark.")
    parser.add_argument("--part", required=True, choices=("timings", "conformance"))
    parser.add_argument("--journal", required=True, type=Path)
    parser.add_argument("--skip", default="[]", help="JSON list of cases not to run again")
    parser.add_argument(
        "--deadline", type=float, required=True, help="seconds since 1970 after which no case is begun"
    )
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--sections", default="")
    words = parser.parse_args()
    journal = Journal(words.journal, skip=frozenset(json.loads(words.skip)), deadline=words.deadline)
    reason = absent(words.device)
    if reason:
        journal.say("absent", why=reason)
        return
    if words.part == "conformance":
        from bench.tools import gpu_conformance

        shard, shards = (int(word) for word in words.shard.split("/"))
        gpu_conformance.run(journal, shard, shards)
    else:
        timings(journal, words.device, words.journal, words.sections.split(",") if words.sections else [])
    journal.say("done")


def absent(device: str) -> str | None:
    """Why nothing can run here; None when it can."""
    if device == "cpu":
        return None
    from modelhub.hal.backends.cuda import Cuda

    presence = Cuda().presence()
    return None if presence.present else presence.detail


def timings(journal: Journal, device: str, path: Path, wanted: list[str]) -> None:
    """The ceilings; then, once the parent says that the card is free again, everything held against them."""
    from bench.tools import gpu_ceilings, gpu_experts, gpu_models, gpu_operators

    if device == "cpu":
        import torch

        torch.set_num_threads(1)
    gpu_ceilings.device_facts(journal)
    gpu_ceilings.run(journal, device)
    journal.say("ceilings")
    while not path.with_suffix(".go").exists():
        time.sleep(0.05)
    ceilings = gpu_ceilings.Ceilings(facts(path))
    sections = {
        "operators": lambda: gpu_operators.run(journal, device, ceilings),
        "dispatch": lambda: gpu_models.run_dispatch(journal, device),
        "experts": lambda: gpu_experts.run(journal, device, ceilings),
        "training": lambda: gpu_models.run_training(journal, device),
        "large": lambda: gpu_experts.run_large(journal, device, ceilings),
    }
    for name, section in sections.items():
        if not wanted or name in wanted:
            journal.say("section", name=name, load=os.getloadavg()[0])
            section()
    gpu_experts.cross_precision(journal, facts(path))
    gpu_models.training_gain(journal, facts(path))


def facts(path: Path) -> dict[str, Any]:
    return {line["key"]: line["value"] for line in read(path) if line["event"] == "fact"}


if __name__ == "__main__":
    main()
