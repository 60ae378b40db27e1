"""manage.py verify_decisions [ORGANISATION]: the whole chain and every sealed record; names what was changed or removed."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from routing.proofs.checking import verify_chain, verify_records
from routing.proofs.models import DecisionSeal
from switchyard.tenancy.models import Organisation


class Command(BaseCommand):
    help = "Verify the chain of seals over decision records and each record against its seal."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("organisation", nargs="?", help="Slug; every organisation without one.")
        parser.add_argument("--chain-only", action="store_true", help="Leave the records out.")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = Organisation.objects.order_by("slug")
        if options["organisation"]:
            rows = rows.filter(slug=options["organisation"])
            if not rows:
                raise CommandError(f"There is no organisation {options['organisation']!r}.")
        bad = 0
        for organisation in rows:
            found = verify_chain(organisation.pk)
            if not options["chain_only"]:
                seals = DecisionSeal.objects.filter(organisation_id=organisation.pk).order_by("sequence")
                verify_records(seals.iterator(chunk_size=50), found)
            for problem in found.problems:
                self.stderr.write(f"{problem['kind']} {problem['id']}: {problem['why']}")
            if found.more:
                self.stderr.write(f"… and {found.more} more")
            bad += len(found.problems) + found.more
            self.stdout.write(
                f"{organisation.slug}: {found.seals} seals, {found.records} records read, head {found.head[:16]}… "
                + ("whole" if found.whole else "NOT WHOLE")
            )
        if bad:
            raise CommandError(f"{bad} problems: the records are not the ones that were sealed.")
