"""`manage.py policy_proof --class restricted --from 2026-11-01 --to 2026-11-30 --out proof.json`"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from routing.management.policies import PolicyCommand, everything, lob_named
from routing.proofs.services import residency_proof
from switchyard.core.clock import now
from switchyard.tenancy.models import SENSITIVITIES, Organisation

WORDS = {True: "HOLDS", False: "DOES NOT HOLD", None: "IS OPEN: not everything in the period is sealed"}

HELD = {True: "holds", False: "LEFT", None: "open"}


class Command(PolicyCommand):
    help = "Prove from sealed decision records that no request of a class left in a period; signed. Check: policy_verify_proof."

    def add_own(self, parser: ArgumentParser) -> None:
        parser.add_argument("--class", dest="sensitivity", choices=SENSITIVITIES, default="restricted")
        parser.add_argument("--from", dest="start", required=True, help="A day, or an ISO time; UTC.")
        parser.add_argument("--to", dest="end", help="A day (included), or an ISO time; now when left out.")
        parser.add_argument("--lob", help="Slug; the whole organisation when left out.")
        parser.add_argument("--out", help="Write the signed file here.")

    def answer(self, organisation: Organisation, **options: Any) -> tuple[Any, list[str]]:
        lob = lob_named(organisation, options["lob"])
        end = min(moment(options["end"], last=True), now()) if options["end"] else now()
        told = residency_proof(
            scope=everything(organisation), at_least=options["sensitivity"], start=moment(options["start"], last=False),
            end=end, lob=lob.slug if lob else "",
        )  # fmt: skip
        if options["out"]:
            try:
                Path(options["out"]).write_text(json.dumps(told, indent=2))
            except OSError as error:
                raise CommandError(f"{options['out']} can't be written: {error}.") from None
        return told, lines_of(told["body"])


def moment(text: str, *, last: bool) -> datetime:
    """A day or a moment; a day as an end means its last instant."""
    try:
        if len(text) <= 10:
            day = datetime.combine(datetime.strptime(text, "%Y-%m-%d").date(), time(), UTC)
            return day + timedelta(days=1) if last else day
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise CommandError(f"{text!r} is no day such as 2026-11-01 and no ISO time.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def lines_of(body: dict[str, Any]) -> list[str]:
    question, counts, chain, covered = body["question"], body["counts"], body["chain"], body["covered"]
    return [
        f"No request of class {question['class']} or stricter left between {question['from']} and {question['to']}: "
        f"this {WORDS[body['holds']]}.",
        f"requests   {counts['requests']}",
        *(f"attempts   {row['hop']:<9} {row['side']:<9} {row['attempts']}" for row in counts["by_hop"]),
        *(f"hop        {row['hop']:<9} {HELD[row['holds']]:<9} {row['rests_on']}" for row in body["hops"]),
        f"chain      {'unbroken' if chain['whole'] else 'BROKEN'}, {chain['seals']} seals, head {chain['head']}",
        f"sealed     {covered['sealed_records']} of {covered['records']}, missing {covered['missing_records']}",
        f"signed by  {chain['fingerprint']}",
        *(f"left       {row['id']} {row['at']} {row['lob']}" for row in body["contradictions"]),
        *(f"{p['kind']} {p['id']}: {p['why']}" for p in (*chain["problems"], *body["records"]["problems"])),
    ]  # fmt: skip
