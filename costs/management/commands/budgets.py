"""Budgets on the command line: `manage.py budgets create lob:legal 250 --period month --action stop`."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.forms import model_to_dict

from costs.api.budgets import BudgetSerializer
from costs.budgets.changes import remove_budget
from costs.budgets.forms import BudgetForm
from costs.management.organisation import add_organisation, organisation_named
from costs.models import Budget
from switchyard.tenancy.models import Organisation
from switchyard.tenancy.querysets import Scope

ACTOR = "command line"
DEFAULTS = {"period": "month", "timezone": "UTC", "action": "stop", "covers": "all", "warn_pct": 80}
SHOWN = {"limit_nusd": "limit_usd", "rollover_cap_nusd": "rollover_cap_usd"}
FIELDS = (
    "limit_nusd", "period", "timezone", "action", "on_outage", "warn_pct", "rollover", "rollover_cap_nusd",
)  # fmt: skip


class Command(BaseCommand):
    help = "List budgets, make one, change one by the options given, or remove one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_organisation(parser)
        does = parser.add_subparsers(dest="does", required=True)
        does.add_parser("list")
        create = does.add_parser("create")
        create.add_argument("scope", help="organisation, lob:<slug>, application:<slug> or key:<id>.")
        create.add_argument("limit_nusd", metavar="limit_usd")
        create.add_argument("--covers", choices=["all", "labels"])
        self._add_values(create)
        change = does.add_parser("change")
        change.add_argument("budget", help="Its scope, such as lob:legal, or its number.")
        change.add_argument("--limit-usd", dest="limit_nusd")
        self._add_values(change)
        does.add_parser("remove").add_argument("budget", help="Its scope or its number.")

    @staticmethod
    def _add_values(parser: ArgumentParser) -> None:
        parser.add_argument("--period", choices=Budget.PERIODS)
        parser.add_argument("--timezone", help="A name of the IANA database; UTC when left out.")
        parser.add_argument("--action", dest="action", choices=Budget.ACTIONS)
        parser.add_argument(
            "--on-outage", choices=["refuse", "allow"], help="When the counters are out of reach."
        )
        parser.add_argument("--warn-pct", type=int)
        parser.add_argument("--rollover", choices=["on", "off"])
        parser.add_argument(
            "--rollover-cap-usd", dest="rollover_cap_nusd", help="At most this; '' takes the cap off."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        organisation = organisation_named(options["organisation"])
        getattr(self, f"_{options['does']}")(organisation, options)

    def _list(self, organisation: Organisation, options: dict[str, Any]) -> None:
        rows = Budget.objects.filter(organisation=organisation).select_related("lob").order_by("scope", "pk")
        self._show(BudgetSerializer(rows, many=True).data)

    def _create(self, organisation: Organisation, options: dict[str, Any]) -> None:
        typed = DEFAULTS | {"scope": options["scope"]} | _typed(options)
        if options["covers"]:
            typed["covers"] = options["covers"]
        self._keep(organisation, Budget(), typed)

    def _change(self, organisation: Organisation, options: dict[str, Any]) -> None:
        budget = _found(organisation, options["budget"])
        before = model_to_dict(budget, fields=["scope", "covers", *FIELDS])
        form = BudgetForm(instance=budget)
        known = {name: form[name].value() if name in SHOWN else value for name, value in before.items()}
        self._keep(organisation, budget, known | _typed(options))

    def _remove(self, organisation: Organisation, options: dict[str, Any]) -> None:
        budget = _found(organisation, options["budget"])
        remove_budget(budget=budget, actor=ACTOR)
        self.stdout.write(f"{budget} is removed.")

    def _keep(self, organisation: Organisation, budget: Budget, typed: dict[str, Any]) -> None:
        whole = Scope(organisation.pk, None, None, frozenset({"finance"}))
        form = BudgetForm(typed, instance=budget, asker=whole)
        if not form.is_valid():
            faults = [
                f"{SHOWN.get(name, name)}: {' '.join(map(str, told))}" for name, told in form.errors.items()
            ]
            raise CommandError("\n".join(faults))
        self._show(BudgetSerializer(form.keep(ACTOR)).data)

    def _show(self, what: Any) -> None:
        self.stdout.write(json.dumps(what, default=str, ensure_ascii=False, indent=1))


def _typed(options: dict[str, Any]) -> dict[str, Any]:
    """What was given, as the form takes it."""
    given = {name: options[name] for name in FIELDS if options.get(name) is not None}
    if "rollover" in given:
        given["rollover"] = given["rollover"] == "on"
    if "on_outage" in given:
        given["on_outage"] = "allow" if given["on_outage"] == "allow" else ""
    return given


def _found(organisation: Organisation, name: str) -> Budget:
    """By number, else by scope. CommandError when there is none, or more than one."""
    rows = Budget.objects.filter(organisation=organisation).select_related("lob")
    found = list(rows.filter(pk=int(name)) if name.isdecimal() else rows.filter(scope=name)[:2])
    if len(found) != 1:
        raise CommandError(
            f"{name!r} names {'more than one budget: use its number' if found else 'no budget'}."
        )
    return found[0]
