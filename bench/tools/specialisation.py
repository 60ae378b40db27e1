"""Rows about specialists: what two hottest experts' absence costs their own line of business and the others.

`code-kb`, where experts carry everything, is measured here each time. For txt-base, as shipped and as taught, three seeds take
some ten minutes of one core, so what ran is read from `bench/results/models/specialisation.json`, which says on what;
`BENCH=full` runs it again and writes that file. `python -m bench.tools.specialisation` prints the rows.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.common import FULL, RESULTS, Results, machine
from modelhub import artifacts

REPORT = RESULTS / "models" / "specialisation.json"
AT_LEAST, BLOCKS = 3.0, 6
COMMAND = "BENCH=full python -m bench.models specialisation"


def rows(results: Results) -> None:
    """Kinds of equipment, then workloads, whose pair is their own, with random pairs beside."""
    knowledge_rows(results)
    text_rows(results)


def knowledge_rows(results: Results) -> None:
    """code-kb as shipped: a kind of equipment's two hottest experts switched off, facts lost by it and by the others."""
    import torch
    from safetensors.torch import load_file

    from modelhub.ml.kb import specialists
    from modelhub.ml.kb.facts import ATTRIBUTES, EQUIPMENT, generate
    from modelhub.ml.kb.model import KnowledgeConfig, KnowledgeNet

    torch.set_num_threads(1)
    directory = artifacts.find("code-kb")
    manifest = artifacts.verify(directory)
    model = KnowledgeNet(KnowledgeConfig()).eval()
    weights = load_file(str(artifacts.file_of(directory, manifest, "weights")))
    model.load_state_dict({name: value.float() for name, value in weights.items()})
    facts = generate(codes=manifest["facts"] // (len(EQUIPMENT) * len(ATTRIBUTES)))
    knowledge_report(results, specialists.measure(model, facts), manifest["facts"])


def knowledge_report(results: Results, found: dict[str, Any], facts: int) -> None:
    """The rows of one measurement."""
    kinds = list(found["kinds"].values())
    how = (
        f"code-kb as shipped (one seed), {facts:,} facts: kinds of equipment that lose facts beyond chance, and {AT_LEAST:g} "
        f"times what the others lose, without their two hottest of {found['experts']} experts"
    )
    results.add("specialised_kinds_code_kb", [found["met"]], "", how, at_least=len(kinds))
    times = [row["own_points"] / max(row["others_points"], 1e-9) for row in kinds]
    results.add("specialised_times_code_kb", times, "×",
                f"own loss over the others' mean loss, median and range over {len(kinds)} kinds", at_least=AT_LEAST)  # fmt: skip
    for name, words in (("own", "the kind itself loses"), ("others", "the others lose, on average")):
        lost = [row[f"{name}_points"] for row in kinds]
        told = f"points of recall that {words}; median and range over kinds"
        results.add(f"specialised_{name}_loss_points_code_kb", lost, "points", told, control=True)
    random = [sum(row["random_own_points"]) / len(row["random_own_points"]) for row in kinds]
    told = "what a kind loses without pairs drawn by chance, mean of six; median and range over kinds"
    results.add("random_pair_loss_points_code_kb", random, "points", told, control=True)


def text_rows(results: Results) -> None:
    """txt-base: workloads whose pair is their own, by arm; accuracy and what experts tell about workloads beside."""
    report = specialisation_report()
    if report is None:
        results.not_run("taught_specialised_workloads", "", f"no report at {REPORT.name}: {COMMAND}")
        return
    from modelhub.ml.activation.specialise import WORDS

    if report.get("whole"):
        whole_rows(results, report["whole"])
    by_arm: dict[str, list[dict[str, Any]]] = {}
    for run in report["runs"]:
        by_arm.setdefault(run["arm"], []).append(run)
    config = report["config"]
    where = (
        f"last {config['blocks']} blocks, {config['steps']} steps of {config['batch']} rows a workload, "
        f"{by_arm['shipped'][0]['rows']} validation rows, deep heads alone; {report['machine']['cpu']}"
    )
    for arm, runs in by_arm.items():
        control = arm == "shipped" or arm == "unspecialised"
        how = f"{WORDS[arm]}; {where}"
        count = len(runs[0]["workloads"])
        results.add(
            f"taught_specialised_workloads_{arm}", [run["met"] for run in runs], "",
            f"workloads of {count} that lose answers beyond chance, and {AT_LEAST:g} times what the others lose, without their "
            f"two hottest experts: {how}", at_least=None if control else count, control=control,
        )  # fmt: skip
        results.add(
            f"taught_specialised_workloads_nats_{arm}", [run["met_nats"] for run in runs], "",
            f"the same by the rise of cross-entropy: {how}", control=True,
        )  # fmt: skip
        for name, unit in (("own", "points"), ("others", "points"), ("own", "nats"), ("others", "nats")):
            results.add(
                f"taught_{name}_loss_{unit}_{arm}", [mean(run, f"{name}_{unit}") for run in runs], unit,
                f"mean over workloads of what {'a workload loses' if name == 'own' else 'the others lose'}: {how}", control=True,
            )  # fmt: skip
        random = [mean(run, "random_own_points") for run in runs]
        results.add(f"taught_random_pair_loss_points_{arm}", random, "points",
                    f"pairs drawn from the same blocks: {how}", control=True)  # fmt: skip
        for number in runs[0]["block_silenced_points"]:
            worst = [max(run["block_silenced_points"][number].values()) for run in runs]
            told = f"what the worst hit workload loses without any feed-forward part of block {number}: {how}"
            results.add(f"block_{number}_silenced_loss_points_{arm}", worst, "points", told, control=True)
        results.add(f"taught_accuracy_{arm}", [run["accuracy"] for run in runs], "share", how, control=True)
        told = [sum(run["mutual_information"]) / len(run["mutual_information"]) for run in runs]
        results.add(f"taught_mutual_information_{arm}", told, "nats",
                    f"what an expert tells about the workload, mean of the blocks: {how}", control=True)  # fmt: skip


def whole_rows(results: Results, run: dict[str, Any]) -> None:
    """The claim as it stands: the model as it ships, its hottest two among the experts of all blocks."""
    names = run["workloads"]
    own = ", ".join(f"{name} {row['own_points']:+.1f}" for name, row in names.items())
    how = (
        f"workloads that lose answers beyond chance, and {AT_LEAST:g} times what the others lose, without their two hottest "
        f"experts of all {len(run['mutual_information'])} blocks; {run['rows']} validation rows; own loss {own} points"
    )
    results.add("specialised_workloads", [run["met"]], "", how, at_least=len(names))
    for name, row in names.items():
        told = "the same with pairs of experts drawn from the same blocks"
        results.add(f"random_pair_loss_{name}", row["random_own_points"], "points", told, control=True)


def mean(run: dict[str, Any], key: str) -> float:
    """A figure's mean over workloads; a list's own mean first."""
    values = [row[key] for row in run["workloads"].values()]
    flat: Sequence[float] = [sum(v) / len(v) if isinstance(v, list) else v for v in values]
    return sum(flat) / len(flat)


def specialisation_report() -> dict[str, Any] | None:
    """What is on record, or a run of its own with BENCH=full, which is put on record."""
    if not FULL:
        return json.loads(REPORT.read_text("utf-8")) if REPORT.is_file() else None
    from modelhub.ml.activation import specialise

    config, directory = specialise.Config(), artifacts.find("txt-base")
    with tempfile.TemporaryDirectory(prefix="specialise-") as folder:
        runs = specialise.run_all(specialise.prepare(directory, config, print), config, Path(folder), print)
        every = replace(config, blocks=BLOCKS, seeds=config.seeds[:1], arms=("shipped",), rows=1)
        whole = specialise.run_all(specialise.prepare(directory, every, print), every, Path(folder) / "whole")
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine(), "config": asdict(config), "runs": runs, "whole": whole[0]}
    artifacts.write_json(REPORT, report)
    return report


def main() -> None:
    """Print the rows."""
    rows(Results("specialisation"))


if __name__ == "__main__":
    main()
