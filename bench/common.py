"""Results files, the machine's description, free ports, child processes: what every benchmark shares."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
FULL = os.environ.get("BENCH") == "full"


@dataclass(frozen=True)
class Row:
    """One figure. `low` and `high`: the range over n repeats unless `how` says interval. `met`: None = no target, or not run."""

    metric: str
    value: float | None
    unit: str
    low: float | None
    high: float | None
    n: int
    how: str
    target: str | None = None
    met: bool | None = None


@dataclass
class Results:
    """Collects the rows of one benchmark and writes bench/results/<name>.json."""

    name: str
    rows: list[Row] = field(default_factory=list)
    controls: list[Row] = field(default_factory=list)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def add(
        self, metric: str, values: Sequence[float], unit: str, how: str, *, at_most: float | None = None,
        at_least: float | None = None, control: bool = False, judged: bool = True,
    ) -> Row:  # fmt: skip
        """The median of repeats, with their range; `at_most` or `at_least` is the target. `judged=False`: what was run is not
        what the target speaks of, so it is neither met nor missed."""
        value = statistics.median(values)
        met: bool | None = None
        target = None
        if at_most is not None:
            met, target = value <= at_most, f"<= {at_most:g}"
        elif at_least is not None:
            met, target = value >= at_least, f">= {at_least:g}"
        met = met if judged else None
        row = Row(
            metric,
            _short(value),
            unit,
            _short(min(values)),
            _short(max(values)),
            len(values),
            how,
            target,
            met,
        )
        return self.put(row, control=control)

    def put(self, row: Row, *, control: bool = False) -> Row:
        """A row as it is, with whatever interval its `how` tells of."""
        (self.controls if control else self.rows).append(row)
        missed = " missed" if row.met is False else ""
        print(
            f"  {row.metric:38} {row.value!s:>10} {row.unit:5} [{row.low} … {row.high}] n={row.n}{missed}",
            flush=True,
        )
        return row

    def not_run(self, metric: str, unit: str, reason: str) -> None:
        self.rows.append(Row(metric, None, unit, None, None, 0, f"not run: {reason}"))

    def write(self) -> Path:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.name}.json"
        body = {
            "name": self.name, "commit": commit(), "machine": machine(), "started": self.started,
            "rows": [asdict(row) for row in self.rows], "controls": [asdict(row) for row in self.controls],
        }  # fmt: skip
        path.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n")
        print(f"  → {path.relative_to(ROOT)}", flush=True)
        return path


def refresh(results: Results, parts: Sequence[str]) -> Path:
    """Put freshly measured rows in the place of those on record and keep the rest; `refreshed` names each part's commit."""
    path = RESULTS / f"{results.name}.json"
    body = json.loads(path.read_text("utf-8"))
    for kind, own in (("rows", results.rows), ("controls", results.controls)):
        fresh = {row.metric: asdict(row) for row in own}
        body[kind] = [fresh.pop(row["metric"], row) for row in body[kind]] + list(fresh.values())
    here = machine()
    told = {"commit": commit(), "started": results.started, "cpu": here["cpu"], "load_1m": here["load_1m"]}
    body.setdefault("refreshed", {}).update(dict.fromkeys(parts, told))
    path.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def commit() -> str:
    """The commit measured; `+` when the tree was changed after it."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def machine() -> dict[str, Any]:
    """What it ran on: figures mean little without it."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "cpu": model, "cores": os.cpu_count(), "load_1m": round(os.getloadavg()[0], 2), "system": platform.system(),
        "python": platform.python_version(),
    }  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def child(
    *words: str, env: Mapping[str, str] | None = None, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process of ours for as long as the block lasts; it is stopped by its own id."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "platform")])
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("ab")) if log else subprocess.DEVNULL
        process = subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, env={**os.environ, "PYTHONPATH": path, **(env or {})},
            stdout=output, stderr=output,
        )  # fmt: skip
        try:
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end; after ten seconds it is not asked any more."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def workplace(prefix: str) -> Iterator[Path]:
    """A short folder for processes and their sockets, gone afterwards; what went wrong in it is told from `children.log`."""
    home = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    try:
        yield home
    except Exception:
        log = home / "children.log"
        print(log.read_text()[-3000:] if log.exists() else "no log", file=sys.stderr)
        raise
    finally:
        shutil.rmtree(home, ignore_errors=True)


def start_store(stack: contextlib.ExitStack, home: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A Valkey under `home` until the stack closes, and its URL."""
    from switchyard.supervisor import valkey

    (home / "valkey").mkdir()
    socket_path = home / "valkey.sock"
    store = subprocess.Popen(valkey.command(socket_path, home / "valkey"), stdout=subprocess.DEVNULL)
    stack.callback(end, store)
    return store, f"unix://{socket_path}"


def owed_rows(results: Results, module: str, metrics: Sequence[str]) -> None:
    """Rows of a tool of their own; where it fails, those it still owes say why they are missing."""
    try:
        importlib.import_module(module).rows(results)
    except Exception as error:
        there = {row.metric for row in results.rows}
        for metric in metrics:
            if metric not in there:
                results.not_run(metric, "", f"{module} {type(error).__name__}: {error}"[:200])


def wait_for(url: str, process: subprocess.Popen[bytes], timeout_s: float = 60.0) -> None:
    """Until the URL answers 200. RuntimeError when the process ends or time is up."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{url}: its process ended with {process.returncode}.")
        try:
            with urllib.request.urlopen(url, timeout=2) as reply:
                if reply.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"{url} did not answer within {timeout_s:g} s.")
