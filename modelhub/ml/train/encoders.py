"""`python -m modelhub.ml.train.encoders --out …`: many encoders side by side on one accelerator, gathered into few files.

First a few short trials settle the rates of each trunk; then come the trunks with three seeds, the dense baselines and
the random router, and the folds of the small workloads. Each run is a process of its own. What comes out: `metrics.json`,
the logits on validation rows, and the weights of the best seed of each sparse trunk in 16 bits, no file over 15 MiB.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from modelhub.ml.text.pretrained import load_corpus
from modelhub.ml.train.encoder import DEFAULTS, FOLDS, pooled_targets

PILOT_SEED, SEEDS, MOST_BYTES = 11, (1, 2, 3), 15 * 2**20
RATES: dict[str, tuple[tuple[float, float], ...]] = {
    "upcycled": ((4e-4, 2e-3), (1e-3, 2e-3)),
    "sparse": ((1e-3, 1e-3), (2e-3, 2e-3)),
}
# Epochs, and invented texts beside every batch: a trunk that starts at random has more to hear.
LENGTH = {"upcycled": (8.0, 128), "split": (8.0, 128), "sparse": (16.0, 384)}
BATCH = 384


@dataclass(frozen=True, slots=True)
class Run:
    """One process: a variant, its seed, its rates, and the fold it is judged by."""

    variant: str
    seed: int
    rates: tuple[float, float]
    fold: int | None = None
    folder: str = "runs"

    @property
    def name(self) -> str:
        return f"{self.variant}-{self.seed}" + (f"-fold{self.fold}" if self.fold is not None else "")


@dataclass(slots=True)
class Pool:
    """Runs processes, so many at a time; starts none after the deadline, and ends those that still run at the `last` moment."""

    out: Path
    common: list[str]
    workers: int
    deadline: float
    epochs: float
    last: float = float("inf")
    failed: list[str] = field(default_factory=list)

    def go(self, runs: Sequence[Run]) -> list[dict[str, Any]]:
        """Run them in order; give the reports of those that ended well."""
        waiting, active = list(runs), {}
        while waiting or active:
            while waiting and len(active) < self.workers and time.monotonic() < self.deadline:
                run = waiting.pop(0)
                active[run] = self._start(run)
            if waiting and time.monotonic() >= self.deadline:
                self.failed += [f"{run.name}: not started, out of time" for run in waiting]
                waiting = []
            if time.monotonic() >= self.last:
                for run, process in active.items():
                    process.kill()
                    self.failed.append(f"{run.name}: cut off")
                break
            for run in [run for run, process in active.items() if process.poll() is not None]:
                if active.pop(run).returncode:
                    self.failed.append(f"{run.name}: see {run.name}.log")
                else:
                    print(f"{time.monotonic():.0f} done {run.folder}/{run.name}", file=sys.stderr, flush=True)
            time.sleep(0.2)
        return [report for run in runs if (report := self.report(run)) is not None]

    def report(self, run: Run) -> dict[str, Any] | None:
        """What a run wrote down, or None where it didn't."""
        path = self.out / run.folder / f"{run.name}.json"
        return json.loads(path.read_text("utf-8")) if path.is_file() else None

    def _start(self, run: Run) -> subprocess.Popen[bytes]:
        folder = self.out / run.folder
        folder.mkdir(parents=True, exist_ok=True)
        epochs, invented = LENGTH[run.variant.partition("-")[0]]
        command = [
            sys.executable, "-m", "modelhub.ml.train.encoder", "--variant", run.variant, "--seed", str(run.seed),
            "--rate", str(run.rates[0]), "--new-rate", str(run.rates[1]), "--epochs", str(epochs * self.epochs),
            "--invented", str(invented), "--batch", str(BATCH), "--out", str(folder), *self.common,
        ]  # fmt: skip
        if run.fold is not None:
            command += ["--fold", str(run.fold)]
        with (folder / f"{run.name}.log").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)


def plan(best: dict[str, tuple[float, float]]) -> list[Run]:
    """Everything after the trials but the folds, what matters most first."""
    trunks = tuple(RATES)
    sides = ("", "-dense-total", "-random-router", "-dense-active")
    runs = [Run(trunk + side, seed, best[trunk]) for side in sides for trunk in trunks for seed in SEEDS]
    return [*runs, Run("split", 1, best["upcycled"])]


def beside(trunk: str, rates: tuple[float, float]) -> list[Run]:
    """What is measured beside a trunk that stands: its folds, and the dense network of equal active size."""
    folded = [Run(trunk, 1, rates, fold=fold) for fold in range(FOLDS)]
    return [*folded, *(Run(f"{trunk}-dense-active", seed, rates) for seed in SEEDS)]


def winner(pool: Pool, best: dict[str, tuple[float, float]]) -> str:
    """The trunk whose seeds are best on the mean over the workloads; the first of the plan where there is none."""
    means = {}
    for trunk in RATES:
        found = [pool.report(Run(trunk, seed, best[trunk])) for seed in SEEDS]
        scores = [float(report["final"]["mean"]) for report in found if report is not None]
        means[trunk] = sum(scores) / len(scores) if scores else 0.0
    return max(means, key=lambda trunk: means[trunk])


