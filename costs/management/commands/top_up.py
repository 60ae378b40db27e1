"""Top-ups on the command line: `manage.py top_up ask lob:legal 250 "quarter end" --as fiona`."""

from __future__ import annotations

from argparse import ArgumentParser
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs import budgets
from costs.models import Budget, BudgetExtra
from switchyard.core.errors import SwitchyardError
from switchyard.core.money import format_usd, usd_to_nusd
from switchyard.tenancy.models import User
from switchyard.tenancy.querysets import Scope, scope_of

ASKS, DECIDES = ("finance", "operator"), ("finance",)


class Command(BaseCommand):
    help = "Ask for, list, approve or refuse top-ups of budgets, as one of the organisation's people."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--as", dest="person", required=True, help="User name of who acts.")
        does = parser.add_subparsers(dest="action", required=True)
        ask = does.add_parser("ask")
        ask.add_argument("budget", help="Scope, such as lob:legal, or the budget's number.")
        ask.add_argument("amount_usd")
        ask.add_argument("reason")
        ask.add_argument("--period", choices=["current", "next"], default="current")
        does.add_parser("list")
        for decision in ("approve", "refuse"):
            does.add_parser(decision).add_argument("top_up", type=int)

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["person"], is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active user {options['person']!r}.")
        try:
            getattr(self, f"_{options['action']}")(user, options)
        except SwitchyardError as error:
            raise CommandError(error.message) from None

    def _scope(self, user: User, *roles: str) -> Scope:
        scope = scope_of(user).narrowed(*roles) if roles else scope_of(user)
        if scope.organisation_id is None:
            raise CommandError(f"{user.username} lacks the role for this: {' or '.join(roles) or 'any'}.")
        return scope

    def _ask(self, user: User, options: dict[str, Any]) -> None:
        name, rows = options["budget"], Budget.objects.for_tenant(self._scope(user, *ASKS))
        found = list(rows.filter(pk=int(name)) if name.isdecimal() else rows.filter(scope=name)[:2])
        if len(found) != 1:
            raise CommandError(
                f"{name!r} names {'more than one budget: use its number' if found else 'no budget'}."
            )
        try:
            amount = usd_to_nusd(Decimal(options["amount_usd"]))
        except (InvalidOperation, ValueError, OverflowError):
            raise CommandError(f"{options['amount_usd']!r} is no amount in dollars.") from None
        extra = budgets.request_top_up(
            budget=found[0], user=user, amount_nusd=amount, reason=options["reason"], period=options["period"]
        )
        self._show(extra)

    def _list(self, user: User, options: dict[str, Any]) -> None:
        rows = BudgetExtra.objects.for_tenant(self._scope(user)).filter(kind="top_up")
        for extra in rows.select_related("budget", "requested_by")[:100]:
            self._show(extra)

    def _approve(self, user: User, options: dict[str, Any]) -> None:
        self._show(budgets.approve_top_up(extra=self._found(user, options), user=user))

    def _refuse(self, user: User, options: dict[str, Any]) -> None:
        self._show(budgets.refuse_top_up(extra=self._found(user, options), user=user))

    def _found(self, user: User, options: dict[str, Any]) -> BudgetExtra:
        rows = BudgetExtra.objects.for_tenant(self._scope(user, *DECIDES)).filter(kind="top_up")
        extra = rows.filter(pk=options["top_up"]).first()
        if extra is None:
            raise CommandError(
                f"There is no top-up {options['top_up']}, or it is not {user.username}'s to decide."
            )
        return extra

    def _show(self, extra: BudgetExtra) -> None:
        who = extra.requested_by.username if extra.requested_by else "somebody who left"
        self.stdout.write(
            f"{extra.pk}\t{extra.budget}\t${format_usd(extra.amount_nusd)}\tfrom {extra.period_start:%Y-%m-%d %H:%M} UTC\t"
            f"{extra.state}\tasked by {who}: {extra.reason}"
        )
