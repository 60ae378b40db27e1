"""What the commands of policies share: whom they speak for, which version is meant, and faults with their place."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs.management.organisation import add_organisation, organisation_named
from routing.models import Policy
from routing.selectors.policies import label_of
from switchyard.core.errors import SwitchyardError, ValidationFailed
from switchyard.tenancy.models import LineOfBusiness, Organisation, User
from switchyard.tenancy.querysets import Scope


class PolicyCommand(BaseCommand):
    """`answer` gives JSON and the lines for people; what is refused ends with exit code 1 and every fault's place."""

    requires_system_checks: list[str] = []
    of_an_organisation = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_organisation(parser)
        parser.add_argument("--json", action="store_true", help="Answer as REST does.")
        self.add_own(parser)

    def add_own(self, parser: ArgumentParser) -> None:
        """The command's own arguments."""

    def answer(self, organisation: Organisation, **options: Any) -> tuple[Any, list[str]]:
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        slug = options.pop("organisation")
        organisation: Any = organisation_named(slug) if self.of_an_organisation else None
        try:
            told, lines = self.answer(organisation, **options)
        except ValidationFailed as error:
            raise CommandError("\n".join(located(fault) for fault in error.errors)) from None
        except SwitchyardError as error:
            raise CommandError(f"{error.message} [{error.code}]") from None
        text = (
            json.dumps(told, indent=2, ensure_ascii=False, default=str)
            if options["json"]
            else "\n".join(lines)
        )
        self.stdout.write(text)


def located(fault: dict[str, Any]) -> str:
    """One fault on a line, as compilers tell theirs."""
    where = f"{fault['line']}:{fault['column']}: " if fault.get("line") else ""
    return f"{where}{fault['message']}"


def everything(organisation: Organisation) -> Scope:
    """The command line sees all of an organisation."""
    return Scope(organisation.pk, None, None, frozenset({"admin"}))


def version_named(organisation: Organisation, name: str) -> Policy:
    """By its id, or as decisions name it: `org@3`, `legal@2`; `legal` alone means the live one."""
    rows = Policy.objects.filter(organisation=organisation).select_related(
        "lob", "organisation", "created_by"
    )
    slug, _at, number = name.partition("@")
    scope = rows.filter(lob=None) if slug in ("org", "organisation") else rows.filter(lob__slug=slug)
    found = rows.filter(pk=name).first()
    if found is None and number.isdecimal() and len(number) < 10:
        found = scope.filter(version=int(number)).first()
    elif found is None and not number:
        found = scope.filter(state="live").first()
    if found is None:
        raise CommandError(
            f"There is no version {name!r}: name an id, or org@3, legal@2. `policy_list` shows them."
        )
    return found


def lob_named(organisation: Organisation, slug: str | None) -> LineOfBusiness | None:
    """None for the organisation itself."""
    if not slug:
        return None
    found = LineOfBusiness.objects.filter(organisation=organisation, slug=slug).first()
    if found is None:
        raise CommandError(f"There is no line of business {slug!r}.")
    return found


def person_named(organisation: Organisation, name: str | None, *, needed: bool = False) -> User | None:
    """Who is answerable; None where nobody is named and nobody must be."""
    if not name:
        if needed:
            raise CommandError("Four eyes are on: say who does this with --by NAME.")
        return None
    found = User.objects.filter(username=name, memberships__organisation=organisation).first()
    if found is None:
        raise CommandError(f"Nobody called {name!r} belongs to {organisation.slug}.")
    return found


def text_of(path: str) -> str:
    """A file's text, or standard input's for `-`."""
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} can't be read: {error}.") from None


def json_of(text: str, what: str) -> Any:
    """JSON given on the command line; `@file` reads it from there."""
    try:
        return json.loads(text_of(text[1:]) if text.startswith("@") else text)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{what} is not JSON: {error}.") from None


def shown(policy: Policy) -> dict[str, Any]:
    return {
        "id": policy.pk, "label": label_of(policy), "lob": policy.lob.slug if policy.lob else None,
        "version": policy.version, "state": policy.state, "percent": policy.percent, "hash": policy.hash,
        "note": policy.note, "created_by": policy.created_by.username if policy.created_by else None,
        "created_at": policy.created_at, "published_at": policy.published_at, "report": policy.report,
    }  # fmt: skip


def hop_lines(hops: list[dict[str, Any]]) -> list[str]:
    """What the verifier says of each invariant at each hop, with the request that the gateway must stop there."""
    lines, invariant = [], None
    for row in hops:
        if row["invariant"] != invariant:
            invariant = row["invariant"]
            lines.append(f"{invariant}:")
        lines.append(f"  {row['hop']:<9} {row['verdict']:<7} {row['cases']} cases{_such_as(row['example'])}")
    return lines


def _such_as(example: dict[str, Any] | None) -> str:
    if example is None:
        return ""
    facts = example["facts"]
    who = facts.get("workload.name") or "no workload"
    where = example["deployment"] or "kept by us"
    by = f" by rule {example['rule']!r}" if example["rule"] else ""
    return f"; such as {who} ({facts['lob.slug']}, {facts['data.sensitivity']}) to {where}{by}"


def line_of(policy: Policy) -> str:
    share = f" {policy.percent} %" if policy.state == "live" and policy.percent < 100 else ""
    who = policy.created_by.username if policy.created_by else "–"
    return f"{label_of(policy):<24} {policy.state + share:<14} {policy.pk}  {who:<12} {policy.note}".rstrip()
