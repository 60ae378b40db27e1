"""`manage.py policy_diff legal@1 legal@2`"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from routing.management.policies import PolicyCommand, version_named
from routing.services.evidence import changes
from routing.services.policies import diff
from switchyard.tenancy.models import Organisation


class Command(PolicyCommand):
    help = "Two versions of one scope: by rule, then by text. By effect: policy_what_if NEW --against OLD."

    def add_own(self, parser: ArgumentParser) -> None:
        parser.add_argument("old", help="An id, or org@3, legal@2.")
        parser.add_argument("new")

    def answer(self, organisation: Organisation, **options: Any) -> tuple[Any, list[str]]:
        old, new = (version_named(organisation, options[name]) for name in ("old", "new"))
        if old.lob_id != new.lob_id:
            raise CommandError("Two versions of different documents: name two of one.")
        rules, text = changes(old, new), diff(old, new)
        told = {"against": old.pk, "policy": new.pk, "rules": rules, "diff": text}
        return told, [*(_line(change) for change in rules), *(["", *text] if text else ["No difference."])]


def _line(change: dict[str, Any]) -> str:
    details = "".join(f"\n    {d['field']}: {d['old'] or '–'} → {d['new'] or '–'}" for d in change["details"])
    return f"{', '.join(change['kinds'])}: {change['part']} {change['name']!r}{details}"
