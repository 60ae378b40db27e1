"""Operators and sparse models on a CUDA GPU: ceilings, conformance, operators, experts, dispatch, a training step.

`python -m bench gpu`, or `python -m bench.gpu --out DIR --budget-s 210`. Nothing here needs Django. Kernels run in processes of
their own, each told to a journal case by case: one that crashes or hangs costs its own row. Where there is no CUDA device the
rows say so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.common import RESULTS, ROOT, Row, commit, machine
from bench.tools.gpu_journal import read

CASE_LIMIT_S = 60.0  # a case that is silent for so long hangs
SHARDS = 14
CONFORMANCE_S = 75.0  # no case is begun after
PROFILES = ROOT / "modelhub" / "hal" / "profiles"
EXPECTED = (
    ("gpu_copy_gb_s", "GB/s"), ("gpu_matmul_bf16_tflop_s", "TFLOP/s"), ("gpu_matmul_fp16_tflop_s", "TFLOP/s"),
    ("gpu_matmul_tf32_tflop_s", "TFLOP/s"), ("gpu_matmul_fp32_tflop_s", "TFLOP/s"), ("fusion_ffn_gelu", "x"),
    ("fusion_layernorm_residual", "x"), ("dispatch_median_ratio", "share"), ("dispatch_sigma_ratio", "share"),
    ("train_gpu_over_cpu", "x"),
    *((f"moe_speedup_{bank}_t{tokens}_{kind}", "x")
      for bank in ("e16_d512", "e16_d1024", "e200_d256") for tokens in (1, 64, 1024, 8192) for kind in ("bf16", "tf32", "fp32")),
)  # fmt: skip


class Run:
    """One run: the processes, their journals, and the results file, written anew as lines come in."""

    def __init__(self, out: Path, budget_s: float, device: str, sections: str, measured: str = "") -> None:
        self.out, self.device, self.sections = out, device, sections
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.deadline = time.time() + budget_s
        self.commit, self.machine = measured or commit(), machine()
        self.journals: list[Path] = []
        self.skip: dict[Path, set[str]] = {}
        out.mkdir(parents=True, exist_ok=True)

    def start(
        self, part: str, journal: Path, shard: str = "0/1", limit_s: float = 1e9
    ) -> subprocess.Popen[bytes]:
        """A process for one part; what it says of itself goes to a log beside its journal."""
        if journal not in self.journals:
            journal.unlink(missing_ok=True)
            self.journals.append(journal)
            self.skip[journal] = set()
        words = [
            sys.executable, "-m", "bench.tools.gpu_worker", "--part", part, "--journal", str(journal), "--shard", shard,
            "--deadline", str(min(self.deadline, time.time() + limit_s)), "--device", self.device,
            "--skip", json.dumps(sorted(self.skip[journal])), "--sections", self.sections,
        ]  # fmt: skip
        path = os.pathsep.join([str(ROOT), str(ROOT / "platform")])
        with journal.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(
                words, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stdout=log, stderr=log
            )

    def watch(self, process: subprocess.Popen[bytes], journal: Path, until: str) -> bool:
        """Until the journal says `until` (True), the process ends, a case hangs or time is up (False)."""
        seen, quiet = -1, time.time()
        while True:
            lines = [line["event"] for line in read(journal)]
            if until in lines or "absent" in lines:
                return True
            if process.poll() is not None:
                return False
            if len(lines) != seen:
                seen, quiet = len(lines), time.time()
                self.write()
            if time.time() - quiet > CASE_LIMIT_S or time.time() > self.deadline + CASE_LIMIT_S:
                self.stop(process)
                return False
            time.sleep(0.2)

    @staticmethod
    def stop(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()

    def ended(self, process: subprocess.Popen[bytes]) -> None:
        """Give a process that is done a moment to go by itself."""
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            self.stop(process)

    def lost(self, journal: Path, process: subprocess.Popen[bytes]) -> str | None:
        """The case that a process died in, if any; it and those before it aren't run again."""
        begun = [line for line in read(journal) if line["event"] in ("begin", "end")]
        self.skip[journal] |= {line["case"] for line in begun}
        if not begun or begun[-1]["event"] == "end":
            return None
        why = f"the process ended with {process.returncode}"
        with journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": "error", "case": begun[-1]["case"], "why": why}) + "\n")
        return str(begun[-1]["case"])

    # --- what is written ----------------------------------------------------------------------------------------------

    def lines(self, event: str) -> list[dict[str, Any]]:
        return [line for path in self.journals for line in read(path) if line["event"] == event]

    def facts(self) -> dict[str, Any]:
        return {line["key"]: line["value"] for line in self.lines("fact")}

    def write(self) -> Path:
        """The results so far, whole: a reader never sees half a file."""
        said = self.lines("row")
        rows = [line["row"] for line in said if not line["control"]]
        controls = [line["row"] for line in said if line["control"]]
        why = next((line["why"] for line in self.lines("absent")), None)
        errors = {line["case"]: line["why"] for line in self.lines("error")}
        late = [line["case"] for line in self.lines("late")]
        known = {row["metric"] for row in rows}
        reason = (
            f"no CUDA device: {why}"
            if why
            else f"no figure; failed: {errors or 'none'}; out of time: {late or 'none'}"
        )
        rows += [
            asdict(Row(m, None, unit, None, None, 0, f"not run: {reason[:400]}"))
            for m, unit in EXPECTED
            if m not in known
        ]
        controls += [
            asdict(Row(f"failed_{case.replace(' ', '_')}", None, "", None, None, 0, f"failed: {text}"))
            for case, text in errors.items()
        ]
        device = self.facts().get("device")
        path = self.out / "gpu.json"
        if why and (kept := measured_before(path)):
            print(f"  no CUDA device ({why}); {kept} is kept", flush=True)
            return path
        body = {
            "name": "gpu", "commit": self.commit, "machine": {**self.machine, "gpu": device}, "started": self.started,
            "rows": rows, "controls": controls,
        }  # fmt: skip
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", "utf-8")
        os.replace(temporary, path)
        return path

    def write_profile(self, folder: Path) -> Path | None:
        """The card's measured capability profile, for the planner; None where it wasn't measured."""
        from bench.tools.gpu_profile import capability_profile

        body = capability_profile(self.facts())
        if body is None:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{body['id']}.json"
        path.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", "utf-8")
        return path


