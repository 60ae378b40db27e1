"""Whether the chain is whole and the records are the ones that were sealed. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from routing.models import DecisionRecord
from routing.proofs.leaves import GENESIS, Line, attempts_of, head_of, microseconds, unpacked
from routing.proofs.models import DecisionChain, DecisionSeal
from routing.proofs.signing import head_is_signed

MOST_NAMED = 100
CHUNK = 500
_META = ("organisation_id", "sequence", "at", "first_at", "last_at", "n", "counts", "leaves", "previous")


@dataclass(slots=True)
class Found:
    """`problems`: what is wrong, by name of seal or record; `seals` and `records` were looked at."""

    seals: int = 0
    records: int = 0
    first: int = 0
    last: int = 0
    head: str = GENESIS
    problems: list[dict[str, Any]] = field(default_factory=list)
    more: int = 0  # problems beyond MOST_NAMED

    @property
    def whole(self) -> bool:
        return not self.problems

    def note(self, kind: str, name: str, why: str) -> None:
        if len(self.problems) < MOST_NAMED:
            self.problems.append({"kind": kind, "id": name, "why": why})
        else:
            self.more += 1


def verify_chain(organisation_id: int, *, since: int = 1) -> Found:
    """Every seal from `since` to the end: no gap, each over the one before, signed, and the end where it was left."""
    found = Found(first=since)
    rows = DecisionSeal.objects.filter(organisation_id=organisation_id, sequence__gte=since).order_by(
        "sequence"
    )
    expected, previous = since, GENESIS if since == 1 else None
    for seal in rows.iterator(chunk_size=CHUNK):
        if seal.sequence != expected:
            found.note(
                "seal",
                f"#{expected}",
                f"{seal.sequence - expected} seals are missing before #{seal.sequence}",
            )
        elif previous is not None and seal.previous != previous:
            found.note("seal", f"#{seal.sequence}", "it doesn't follow from the one before")
        if seal.head != head_of(**{name: getattr(seal, name) for name in _META}):
            found.note("seal", f"#{seal.sequence}", "it was changed after it was made")
        elif not head_is_signed(seal.head, seal.signature):
            found.note("seal", f"#{seal.sequence}", "its signature is not this installation's")
        expected, previous = seal.sequence + 1, seal.head
        found.seals, found.last, found.head = found.seals + 1, seal.sequence, seal.head
    end = DecisionChain.objects.filter(organisation_id=organisation_id).first()
    if end is not None and since <= end.sequence and (end.sequence, end.head) != (found.last, found.head):
        found.note(
            "chain", f"#{end.sequence}", f"the chain ended at #{end.sequence}, its last seal is #{found.last}"
        )
    return found


def verify_records(seals: Iterator[DecisionSeal] | Sequence[DecisionSeal], found: Found) -> None:
    """Each record against its leaf: one that was changed or removed is named in `found`."""
    for seal in seals:
        try:
            leaves = unpacked(seal.leaves)
        except ValueError as error:
            found.note("seal", f"#{seal.sequence}", str(error))
            continue
        ids = list(leaves)
        there = set()
        for first in range(0, len(ids), CHUNK):
            for line in lines_of(seal.organisation_id, ids[first : first + CHUNK]):
                there.add(line.decision_id)
                found.records += 1
                if line.digest() != leaves[line.decision_id]:
                    found.note(
                        "record", line.decision_id, f"it was changed after it was sealed in #{seal.sequence}"
                    )
        for name in ids:
            if name not in there:
                found.note("record", name, f"it was sealed in #{seal.sequence} and is gone")


def lines_of(organisation_id: int, ids: Sequence[str]) -> Iterator[Line]:
    """Records as the database has them now, as they are sealed."""
    names = ("pk", "at", "lob", "sensitivity", "policy_hash", "detail")
    rows = DecisionRecord.objects.filter(organisation_id=organisation_id, pk__in=ids).order_by()
    for pk, at, lob, sensitivity, policy_hash, detail in rows.values_list(*names):
        yield Line(
            organisation_id,
            pk,
            microseconds(at.astimezone(UTC)),
            lob,
            sensitivity,
            policy_hash,
            attempts_of(detail),
        )
