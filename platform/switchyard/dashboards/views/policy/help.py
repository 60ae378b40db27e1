"""Beside the editor: every fact with its meaning and an example, and pieces of policy to begin with."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from routing.policy.examples import example_of
from routing.policy.facts import describe


def facts_by_group() -> list[tuple[str, list[dict[str, Any]]]]:
    """[(group, facts)]: what REST lists, with meanings in the reader's language."""
    meanings = _meanings()
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in describe():
        shown = row | {
            "meaning": meanings.get(row["name"], row["meaning"]),
            "example": example_of(row["name"]),
        }
        shown["everywhere"] = row["in"] != "invariants"
        groups.setdefault(row["name"].partition(".")[0], []).append(shown)
    return list(groups.items())


def _meanings() -> dict[str, str]:
    return {
        "request.model": _("The `model` of the request as written."),
        "request.wish": _("A deployment the caller named, or empty."),
        "request.stream": _("Whether a stream was asked for."),
        "request.tokens_in": _("Tokens of input, estimated as bytes / 4."),
        "request.max_tokens": _("The cap on output tokens."),
        "request.has_tools": _("Whether tools were offered."),
        "request.language": _("Guessed from the script."),
        "request.difficulty": _("A guess in [0, 1] from length and structure."),
        "workload.name": _("Empty without a workload."),
        "workload.task": _("What is asked for."),
        "workload.tier": _("core, edge or experiment."),
        "workload.sensitivity": _("The class declared on the workload."),
        "lob.slug": _("Slug of the line of business."),
        "lob.application": _("Slug of the application."),
        "data.sensitivity": _("The highest of workload, header and inspection."),
        "data.entities": _("Kinds of personal data and credentials found."),
        "data.masked": _("Whether personal data is replaced by placeholders in what the target sees."),
        "budget.used_pct": _("The fullest budget on the path, in per cent."),
        "private.queue_s": _("Wait at the private side, seconds."),
        "quality.accuracy": _("Best evaluated accuracy of the workload."),
        "quality.rows": _("Rows that figure rests on."),
        "time.hour": _("0..23, UTC."),
        "time.weekday": _("0 = Monday .. 6."),
        "target.name": _("The deployment that would see the data."),
        "target.side": _("private or external."),
        "target.model": _("Its model."),
        "target.region": _("Its region."),
        "hop": _("The step of execution."),
    }


def snippets(private: str, external: str, organisation: bool) -> list[tuple[str, str]]:
    """[(title, text)] with the company's own deployments in them; each begins with a list item at two blanks."""
    found = [
        (_("Sensitive data stays home"), _rule(
            "sensitive data stays home", "data.sensitivity >= confidential", f"{{prefer: [{private}]}}")),
        (_("The cheapest that is good enough"), _rule(
            "the cheapest that is good enough", 'workload.tier == "edge" && data.sensitivity < confidential',
            f"{{choose: cheapest, among: [{external}, {private}], quality_floor: 0.96, fallback: [{private}]}}")),
        (_("Ask the small model first"), _rule(
            "ask the small model first", 'workload.name == "WORKLOAD" && data.sensitivity < confidential',
            f'{{cascade: [{external}, {private}], until: "confidence >= 0.90"}}')),
        (_("A tenth to the candidate"), _rule(
            "a tenth to the candidate", 'workload.tier == "experiment"',
            f"{{split: {{{private}: 0.9, {external}: 0.1}}}}")),
        (_("Overflow while the private side queues"), _rule(
            "overflow while the private side queues", "private.queue_s > 2.0 && data.sensitivity < confidential",
            f"{{prefer: [{external}], fallback: [{private}]}}")),
        (_("Home once the budget is nearly spent"), _rule(
            "home once the budget is nearly spent", "budget.used_pct >= 90.0", f"{{prefer: [{private}]}}")),
    ]  # fmt: skip
    if organisation:
        never = 'data.sensitivity >= confidential && target.side == "external"'
        found.insert(0, (
            _("An invariant: what never may leave"),
            f"  - name: confidential data stays home\n    never: {never}\n",
        ))  # fmt: skip
    return found


def _rule(name: str, when: str, route: str) -> str:
    return f"  - name: {name}\n    when: {when}\n    route: {route}\n"
