"""What the sealed records say of a period: did a request of some class leave, and how far does the answer reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from costs.demonstration import ORIGIN
from costs.models import RollupMark
from costs.rollups import MARK
from routing.contracts import RANK, SENSITIVITIES
from routing.models import DecisionRecord
from routing.proofs import hops
from routing.proofs.checking import MOST_NAMED, Found, lines_of, verify_chain, verify_records
from routing.proofs.leaves import moment, unpacked
from routing.proofs.models import DecisionSeal
from routing.proofs.signing import own_fingerprint, sign_proof
from routing.quote import LONGEST_CALL_NS
from switchyard.core.clock import now
from switchyard.core.errors import InvalidRequest
from switchyard.tenancy.querysets import Scope

KIND = "switchyard.residency-proof"
LONGEST = timedelta(microseconds=LONGEST_CALL_NS // 1000)  # a record comes when its call ends
MOST_ROWS = 50_000  # records read one by one for an answer over the network; beyond that the command does it
LIMITS = (
    "It speaks of what this gateway decided and sent, not of what a deployment that is called private does with it.",
    "Requests that were still on their way when this was made are not in it; `covered.sealed_until` says how far it reaches.",
    "Whoever holds the database and this installation's key could make another chain: compare heads that you kept.",
)
UNREAD = (
    "Counts are those of the signed seals; there are too many records beneath them to read each again here. "
    "The command verify_decisions reads all."
)


class _Tally:
    """Requests and attempts of the classes asked for, in the lines of business that the asker may see."""

    def __init__(self, scope: Scope, lob: str, at_least: str) -> None:
        self.scope, self.lob = scope, lob
        self.classes = {name for name in SENSITIVITIES if RANK[name] >= RANK[at_least]}
        self.requests: Counter[str] = Counter()
        self.sides: Counter[str] = Counter()
        self.hops: Counter[tuple[str, str]] = Counter()
        self.suspects: list[int] = []  # seals that hold an attempt outside

    def wants(self, lob: str, sensitivity: str) -> bool:
        return sensitivity in self.classes and self.lob in ("", lob) and self.scope.allows_lob(lob)

    def add_counts(self, sequence: int, counts: dict[str, Any]) -> None:
        for lob, sensitivity, n in counts["requests"]:
            if self.wants(lob, sensitivity):
                self.requests[sensitivity] += n
        for lob, sensitivity, hop, side, n in counts["attempts"]:
            if self.wants(lob, sensitivity):
                self.sides[side] += n
                self.hops[hop, side] += n
                if side != "private":
                    self.suspects.append(sequence)

    def add_records(self, organisation_id: int, seal: DecisionSeal, start: datetime, end: datetime) -> None:
        """A seal that reaches over an edge of the period, by its records that lie in it."""
        for line in lines_of(organisation_id, list(unpacked(seal.leaves))):
            if start <= moment(line.at_us) < end and self.wants(line.lob, line.sensitivity):
                self.requests[line.sensitivity] += 1
                for _deployment, side, hop, _masked in line.attempts:
                    self.sides[side] += 1
                    self.hops[hop, side] += 1
                    if side != "private":
                        self.suspects.append(seal.sequence)


def residency_proof(
    *, scope: Scope, at_least: str, start: datetime, end: datetime, lob: str = ""
) -> dict[str, Any]:
    """{"body", "signature"}: whether a request of this class or a stricter one left in [start, end), as far as `scope` sees.

    `body.hops` says the same of each hop by itself (routing.proofs.hops).
    `body.holds`: true = none left and everything was sealed and whole; false = some left (`contradictions` names them) or
    the records contradict the chain; null = nothing speaks against it, but `covered` says what isn't known.
    Raises InvalidRequest for an unknown class or an empty period.
    """
    if at_least not in RANK:
        raise InvalidRequest(
            f"class is {at_least[:20]!r}; expected one of {', '.join(SENSITIVITIES)}.", param="class"
        )
    if end <= start:
        raise InvalidRequest("`to` must be later than `from`.", param="to")
    if scope.organisation_id is None:
        raise InvalidRequest("You belong to no organisation.", param="")
    organisation_id = scope.organisation_id
    tally = _Tally(scope, lob, at_least)
    sequences, sealed, deep, unread = _read(organisation_id, start, end, tally)
    chain = verify_chain(organisation_id, since=min(sequences, default=1))
    looked = Found()
    seals = DecisionSeal.objects.filter(organisation_id=organisation_id, sequence__in=deep)
    verify_records(seals.order_by("sequence").iterator(chunk_size=50), looked)
    contradictions, crossings = _contradictions(organisation_id, tally, start, end)
    covered = _covered(organisation_id, start, end, sealed)
    left = sum(n for side, n in tally.sides.items() if side != "private")
    rows = hops.rows_for_training(scope, tally.classes, start, end, lob)
    body = {
        "kind": KIND, "version": 1, "made_at": now().isoformat(), "organisation": organisation_id,
        "question": {"class": at_least, "from": start.isoformat(), "to": end.isoformat(), "lob": lob or None,
                     "lobs": None if scope.lob_slugs is None else sorted(scope.lob_slugs)},
        "holds": _holds(left or crossings, chain, looked, covered),
        "counts": {
            "requests": sum(tally.requests.values()), "by_class": dict(sorted(tally.requests.items())),
            "by_side": dict(sorted(tally.sides.items())),
            "by_hop": [{"hop": hop, "side": side, "attempts": n} for (hop, side), n in sorted(tally.hops.items())],
        },
        "hops": hops.verdicts(tally.hops, _holds(0, chain, looked, covered), rows), "contradictions": contradictions,
        "chain": {
            "whole": chain.whole, "first": chain.first, "last": chain.last, "seals": chain.seals, "head": chain.head,
            "problems": chain.problems, "fingerprint": own_fingerprint(),
        },
        "records": {"checked": looked.records, "of": sealed, "whole": looked.whole, "problems": looked.problems,
                    "more_problems": looked.more},
        "covered": covered, "limits": [*LIMITS, *([UNREAD] if unread else [])],
    }  # fmt: skip
    return sign_proof(body)


def _read(
    organisation_id: int, start: datetime, end: datetime, tally: _Tally
) -> tuple[list[int], int, list[int], bool]:
    """(sequences that reach into the period, records sealed in it, sequences whose records are read one by one, whether some
    that should be aren't)."""
    rows = DecisionSeal.objects.filter(organisation_id=organisation_id, last_at__gte=start, first_at__lt=end)
    sequences: list[int] = []
    sealed = rows_read = 0
    unread = False
    deep: list[int] = []
    names = ("sequence", "first_at", "last_at", "n", "counts")
    for sequence, first_at, last_at, n, counts in rows.order_by("sequence").values_list(*names).iterator():
        sequences.append(sequence)
        if start <= first_at and last_at < end:
            sealed += n
            tally.add_counts(sequence, counts)
        else:
            seal = DecisionSeal.objects.get(organisation_id=organisation_id, sequence=sequence)
            tally.add_records(organisation_id, seal, start, end)
            ids = list(unpacked(seal.leaves))
            sealed += DecisionRecord.objects.filter(pk__in=ids, at__gte=start, at__lt=end).count()
        if any(tally.wants(lob, c) for lob, c, _n in counts["requests"]):
            if rows_read + n > MOST_ROWS:
                unread = True
                continue
            rows_read += n
            deep.append(sequence)
    return sequences, sealed, deep, unread


def _contradictions(
    organisation_id: int, tally: _Tally, start: datetime, end: datetime
) -> tuple[list[dict[str, Any]], int]:
    """The records that say so, the first MOST_NAMED of them by name, and how many there are."""
    named: list[dict[str, Any]] = []
    count = 0
    for record, outside in _outside(organisation_id, sorted(set(tally.suspects)), tally, start, end):
        count += 1
        if len(named) < MOST_NAMED:
            named.append(
                {
                    "id": record.decision_id, "at": moment(record.at_us).isoformat(), "lob": record.lob,
                    "class": record.sensitivity, "policy_hash": record.policy_hash, "attempts": outside,
                }
            )  # fmt: skip
    return named, count


def _outside(
    organisation_id: int, sequences: list[int], tally: _Tally, start: datetime, end: datetime
) -> Iterator[Any]:
    for sequence in sequences:
        seal = DecisionSeal.objects.get(organisation_id=organisation_id, sequence=sequence)
        for line in lines_of(organisation_id, list(unpacked(seal.leaves))):
            outside = [
                {"deployment": name, "side": side, "hop": hop, "masked": masked}
                for name, side, hop, masked in line.attempts
                if side != "private"
            ]
            if outside and start <= moment(line.at_us) < end and tally.wants(line.lob, line.sensitivity):
                yield line, outside


def _covered(organisation_id: int, start: datetime, end: datetime, sealed: int) -> dict[str, Any]:
    """How far the answer reaches: records in the period that no seal holds, and up to when everything was sealed."""
    rows = DecisionRecord.objects.filter(organisation_id=organisation_id, at__gte=start, at__lt=end)
    there = rows.exclude(origin=ORIGIN).order_by().count()
    until = _sealed_until(organisation_id)
    return {
        "from": start.isoformat(), "to": end.isoformat(), "sealed_records": sealed, "records": there,
        "unsealed_records": max(0, there - sealed), "missing_records": max(0, sealed - there),
        "sealed_until": until.isoformat() if until else None,
        "open": until is None or end > until,  # the period isn't over, or its last requests aren't recorded yet
    }  # fmt: skip


def _sealed_until(organisation_id: int) -> datetime | None:
    """Whatever came before this is sealed: the consumer was level with the events then, less the longest call there is."""
    last = DecisionSeal.objects.filter(organisation_id=organisation_id).order_by("-sequence")
    level = (
        last.values_list("at", flat=True).first(),
        RollupMark.objects.filter(name=MARK).values_list("at", flat=True).first(),
    )
    known = [at for at in level if at is not None]
    return max(known) - LONGEST if known else None


def _holds(left: int, chain: Found, looked: Found, covered: dict[str, Any]) -> bool | None:
    if left or not chain.whole or not looked.whole or covered["missing_records"]:
        return False
    return None if covered["unsealed_records"] or covered["open"] else True
