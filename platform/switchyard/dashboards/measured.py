"""What was measured of this product, as it ships: benchmark results and the article's claims. Files in, rows out; no database."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

MET, MISSED, SIMULATED, NOT_RUN, PARTLY, UNJUDGED = (
    "met",
    "missed",
    "simulated",
    "not run",
    "partly",
    "measured",
)
FIELDS = ("metric", "value", "unit", "low", "high", "n", "target", "met", "how")


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of a results file. `low`, `high`: the range over n repeats, or the interval where `how` says so."""

    benchmark: str
    metric: str
    value: float | None
    unit: str
    low: float | None
    high: float | None
    n: int
    target: str | None
    met: bool | None
    how: str

    @property
    def verdict(self) -> str:
        """`simulated` goes before what a simulation would have met."""
        if self.value is None:
            return NOT_RUN
        if self.how.upper().startswith("SIMULATED"):
            return SIMULATED
        return UNJUDGED if self.met is None else MET if self.met else MISSED


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One results file: when and on what, with its rows and its controls."""

    name: str
    command: str
    commit: str
    started: datetime | None
    machine: str
    load_1m: float | None
    rows: tuple[Figure, ...]
    controls: tuple[Figure, ...]


@dataclass(slots=True)
class Measured:
    """Every file that could be read, and the names of those that couldn't."""

    benchmarks: list[Benchmark] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    @property
    def gates(self) -> list[Figure]:
        """Rows that have a target or were not run."""
        rows = [row for one in self.benchmarks for row in one.rows]
        return [row for row in rows if row.target or row.value is None]


@dataclass(frozen=True, slots=True)
class Claim:
    """A row of docs/claims.md: what the article says, what is meant by it here, how it is measured, what came out."""

    number: int
    claim: str
    definition: str
    command: str
    figure: str
    state: str

    @property
    def verdict(self) -> str:
        return verdict_of(self.state)


def read_results(folder: Path) -> Measured:
    """All results of a folder, by name. A file that is no results file is named and left out; no folder gives nothing."""
    found = Measured()
    for path in sorted(Path(folder).glob("*.json")):
        try:
            found.benchmarks.append(_benchmark(json.loads(path.read_text("utf-8"))))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            found.unreadable.append(path.name)
    return found


def _benchmark(body: dict[str, Any]) -> Benchmark:
    name, machine = str(body["name"]), body["machine"]
    gpu = machine.get("gpu") or {}
    words = [gpu.get("name"), machine.get("cpu"), f"{machine.get('cores')} × CPU"]
    return Benchmark(
        name,
        "make bench-" + name,
        str(body.get("commit", "")),
        _moment(body.get("started")),
        ", ".join(str(word) for word in words if word),
        machine.get("load_1m"),
        tuple(_figure(name, row) for row in body["rows"]),
        tuple(_figure(name, row) for row in body.get("controls", [])),
    )


def _figure(benchmark: str, row: dict[str, Any]) -> Figure:
    values = {name: row.get(name) for name in FIELDS}
    for name in ("value", "low", "high"):
        values[name] = None if values[name] is None else float(values[name])
    for name in ("metric", "unit", "how"):
        values[name] = str(values[name] or "")
    return Figure(benchmark=benchmark, **(values | {"n": int(row.get("n") or 0)}))


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def read_claims(path: Path) -> list[Claim]:
    """The table of docs/claims.md; nothing where the file isn't there."""
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) == 6 and cells[0].isdigit():
            found.append(Claim(int(cells[0]), *(_plain(cell) for cell in cells[1:])))
    return found


def _plain(cell: str) -> str:
    """Without the marks of code and emphasis."""
    return re.sub(r"\*([^*]+)\*", r"\1", cell.replace("`", ""))


def verdict_of(state: str) -> str:
    """The one word for a claim's state: the words of docs/claims.md say more.

    Where some of it is met and some missed, or only a part was measured, it is `partly`; a simulation is never `met`.
    """
    words = state.lower()
    if words.startswith(("not run", "–")) or not words:
        return NOT_RUN
    if "half" in words or "partly" in words or ("met" in words.replace("metered", "") and "missed" in words):
        return PARTLY
    if "simulated" in words:
        return SIMULATED if not words.startswith("met") and " met" not in words else PARTLY
    if words.startswith("missed"):
        return MISSED
    if words.startswith("measured"):
        return UNJUDGED
    return MET if "met" in words else UNJUDGED
