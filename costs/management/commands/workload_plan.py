"""Plans on the command line: `manage.py workload_plan support-intent --life-months 12 --people-usd-per-month 900`."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs.api.plans import PlanSerializer
from costs.models import WorkloadPlan
from costs.plans import delete_plan, set_plan
from switchyard.core.errors import SwitchyardError
from switchyard.tenancy.models import Organisation, Workload

OPTIONS = {
    "life_months": "model_life_months", "data_usd": "data_usd", "people_usd_per_month": "people_usd_per_month",
    "latency_ms": "latency_target_ms", "event": "event_name", "event_usd": "event_value_usd", "source": "source",
}  # fmt: skip


class Command(BaseCommand):
    help = "Show a workload's plan, change it by the options given, or remove it; without a workload, list all plans."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workload", nargs="?")
        parser.add_argument("--organisation", help="Slug; the only one when left out.")
        parser.add_argument("--life-months", type=int)
        parser.add_argument("--data-usd")
        parser.add_argument("--people-usd-per-month")
        parser.add_argument("--latency-ms", type=int)
        parser.add_argument("--event")
        parser.add_argument("--event-usd")
        parser.add_argument("--source")
        parser.add_argument("--remove", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        organisation = organisation_named(options["organisation"])
        plans = WorkloadPlan.objects.filter(organisation=organisation).select_related("lob")
        values = {field: options[name] for name, field in OPTIONS.items() if options[name] is not None}
        if options["workload"] is None:
            if values or options["remove"]:
                raise CommandError("Name the workload whose plan this is.")
            return self._show([PlanSerializer(plan).data for plan in plans])
        workload = workload_named(organisation, options["workload"])
        plan = plans.filter(workload=workload.name).first()
        if options["remove"]:
            if plan is None:
                raise CommandError(f"{workload.name} has no plan.")
            return delete_plan(plan=plan, actor="command line")
        if values:
            try:
                plan = set_plan(workload=workload, actor="command line", **values)
            except SwitchyardError as error:
                raise CommandError(error.message) from None
        return self._show(PlanSerializer(plan).data if plan else None)

    def _show(self, what: Any) -> None:
        self.stdout.write(json.dumps(what, default=str, ensure_ascii=False, indent=1))


def organisation_named(slug: str | None) -> Organisation:
    found = list(Organisation.objects.filter(slug=slug) if slug else Organisation.objects.all()[:2])
    if len(found) != 1:
        raise CommandError(f"There is no organisation {slug!r}." if slug else "Name one with --organisation.")
    return found[0]


def workload_named(organisation: Organisation, name: str) -> Workload:
    found = Workload.objects.filter(organisation=organisation, name=name).select_related("lob").first()
    if found is None:
        raise CommandError(f"There is no workload {name!r}.")
    return found
