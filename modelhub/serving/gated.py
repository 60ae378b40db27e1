"""A gated file that is open: one small graph a head, taken out of it, each with its own gate.

A runtime that is asked for one output of a large graph still walks over all of its nodes, which for a student costs as
much as the answer. So each head is cut out of the file, in memory, by the names of its nodes, and opened alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelhub.ml import tokens
from modelhub.serving.graphs import keep_part
from modelhub.serving.runtime import GraphSession, How, finite

SAFE, RISK = "safe_logits", "risk"
NOTHING = float("-inf")  # what the gate leaves in each place of a blocked row
_NO_RISK = np.zeros((0, 0), np.float32)


@dataclass(frozen=True, slots=True)
class Gated:
    """Answers to N texts, B of them blocked. Shapes: logits (N, L), −inf where blocked; blocked (N,) of bool.

    `risk` is (N, K) from `run` and (B, K) from `answer`, which asks for it only where somebody will be told.
    """

    logits: np.ndarray
    risk: np.ndarray
    blocked: np.ndarray


def name_of(head: str, several: bool) -> str:
    """The output with a head's safe logits."""
    return f"{SAFE}:{head}" if several else SAFE


def blocked_rows(logits: np.ndarray) -> np.ndarray:
    """Rows that the gate has emptied. Shapes: (N, L) -> (N,) of bool.

    Told from the answer itself: the graph says it as well, but each output that is handed on costs as much as a node.
    """
    return logits[:, 0] == NOTHING


def take_head(data: bytes, head: str, heads: Sequence[str], leaves: Sequence[str] | None = None) -> bytes:
    """The graph with one head left, and of its outputs those that `leaves` names (all of them where it is None).

    A runtime computes and hands on whatever a graph gives, asked for or not. Raises KeyError for a head it doesn't have.
    """
    if head not in heads:
        raise KeyError(f"no head {head!r} among {', '.join(heads)}")
    others = [other for other in heads if other != head]

    def wanted(name: str) -> bool:
        return not any(name.startswith(f"{other}/") or name.endswith(f":{other}") for other in others)

    return keep_part(data, wanted, None if leaves is None else lambda name: name in leaves)


class GatedFile:
    """Every head of a gated file, opened when it is first asked for. Safe to share by threads as far as its sessions are."""

    def __init__(self, path: Path, heads: Sequence[str], how: How | None = None) -> None:
        self._path, self._heads, self._how = Path(path), list(heads), how or How()
        self._sessions: dict[str, GraphSession] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="switchyard-heads-")

    def session(self, head: str) -> GraphSession:
        """The graph of one head. Raises KeyError, ModelRefused."""
        if head not in self._sessions:
            path = Path(self._folder.name) / f"{head}.onnx"
            leaves = (self._name(head), RISK)
            path.write_bytes(take_head(self._path.read_bytes(), head, self._heads, leaves))
            self._sessions[head] = GraphSession(path, self._how)
        return self._sessions[head]

    def sessions(self) -> list[GraphSession]:
        """Those that are open."""
        return list(self._sessions.values())

    def run(self, head: str, rows: list[np.ndarray]) -> Gated:
        """Answers to token rows, with the risk of each. Raises KeyError, ModelRefused, BackendFailed."""
        logits, risk = self.session(head).run([self._name(head), RISK], _feed(rows))
        return Gated(logits, risk, blocked_rows(logits))

    def answer(self, head: str, rows: list[np.ndarray]) -> Gated:
        """The same as it is served: the risk of blocked rows alone, by a second run where there are any.

        That an answer is finite is looked at anyway, and shows in the same look that no row is blocked. Raises NotFinite too.
        """
        session = self.session(head)
        logits = session.run([self._name(head)], _feed(rows))[0]
        if np.isfinite(logits).all():
            return Gated(logits, _NO_RISK, np.zeros(len(rows), bool))
        blocked = blocked_rows(logits)
        finite(logits[~blocked], f"{self._how.model}/{head}")
        risk = session.run([RISK], _feed([rows[i] for i in np.flatnonzero(blocked)]))[0]
        return Gated(logits, risk, blocked)

    def _name(self, head: str) -> str:
        return name_of(head, len(self._heads) > 1)


def _feed(rows: list[np.ndarray]) -> dict[str, np.ndarray]:
    ids, mask = tokens.pad(rows)
    return {"input_ids": ids, "attention_mask": mask}
