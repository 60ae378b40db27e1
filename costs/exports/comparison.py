"""A statement beside that of the month before, by application. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from costs.exports.statements import Statement


@dataclass(frozen=True, slots=True)
class Compared:
    """Nano-dollars. `application` is empty for what belongs to none: labels, shares of machines, late lines without a name."""

    application: str
    amount_nusd: int
    before_nusd: int

    @property
    def more_nusd(self) -> int:
        return self.amount_nusd - self.before_nusd


def by_application(made: Statement, before: Statement) -> Sequence[Compared]:
    """One row an application of either month, dearest first, that without a name last; both columns sum to the statements."""
    sums: dict[str, list[int]] = {}
    for place, one in enumerate((made, before)):
        for line in one.lines:
            sums.setdefault(line.application, [0, 0])[place] += line.amount_nusd
    rows = [Compared(name, *both) for name, both in sums.items()]
    return sorted(rows, key=lambda row: (not row.application, -row.amount_nusd, row.application))
