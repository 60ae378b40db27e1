"""manage.py policy_verify_proof FILE: is this the proof that was signed, and is its chain still the one we have?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from modelhub.hal.signature import SignatureWrong, verify
from routing.proofs.models import DecisionSeal
from routing.proofs.services import KIND
from routing.proofs.signing import own_fingerprint


class Command(BaseCommand):
    help = "Verify a signed proof of residency, as GET /api/v1/proofs gives it."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("file")
        parser.add_argument("--fingerprint", help="The signer's, where it isn't this installation.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            told = json.loads(Path(options["file"]).read_text())
        except (OSError, ValueError) as error:
            raise CommandError(f"{options['file']} can't be read as JSON: {error}") from None
        own = own_fingerprint()
        trusted = options["fingerprint"] or own
        try:
            signer = verify(told, trusted)
        except SignatureWrong as error:
            raise CommandError(f"Not a proof to rely on: {error}.") from None
        body = told["body"]
        if body.get("kind") != KIND:
            raise CommandError(f"This is signed, but it is a {body.get('kind')!r} and no proof of residency.")
        if signer == own:
            self._still_there(body)
        question, answer = (
            body["question"],
            {True: "holds", False: "DOES NOT HOLD", None: "is open"}[body["holds"]],
        )
        self.stdout.write(
            f"Signed by {signer[:16]}…. No request of class {question['class']} or above left from {question['from']} to "
            f"{question['to']}: this {answer} ({body['counts']['requests']} requests)."
        )

    def _still_there(self, body: dict[str, Any]) -> None:
        """On the installation that signed it, its head must still be in the chain."""
        chain = body["chain"]
        if not chain["seals"]:
            return
        seal = DecisionSeal.objects.filter(
            organisation_id=body["organisation"], sequence=chain["last"]
        ).first()
        if seal is None or seal.head != chain["head"]:
            raise CommandError(
                f"The chain was changed since: seal #{chain['last']} is no longer the one proven."
            )
