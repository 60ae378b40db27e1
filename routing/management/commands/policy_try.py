"""`manage.py policy_try legal@2 --facts '{"workload": {"name": "clauses"}}'`"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from routing.management.policies import PolicyCommand, everything, json_of, lob_named, text_of, version_named
from routing.services.trial import try_policy, unsaved_version
from switchyard.tenancy.models import Organisation


class Command(PolicyCommand):
    help = "What a version, or a file, would decide for facts or for a request; nothing is sent, stored or logged."

    def add_own(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "policy", nargs="?", help="An id, or org@3, legal@2; legal alone is the live one."
        )
        parser.add_argument("--file", help="A document that isn't saved, in place of a version.")
        parser.add_argument(
            "--lob", help="Whose key sends the request; with --file also whose document it is."
        )
        parser.add_argument(
            "--organisations-document", action="store_true", help="--file is the organisation's."
        )
        parser.add_argument("--facts", help="JSON, or @file.")
        parser.add_argument("--endpoint", help="As on /v1: chat/completions, classifications, …")
        parser.add_argument("--body", help="JSON of the request, or @file.")

    def answer(self, organisation: Organisation, **options: Any) -> tuple[Any, list[str]]:
        if bool(options["facts"]) == bool(options["body"]):
            raise CommandError("Give --facts, or --endpoint with --body.")
        if bool(options["policy"]) == bool(options["file"]):
            raise CommandError("Name a version, or a --file.")
        unsaved = None
        if options["file"]:
            owner = None if options["organisations_document"] else options["lob"]
            policy, unsaved = unsaved_version(
                organisation, lob_named(organisation, owner), text_of(options["file"])
            )
        else:
            policy = version_named(organisation, options["policy"])
        if options["facts"]:
            asked: dict[str, Any] = {"facts": json_of(options["facts"], "--facts")}
        else:
            body = json_of(options["body"], "--body")
            asked = {"request": {"endpoint": options["endpoint"], "body": body, "lob": options["lob"] or ""}}
        told = try_policy(policy, asked, everything(organisation), unsaved=unsaved)
        return told, [*_lines(told), "", "live now:", *_lines(told["live"])]


def _lines(decision: dict[str, Any]) -> list[str]:
    hops = [
        f"  {hop['hop']:<9} {hop['deployment']:<24} {hop['side']:<9} at worst ${hop['worst_case_usd']}"
        for hop in decision["hops"]
    ]
    trace = [
        f"  {'✓' if step['matched'] else '·'} {step['rule']}: {step['reason']}" for step in decision["trace"]
    ]
    head = f"{decision['policy']['version']}, rule {decision['rule']!r}"
    chances = [
        f"  chance    {c['deployment']:<24} {_chance(c)}"
        for c in decision["candidates"]
        if decision["learned"]
    ]
    return [head, *chances, *(hops or [f"  refused: {decision['refusal']}"]), *trace]


def _chance(candidate: dict[str, Any]) -> str:
    if candidate["chance"] is None:
        return "unknown"
    by = "of this prompt" if candidate["judged_by"] == "prompt" else f"evaluated, {candidate['rows']} rows"
    floor = "" if candidate["threshold"] is None else f", threshold {candidate['threshold']:.3f}"
    return f"{candidate['chance']:.3f} ({by}){floor}"