def measured_before(path: Path) -> str | None:
    """What an earlier run on a GPU left here: a machine without one doesn't wipe it out."""
    try:
        body = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    gpu = body.get("machine", {}).get("gpu")
    return f"what was measured on {gpu['name']} at {body['started']}" if gpu else None


def measure(run: Run, work: Path) -> None:
    """Ceilings on a quiet card; conformance in several processes, which also fills the kernel cache; the rest alone again."""
    timings = work / "gpu-timings.jsonl"
    go = timings.with_suffix(".go")
    go.unlink(missing_ok=True)
    process = run.start("timings", timings)
    ready = run.watch(process, timings, "ceilings")
    if run.lines("absent"):
        run.ended(process)
        return
    if run.device == "cuda" and (not run.sections or "conformance" in run.sections):
        conform(run, work)
    go.touch()
    for _ in range(6):  # each turn but the last follows a case that took its process with it
        if ready and run.watch(process, timings, "done"):
            break
        if process.poll() is None:
            run.stop(process)
        run.lost(timings, process)
        if time.time() > run.deadline:
            break
        process, ready = run.start("timings", timings), True
    run.ended(process)


def shard_count() -> int:
    """Conformance processes side by side: two cores are left to the others."""
    return max(1, min(SHARDS, (os.cpu_count() or 2) - 2))


def conform(run: Run, work: Path) -> None:
    """Conformance of every implementation, in processes side by side; each is restarted past a case that kills it."""
    shards = shard_count()
    paths = {index: work / f"gpu-conformance-{index}.jsonl" for index in range(shards)}
    going = {
        index: run.start("conformance", path, f"{index}/{shards}", CONFORMANCE_S)
        for index, path in paths.items()
    }
    for turn in range(4):
        again = {}
        for index, process in going.items():
            if not run.watch(process, paths[index], "done") and turn < 3 and run.lost(paths[index], process):
                again[index] = process
            else:
                run.ended(process)
        going = {
            index: run.start("conformance", paths[index], f"{index}/{shards}", CONFORMANCE_S)
            for index in again
        }
        if not going:
            return


def report(run: Run) -> None:
    """A short table, misses first: what a reader of the log's end needs."""
    body = json.loads((run.out / "gpu.json").read_text("utf-8"))
    print(f"  {body['machine'].get('gpu')}")
    for row in sorted(body["rows"], key=lambda row: (row["met"] is not False, row["metric"])):
        sign = {True: "met", False: "MISS", None: ""}[row["met"]]
        if row["value"] is not None or row["met"] is False:
            print(f"  {row['metric']:46} {row['value']!s:>10} {row['unit']:8} {sign} {row['target'] or ''}")
    failed = [row for row in body["controls"] if row["how"].startswith("failed")]
    for row in failed[:30]:
        print(f"  {row['metric']}: {row['how'][:160]}")


def main() -> None:
    with_arguments([])


def with_arguments(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Benchmarks on a CUDA GPU; says so where there is none.")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of gpu.json")
    parser.add_argument(
        "--profiles",
        type=Path,
        default=None,
        help="folder of the card's measured profile",
    )
    parser.add_argument(
        "--budget-s", type=float, default=210.0, help="no case is begun after so many seconds"
    )
    parser.add_argument(
        "--device",
        default="cuda",
        choices=("cuda", "cpu"),
        help="cpu tries the benchmark itself, not the card",
    )
    parser.add_argument(
        "--sections",
        default="",
        help="of conformance,operators,dispatch,experts,training,large; all when empty",
    )
    parser.add_argument(
        "--commit", default="", help="the commit measured, where the tree came without its history"
    )
    words = parser.parse_args(argv)
    run = Run(words.out, words.budget_s, words.device, words.sections, words.commit)
    work = ROOT / "var" / "bench"
    work.mkdir(parents=True, exist_ok=True)
    try:
        measure(run, work)
    finally:
        path = run.write()
        folder = words.profiles or (PROFILES if words.out == RESULTS else words.out)
        profile = run.write_profile(folder) if words.device == "cuda" else None
        report(run)
        print(f"  → {path}" + (f", {profile}" if profile else ""), flush=True)


if __name__ == "__main__":
    with_arguments(sys.argv[1:])
