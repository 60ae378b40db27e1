"""When the demonstration company asked what: arrival times from a public trace, questions from validation rows. Pure."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from switchyard.core.money import largest_remainder
from switchyard.supervisor.home import ROOT

TRACE = ROOT / "data" / "traces" / "servegen_week.csv.gz"
DAYS = 14
WINDOW_S = 600
WEEK_S = 7 * 86_400
MONDAY_S = 4 * 86_400  # the epoch was a Thursday; this was the first Monday

# Requests in 14 days: the trace's rates scaled down, so that a laptop replays them in minutes.
REQUESTS: Mapping[str, int] = {
    "support-intent": 5_200,
    "assistant-intent": 5_200,
    "support-sentiment": 2_000,
    "contract-clauses": 800,
    "terms-review": 800,
    "clinical-notes": 250,
    "equipment-fault": 1_900,
    "plate-fault": 800,
    "remaining-life": 800,
    "price-advice": 3_000,
    "code-assist": 120,
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: its place in the whole plan, when it came (ms since the epoch), and which row it asks about."""

    number: int
    at_ms: int
    workload: str
    row: int


def read_trace(path: Path = TRACE) -> dict[str, dict[int, tuple[float, float]]]:
    """client → window of the week (0..1007) → (requests a second, variation of the gaps)."""
    clients: dict[str, dict[int, tuple[float, float]]] = {}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            window = int(row["start_s"]) // WINDOW_S
            clients.setdefault(row["client"], {})[window] = (float(row["rate_rps"]), float(row["cv"] or 1.0))
    return clients


def window_of_week(second: int) -> int:
    """Which of the week's ten-minute windows a moment (seconds since the epoch, UTC) falls into."""
    return (second - MONDAY_S) % WEEK_S // WINDOW_S


def arrivals(
    *,
    end_s: int,
    client_of: Mapping[str, str],
    rows_of: Mapping[str, int],
    requests: Mapping[str, int] = REQUESTS,
    days: int = DAYS,
    seed: int = 20_260,
) -> list[Arrival]:
    """Every request of `days` days before `end_s`, oldest first; the same arguments give the same list.

    `client_of`: workload → client of the trace; `rows_of`: workload → how many validation rows it has.
    """
    trace = read_trace()
    drawn: list[tuple[int, str, int]] = []
    for place, workload in enumerate(sorted(client_of)):
        if not rows_of.get(workload):
            continue
        random = np.random.default_rng([seed, place])
        times = _times(trace[client_of[workload]], requests[workload], end_s, days, random)
        rows = _rows(len(times), rows_of[workload], random)
        drawn += [(at, workload, row) for at, row in zip(times, rows, strict=True)]
    drawn.sort()
    return [Arrival(i, at, workload, row) for i, (at, workload, row) in enumerate(drawn)]


def _times(
    windows: Mapping[int, tuple[float, float]], total: int, end_s: int, days: int, random: np.random.Generator
) -> list[int]:
    """`total` moments in ms: shared out over the windows by the trace's rates, gaps inside one Gamma-distributed."""
    starts = range(end_s - days * 86_400, end_s, WINDOW_S)
    rates = [windows.get(window_of_week(start), (0.0, 1.0)) for start in starts]
    counts = largest_remainder(total, [round(rate * 1e6) for rate, _ in rates])
    times: list[int] = []
    for start, count, (_, variation) in zip(starts, counts, rates, strict=True):
        if count == 0:
            continue
        shape = 1 / max(variation, 0.05) ** 2
        gaps = random.gamma(shape, 1.0, size=count + 1) + 1e-9
        inside = np.cumsum(gaps)[:-1] / gaps.sum() * WINDOW_S * 1000
        times += [start * 1000 + int(offset) for offset in inside]
    return times


def _rows(count: int, available: int, random: np.random.Generator) -> list[int]:
    """Rows in shuffled rounds, so that none is asked a second time before all were asked once."""
    rounds: Sequence[np.ndarray] = [random.permutation(available) for _ in range(-(-count // available))]
    return np.concatenate(rounds)[:count].tolist() if count else []
