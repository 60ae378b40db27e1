"""`manage.py policy_approve ask legal@2 --by ann`, `… approve legal@2 --by paul`, `… send-back legal@2 --by paul --reason …`"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from routing.approvals import services
from routing.approvals.models import PolicyApproval
from routing.management.policies import PolicyCommand, person_named, version_named
from routing.selectors.policies import label_of
from routing.services.evidence import ask_for_approval
from switchyard.tenancy.models import Organisation

ACTIONS = ("list", "ask", "approve", "send-back", "withdraw")


class Command(PolicyCommand):
    help = "Four eyes: list what waits, ask, approve, send back, withdraw."

    def add_own(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=ACTIONS)
        parser.add_argument("policy", nargs="?", help="An id, or org@3, legal@2.")
        parser.add_argument("--by", help="User name of who asks or decides.")
        parser.add_argument(
            "--reason", default="", help="The note of who asks; why it is approved or sent back."
        )

    def answer(self, organisation: Organisation, **options: Any) -> tuple[Any, list[str]]:
        action = options["action"]
        if action == "list":
            rows = PolicyApproval.objects.filter(policy__organisation=organisation, state="requested")
            found = list(
                rows.select_related("policy__lob", "requested_by", "decided_by").order_by("requested_at")
            )
            return [_shown(row) for row in found], [_line(row) for row in found] or ["Nothing waits."]
        if not options["policy"]:
            raise CommandError("Name a version.")
        policy = version_named(organisation, options["policy"])
        user = person_named(organisation, options["by"], needed=True)
        if user is None:
            raise CommandError("Say who does this with --by NAME.")
        if action == "ask":
            row = ask_for_approval(policy=policy, user=user, note=options["reason"])
            return _shown(row), [_line(row)]
        waiting = policy.approvals.filter(state="requested").first()
        if waiting is None:
            raise CommandError("Nobody has asked for approval of this version.")
        if action == "approve":
            row = services.approve(approval=waiting, user=user, reason=options["reason"])
        elif action == "send-back":
            row = services.send_back(approval=waiting, user=user, reason=options["reason"])
        else:
            row = services.withdraw(approval=waiting, user=user)
        return _shown(row), [_line(row)]


def _shown(row: PolicyApproval) -> dict[str, Any]:
    return {
        "id": row.pk, "policy": row.policy_id, "label": label_of(row.policy), "state": row.state,
        "stale": row.state in ("requested", "approved") and services.is_stale(row), "note": row.note, "reason": row.reason,
        "requested_by": row.requested_by.username if row.requested_by else None,
        "decided_by": row.decided_by.username if row.decided_by else None, "evidence": row.evidence,
    }  # fmt: skip


def _line(row: PolicyApproval) -> str:
    told = _shown(row)
    stale = " (its proof is out of date)" if told["stale"] else ""
    return f"{told['label']:<24} {row.state}{stale}  {row.pk}  {told['requested_by']}  {row.reason or row.note}".rstrip()
