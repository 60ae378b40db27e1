"""One pass over uploaded rows: duplicates, contradictions, leakage, labels, and what in them is sensitive.

Rows go on to a sink as they are found good; what is kept here of each is a digest of its text, so that a file of half a
million rows fits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field
from hashlib import blake2b
from sys import intern
from typing import Any

from modelhub.services.inspection import inspector
from modelhub.services.row_formats import EXPECTED, Chat, Labelled, Row, fault
from switchyard.core.errors import PolicyDenied, ValidationFailed

MAX_ROWS = 500_000
MAX_LABELS = 1000
MIN_ROWS = 8
SHOWN_FAULTS, SHOWN_LINES, SHOWN_LABELS = 50, 20, 200
MOST_GROUPS = 200  # distinct sets of findings that are told apart
Sink = Callable[[bytes], None]


def normal(text: str) -> str:
    """Two texts that differ in case and spaces only are one."""
    return " ".join(text.lower().split())


def digest_of(text: str) -> bytes:
    """16 bytes that stand for a text in its normal form."""
    return blake2b(normal(text).encode(), digest_size=16).digest()


@dataclass(slots=True)
class RowCheck:
    """What is known before the first row: which texts may not be among them, which labels there are, the least class."""

    evaluation: Set[bytes] = frozenset()
    known_labels: Set[str] = frozenset()
    base: str = "internal"
    declared: str = ""
    as_labels: bool = False  # a classifier learns it: a conversation counts as a text and its label
    lines: int = 0
    rows: int = 0
    characters: int = 0
    format: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    duplicates: list[int] = field(default_factory=list)
    leaked: list[int] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    found: dict[str, list[int]] = field(default_factory=dict)
    groups: Counter[tuple[str, ...]] = field(default_factory=Counter)
    seen: dict[bytes, tuple[str, int]] = field(default_factory=dict)  # text → (its label, line)
    wrong: int = 0

    def take(self, rows: Iterable[tuple[int, Row | str]], sink: Sink) -> None:
        """Read everything; good rows go to `sink` in their kept form. Raises ValidationFailed beyond MAX_ROWS."""
        look = inspector()
        for line, row in rows:
            self.lines += 1
            if self.lines > MAX_ROWS:
                raise ValidationFailed(
                    f"More than {MAX_ROWS} rows: send them in several files.", [fault(line, "too many rows")]
                )
            why = row if isinstance(row, str) else self._unlike(row)
            if why or isinstance(row, str):
                self._fault(line, why)
                continue
            kept = self._as_kept(row)
            if isinstance(kept, str):
                self._fault(line, kept)
            elif self._is_new(line, kept):
                self.rows += 1
                self.characters += len(kept.whole)
                if isinstance(kept, Labelled):
                    self.counts[kept.label] += 1
                self._inspect(line, look.entities_in(kept.whole))
                sink(kept.line())

    def _unlike(self, row: Row) -> str:
        kind = "chat" if isinstance(row, Chat) else "labelled"
        self.format = self.format or kind
        if kind == self.format:
            return ""
        return f"the rows before are {_SHAPE[self.format]}; this one is {_SHAPE[kind]}"

    def _as_kept(self, row: Row) -> Row | str:
        if not self.as_labels or isinstance(row, Labelled):
            return row
        if len(row.answer) > 200:
            return "the assistant's last message is the label of this workload, and it is longer than 200 characters"
        return Labelled(row.question, row.answer)

    def _is_new(self, line: int, row: Row) -> bool:
        if isinstance(row, Labelled):
            key, said = digest_of(row.text), intern(row.label)
        else:  # one question may have several good answers
            key, said = digest_of(row.asked), ""
        if key in self.evaluation:
            self.leaked.append(line)
            return False
        if isinstance(row, Chat):
            key += blake2b(row.answer.encode(), digest_size=16).digest()
        if key not in self.seen:
            self.seen[key] = (said, line)
            return True
        before, where = self.seen[key]
        if before == said:
            self.duplicates.append(line)
        else:
            self._fault(line, f"the same text has label {before!r} in line {where}")
        return False

    def _inspect(self, line: int, entities: set[str]) -> None:
        group = tuple(sorted(entities))
        if len(self.groups) < MOST_GROUPS or group in self.groups:
            self.groups[group] += 1
        else:  # so many kinds at once: the strictest reading of all of them
            self.groups[tuple(sorted({kind for known in self.groups for kind in known} | entities))] += 1
        for kind in entities:
            where = self.found.setdefault(kind, [])
            if len(where) < SHOWN_LINES:
                where.append(line)

    def _fault(self, line: int, message: str) -> None:
        self.wrong += 1
        if len(self.faults) < SHOWN_FAULTS:
            self.faults.append(fault(line, message))

    # ------------------------------------------------------------------ verdicts
    @property
    def sensitivity(self) -> str:
        """The strictest class of what was declared and found."""
        return inspector().classify(self.base, self.declared, sorted(self.found))

    def refuse_faults(self) -> None:
        """Raises ValidationFailed with the first faults."""
        if self.wrong:
            raise ValidationFailed(
                f"{self.wrong} of {self.lines} rows are wrong; nothing was kept. Line {self.faults[0]['line']}: "
                f"{self.faults[0]['message']}.",
                self.faults,
            )

    def refuse_restricted(self) -> None:
        """Raises PolicyDenied: what is restricted is kept nowhere."""
        if self.sensitivity != "restricted":
            return
        kinds = [
            kind for kind in sorted(self.found) if inspector().classify("public", "", [kind]) == "restricted"
        ]
        if not kinds:
            raise PolicyDenied(
                "The rows are restricted, and restricted data is never kept: nothing was stored."
            )
        where = "; ".join(
            f"{kind.replace('_', ' ')} in line {', '.join(map(str, self.found[kind][:5]))}" for kind in kinds
        )
        raise PolicyDenied(
            f"Restricted data is never kept, so nothing was stored: {where}. Remove those rows and send the file again."
        )

    def refuse_unlearnable(self) -> None:
        """Raises ValidationFailed for too few rows, or labels from which nothing can be learnt."""
        if not self.lines:
            raise ValidationFailed(f"The file holds no rows; expected {EXPECTED}.")
        if self.rows < MIN_ROWS:
            raise ValidationFailed(
                f"{self.rows} of {self.lines} rows can be used; at least {MIN_ROWS} are needed "
                f"({len(self.duplicates)} were duplicates, {len(self.leaked)} are in the evaluation set)."
            )
        if (self.as_labels or self.format == "labelled") and not 2 <= len(self.counts) <= MAX_LABELS:
            raise ValidationFailed(
                f"All {self.rows} rows have the label {next(iter(self.counts))!r}: there is nothing to tell apart."
                if len(self.counts) == 1
                else f"The rows have {len(self.counts)} labels; at most {MAX_LABELS} can be learnt."
            )

    def report(self) -> dict[str, Any]:
        """What the page shows and a person can act on."""
        counts, known = self.counts, self.known_labels
        return {
            "lines": self.lines, "rows": self.rows, "format": self.format, "tokens": self.characters // 4,
            "duplicates": len(self.duplicates), "duplicate_lines": self.duplicates[:SHOWN_LINES],
            "in_evaluation_set": len(self.leaked), "leaked_lines": self.leaked[:SHOWN_LINES],
            "labels": dict(counts.most_common(SHOWN_LABELS)),
            "new_labels": sorted(set(counts) - known) if known else [],
            "rare_labels": sorted(label for label, n in counts.items() if n < 3)[:SHOWN_LABELS],
            "sensitivity": self.sensitivity, "declared": self.declared,
            "sensitive": {kind: self.found[kind] for kind in sorted(self.found)},
            "groups": [[list(group), n] for group, n in sorted(self.groups.items())],
        }  # fmt: skip


_SHAPE = {"chat": "conversations (`messages`)", "labelled": "texts with labels (`text`, `label`)"}
