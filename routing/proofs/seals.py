"""Append a batch of decision records to their organisation's chain, inside the transaction that writes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from costs.demonstration import ORIGIN
from routing.proofs.leaves import Line, attempts_of, counted, head_of, microseconds, moment, packed
from routing.proofs.models import DecisionChain, DecisionSeal
from routing.proofs.signing import sign_head
from switchyard.core.clock import from_ns, now

Event = Mapping[str, Any]


def lines_of(events: Iterable[Event]) -> list[Line]:
    """What is sealed of some usage events; the demonstration's history is never sealed."""
    return [
        Line(
            e["organisation_id"], e["decision_id"], microseconds(from_ns(e["at_ns"])), e["lob"], e["sensitivity"],
            e["policy_hash"][:64], attempts_of(e),
        )
        for e in events
        if e["origin"] != ORIGIN
    ]  # fmt: skip


def seal(lines: Iterable[Line]) -> None:
    """One seal for each organisation that the batch has records of."""
    by_organisation: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        by_organisation[line.organisation_id].append(line)
    for organisation_id in sorted(
        by_organisation
    ):  # in one order, so that two writers never wait for each other
        _append(organisation_id, by_organisation[organisation_id])


def _append(organisation_id: int, lines: Sequence[Line]) -> None:
    leaves = packed([line.decision_id for line in lines], [line.digest() for line in lines])
    times = [line.at_us for line in lines]
    # Writers of one organisation queue up here until they commit: a chain has one end.
    ends = DecisionChain.objects.select_for_update().filter(organisation_id=organisation_id)
    end = ends.first()
    if end is None:
        DecisionChain.objects.get_or_create(organisation_id=organisation_id)
        end = ends.get()
    fields: dict[str, Any] = {
        "organisation_id": organisation_id, "sequence": end.sequence + 1, "at": now(), "first_at": moment(min(times)),
        "last_at": moment(max(times)), "n": len(lines), "counts": counted(lines), "leaves": leaves,
        "previous": end.head,
    }  # fmt: skip
    end.sequence, end.head = end.sequence + 1, head_of(**fields)
    DecisionSeal.objects.create(**fields, head=end.head, signature=sign_head(end.head))
    end.save(update_fields=["sequence", "head"])