def pilots(pool: Pool, trunks: Sequence[str] = tuple(RATES)) -> dict[str, tuple[float, float]]:
    """Try the rates of each trunk once and give the best of each, by mean accuracy over the workloads."""
    tried = {
        trunk: [Run(trunk, PILOT_SEED, rates, folder=f"pilot-{i}") for i, rates in enumerate(RATES[trunk])]
        for trunk in trunks
    }
    pool.go([run for runs in tried.values() for run in runs])
    best = {}
    for trunk, runs in tried.items():
        scored = [(report["final"]["mean"], run.rates) for run in runs if (report := pool.report(run))]
        best[trunk] = max(scored)[1] if scored else RATES[trunk][0]
    return best


def gather(out: Path, target: Path, best: dict[str, tuple[float, float]], failed: list[str]) -> None:
    """Put figures, logits and the best weights of every run into few files."""
    target.mkdir(parents=True, exist_ok=True)
    reports = [json.loads(path.read_text("utf-8")) for path in sorted(out.glob("*/*.json"))]
    for path, report in zip(sorted(out.glob("*/*.json")), reports, strict=True):
        report["folder"] = path.parent.name
    metrics = {"rates": best, "failed": failed, "runs": reports}
    (target / "metrics.json").write_text(json.dumps(metrics), "utf-8")
    logits: dict[str, Tensor] = {}
    for path in sorted((out / "runs").glob("*.logits.safetensors")):
        name = path.name.removesuffix(".logits.safetensors")
        if "fold" in name or name.rpartition("-")[0] in RATES:
            logits |= {f"{name}/{key}": value for key, value in load_file(str(path)).items()}
    _save_in_parts(logits, target, "logits")
    for trunk in RATES:
        own = [
            r for r in reports if r["variant"] == trunk and r["folder"] == "runs" and r.get("fold") is None
        ]
        if own:
            chosen = max(own, key=lambda r: float(r["final"]["mean"]))
            weights = load_file(str(out / "runs" / f"{trunk}-{chosen['seed']}.weights.safetensors"))
            _save_in_parts(weights, target, f"{trunk}-{chosen['seed']}")


def _save_in_parts(tensors: dict[str, Tensor], target: Path, stem: str) -> None:
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        more = tensor.numel() * tensor.element_size()
        if parts[-1] and size + more > MOST_BYTES:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += more
    for index, part in enumerate(parts):
        if part:
            save_file(part, str(target / f"{stem}.{index}.safetensors"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the plan; what is finished at the deadline is gathered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where the gathered files go")
    parser.add_argument("--scratch", type=Path, required=True, help="where runs write")
    parser.add_argument("--carried", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--deadline-s", type=float, default=240.0, help="start nothing after so many seconds")
    parser.add_argument(
        "--last-s", type=float, default=float("inf"), help="end what still runs after so many seconds"
    )
    parser.add_argument(
        "--keep", action="store_true", help="gather what an earlier call left in --scratch, run nothing"
    )
    parser.add_argument("--epochs", type=float, default=1.0, help="a factor on every run's epochs")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--only", help="names must hold this: a trial of the pipeline")
    parser.add_argument(
        "--beside",
        choices=tuple(RATES),
        help="train no trunk: this one's folds and its dense-active baseline",
    )
    given = parser.parse_args(arguments)
    started = time.monotonic()
    if given.keep:
        gather(given.scratch, given.out, {}, [])
        return
    shutil.rmtree(given.scratch, ignore_errors=True)
    given.scratch.mkdir(parents=True)
    kept = given.scratch / "targets.npy"
    trunk, rows = load_corpus(given.carried, given.limit)
    pooled_targets(trunk, rows["train"].join(rows["val"]), given.device, DEFAULTS.width, kept)
    print(f"targets after {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    common = ["--targets", str(kept), "--device", given.device]
    if given.device.startswith("cuda"):
        common += ["--half", "--form", "all", "--evaluations", "12"]
    if given.carried is not None:
        common += ["--carried", str(given.carried)]
    if given.limit is not None:
        common += ["--limit", str(given.limit), "--evaluations", "2"]
    pool = Pool(
        given.scratch, common, given.workers, started + given.deadline_s, given.epochs, started + given.last_s
    )
    best = pilots(pool, (given.beside,) if given.beside else tuple(RATES))
    print(f"rates {best} after {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    if given.beside:
        pool.go(beside(given.beside, best[given.beside]))
    else:
        _whole_plan(pool, best, given.only)
    gather(given.scratch, given.out, best, pool.failed)
    print(
        f"gathered after {time.monotonic() - started:.0f} s; failed: {pool.failed}",
        file=sys.stderr,
        flush=True,
    )


def _whole_plan(pool: Pool, best: dict[str, tuple[float, float]], only: str | None) -> None:
    runs = [run for run in plan(best) if not only or only in run.name]
    first = len(RATES) * len(SEEDS) * 3
    pool.go(runs[:first])
    chosen = winner(pool, best)
    folded = [Run(chosen, 1, best[chosen], fold=fold) for fold in range(FOLDS)]
    pool.go([*(folded if not only else folded[:1]), *runs[first:]])


if __name__ == "__main__":
    main()
