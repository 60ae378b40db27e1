"""Whether the semantic cache may be switched on: the measured verdict, kept beside the code and renewed by a command.

`manage.py semantic_cache measure` writes $SWITCHYARD_HOME/semantic_cache.json; without that file the one that is shipped
counts. A verdict speaks of one encoder: with another's vectors it is none.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from routing.policy.said import _

SHIPPED = Path(__file__).with_name("verdict.json")
MEASURED = "semantic_cache.json"


def verdict_of(home: Path | None) -> dict[str, Any]:
    """The verdict in force. One that can't be read counts as a failure: closed."""
    path = home / MEASURED if home is not None and (home / MEASURED).is_file() else SHIPPED
    try:
        return _read(path, path.stat().st_mtime_ns)
    except (OSError, ValueError) as error:
        return {
            "verdict": "fail",
            "threshold": None,
            "why": f"The verdict in {path.name} can't be read: {error}",
        }


@lru_cache(maxsize=8)
def _read(path: Path, changed_ns: int) -> dict[str, Any]:
    told = json.loads(path.read_text("utf-8"))
    if not isinstance(told, dict) or told.get("verdict") not in ("pass", "fail"):
        raise ValueError("it holds no verdict")
    return told


def refusal(similarity: float, home: Path | None) -> str:
    """Why answers to questions of this similarity may not be given; empty when they may."""
    told = verdict_of(home)
    if told["verdict"] != "pass" or told.get("threshold") is None:
        return _(
            "The semantic cache can't be switched on: %(why)s `manage.py semantic_cache measure` measures it anew. "
            "The exact cache needs no such proof."
        ) % {"why": told["why"]}  # fmt: skip
    if similarity < told["threshold"]:
        return _(
            "A similarity of %(similarity)s gives wrong answers too often: measured is %(threshold)s and above (%(why)s)"
        ) % {"similarity": f"{similarity:g}", "threshold": f"{told['threshold']:g}", "why": told["why"]}  # fmt: skip
    return ""
