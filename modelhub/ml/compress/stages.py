"""What a compression did so far, on disk: a stage that is done stays done, whatever is killed afterwards."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

STAGES = ("teacher", "separation", "distillation", "int8", "operator", "figures")


class BoundBroken(ValueError):
    """A stage can't hold its bound; `report` has every stage so far, the best that was found among it."""

    def __init__(self, stage: str, why: str, report: dict[str, Any]) -> None:
        super().__init__(why)
        self.stage, self.report = stage, report


class Stages:
    """Results of stages by name, in a JSON file that is replaced in one step.

    `asked` is what the compression was asked for; a folder that holds another's results starts anew.
    """

    def __init__(self, folder: Path, asked: dict[str, Any]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._path = self.folder / "stages.json"
        self._asked = json.loads(json.dumps(asked))
        kept = self._read()
        self.results: dict[str, Any] = kept["results"] if kept and kept.get("asked") == self._asked else {}

    def _read(self) -> dict[str, Any] | None:
        try:
            return json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            return None

    def do(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The stage's result: as kept, or worked out now and kept. Raises KeyError for an unknown stage."""
        if name not in STAGES:
            raise KeyError(f"{name!r} is no stage; stages are {', '.join(STAGES)}")
        if name not in self.results:
            found = work()
            self.results[name] = json.loads(json.dumps(found))
            self._write()
        return self.results[name]

    def break_(self, name: str, found: dict[str, Any], why: str) -> BoundBroken:
        """The error to raise for a stage whose result breaks its bound; nothing of it is kept as done."""
        return BoundBroken(name, why, {**self.results, name: found, "stopped": {"stage": name, "why": why}})

    def _write(self) -> None:
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump({"asked": self._asked, "results": self.results}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, self._path)
