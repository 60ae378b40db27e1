"""Price sheets one by one: `manage.py prices add ext-mini --source "vendor, 2026-11-01" --set input_usd_per_mtok=0.05 …`."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rest_framework.exceptions import ValidationError

from costs.api.base import parse_time
from costs.api.price_fields import TERM_FIELDS, TermsForm
from costs.api.prices import PriceSerializer
from costs.management.organisation import add_organisation, organisation_named
from costs.models import Price
from costs.sheets import deployments
from costs.sheets.dated import create_price, end_price, opening, take_back
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import SwitchyardError
from switchyard.tenancy.services import bump_config

ACTOR = "command line"


class Command(BaseCommand):
    help = "List dated price sheets, add one, end one, or take back one that has not begun. Whole files: import_prices."

    def add_arguments(self, parser: ArgumentParser) -> None:
        does = parser.add_subparsers(dest="action", required=True)
        shows, adds = does.add_parser("list"), does.add_parser("add")
        ends, takes = does.add_parser("end"), does.add_parser("take-back")
        for one in (shows, adds, ends, takes):
            add_organisation(one)
        shows.add_argument("deployment", nargs="?")
        adds.add_argument("deployment")
        adds.add_argument("--source", required=True, help="Who published it, and when.")
        adds.add_argument(
            "--from", dest="begins", help="Date or ISO time; where the last sheet ended, or now."
        )
        adds.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="By its name in REST; tiers as JSON.",
        )
        for one in (ends, takes):
            one.add_argument("price", type=int)
        ends.add_argument("--to", dest="end", required=True, help="Date or ISO time, in the future.")

    def handle(self, *args: Any, **options: Any) -> None:
        organisation_id = organisation_named(options["organisation"]).pk
        act = getattr(self, f"_{options['action'].replace('-', '_')}")
        try:
            act(organisation_id, options)
        except SwitchyardError as error:
            raise CommandError(error.message) from None
        except ValidationError as error:
            raise CommandError(str(error.detail)) from None

    def _list(self, organisation_id: int, options: dict[str, Any]) -> None:
        rows = Price.objects.filter(organisation_id=organisation_id)
        for row in rows.filter(deployment=options["deployment"]) if options["deployment"] else rows:
            self._show(row)

    def _add(self, organisation_id: int, options: dict[str, Any]) -> None:
        name = options["deployment"]
        if not deployments.exists(organisation_id, name):
            raise CommandError(f"There is no deployment {name!r}.")
        form = TermsForm(data=_terms(options["set"]))
        form.is_valid(raise_exception=True)
        self._show(create_price(
            organisation_id=organisation_id, deployment=name, source=options["source"], actor=ACTOR,
            valid_from=parse_time("from", options["begins"], opening(organisation_id, name)), **form.validated_data,
        ))  # fmt: skip

    def _end(self, organisation_id: int, options: dict[str, Any]) -> None:
        row = _found(organisation_id, options["price"])
        ended = end_price(price=row, end=parse_time("to", options["end"], now()))
        _note("changed", ended)
        self._show(ended)

    def _take_back(self, organisation_id: int, options: dict[str, Any]) -> None:
        row = _found(organisation_id, options["price"])
        _note("deleted", row)
        take_back(price=row)
        self.stdout.write(f"{row} is taken back.")

    def _show(self, row: Price) -> None:
        told = PriceSerializer(row).data
        terms = [
            f"{n}={json.dumps(told[n]) if n == 'tiers' else told[n]}"
            for n in TERM_FIELDS
            if told.get(n) not in EMPTY
        ]
        ends = row.valid_to.isoformat() if row.valid_to else "open"
        head = (str(row.pk), row.deployment, row.valid_from.isoformat(), ends)
        self.stdout.write("\t".join((*head, " ".join(terms), row.source)))


EMPTY = (None, [], "0", "0.00")


def _found(organisation_id: int, pk: int) -> Price:
    row = Price.objects.filter(organisation_id=organisation_id, pk=pk).first()
    if row is None:
        raise CommandError(f"There is no price {pk}.")
    return row


def _note(what: str, row: Price) -> None:
    record(
        actor=ACTOR, action=f"price.{what}", target=f"price:{row.pk}", organisation_id=row.organisation_id,
        detail={"deployment": row.deployment},
    )  # fmt: skip
    bump_config()


def _terms(pairs: list[str]) -> dict[str, Any]:
    terms: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign:
            raise CommandError(f"{pair!r} is no NAME=VALUE.")
        try:
            terms[name] = json.loads(value) if name == "tiers" else value
        except json.JSONDecodeError:
            raise CommandError('Write tiers as JSON: [{"above_tokens_in": 200000, …}].') from None
    return terms
