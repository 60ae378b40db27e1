"""What one process of the GPU benchmark found, line by line: a crash or a hang loses one case, never the others."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.common import Row


class Journal:
    """Appends to a file, flushed at each line. `skip`: cases that an earlier process ended or died in."""

    def __init__(
        self, path: Path, *, skip: frozenset[str] = frozenset(), deadline: float | None = None
    ) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._skip, self._deadline = skip, deadline

    def say(self, event: str, **body: Any) -> None:
        self._file.write(json.dumps({"event": event, **body}, ensure_ascii=False) + "\n")
        self._file.flush()

    def row(
        self, metric: str, values: Sequence[float], unit: str, how: str, *, at_most: float | None = None,
        at_least: float | None = None, control: bool = False,
    ) -> None:  # fmt: skip
        """The median of repeats with their range; the targets as in `Results.add`."""
        ordered = sorted(values)
        value = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
        met, target = None, None
        if at_most is not None:
            met, target = value <= at_most, f"<= {at_most:g}"
        elif at_least is not None:
            met, target = value >= at_least, f">= {at_least:g}"
        short = [float(f"{each:.5g}") for each in (value, ordered[0], ordered[-1])]
        made = Row(metric, short[0], unit, short[1], short[2], len(values), how, target, met)
        self.say("row", row=asdict(made), control=control)

    def failed(
        self, metric: str, unit: str, why: str, *, target: str | None = None, control: bool = False
    ) -> None:
        """A case that gave no figure. With a target it is missed, not left out."""
        row = Row(
            metric, None, unit, None, None, 0, f"failed: {why[:300]}", target, False if target else None
        )
        self.say("row", row=asdict(row), control=control)

    def case(self, name: str, body: Callable[[], None]) -> None:
        """Run one case unless it was run before or time is up; an error ends the case alone."""
        if name in self._skip:
            return
        if self._deadline is not None and time.time() > self._deadline:
            self.say("late", case=name)
            return
        self.say("begin", case=name)
        began = time.monotonic()
        try:
            body()
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            self.say("error", case=name, why=f"{type(error).__name__}: {str(error)[:400]} ({where})")
            if "CUDA error" in str(error) or "illegal memory" in str(error):
                raise  # the process's CUDA context is gone: a new process goes on
        self.say("end", case=name, seconds=round(time.monotonic() - began, 2))


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a journal; a line that a crash cut is left out."""
    if not path.exists():
        return
    for line in path.read_text("utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue
