"""Why a candidate was passed over, a rule not reached or a rollout ended, in the reader's language.

Records and REST keep these sentences in English, as the engine wrote them; what isn't one of them (a condition) stays as it is.
"""

from __future__ import annotations

import re
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

_ALSO = "; allowed as fallback"
_SENTENCES: tuple[tuple[str, str | Promise], ...] = (
    (r"unknown or disabled deployment", gettext_lazy("unknown or disabled deployment")),
    (r"not for this line of business", gettext_lazy("not for this line of business")),
    (r"does not do (?P<task>.+)", gettext_lazy("does not do %(task)s")),
    (r"no price", gettext_lazy("no price")),
    (r"no node, so no cost", gettext_lazy("no node, so no cost")),
    (r"invariant: no organisation policy is live", gettext_lazy("invariant: no organisation policy is live")),
    (
        r"invariant: residency: rule (?P<rule>.+) tests what the data is and could not be evaluated",
        gettext_lazy("invariant: residency: rule %(rule)s tests what the data is and could not be evaluated"),
    ),
    (
        r"invariant: (?P<name>.+) \(could not be evaluated\)",
        gettext_lazy("invariant: %(name)s (could not be evaluated)"),
    ),
    (r"invariant: (?P<name>.+)", gettext_lazy("invariant: %(name)s")),
    (
        r"quality floor: (?P<rows>\d+) evaluated rows, (?P<needed>\d+) needed",
        gettext_lazy("quality floor: %(rows)s evaluated rows, %(needed)s needed"),
    ),
    (
        r"quality floor: (?P<found>[\d.]+) is under (?P<floor>[\d.]+)",
        gettext_lazy("quality floor: %(found)s is under %(floor)s"),
    ),
    (
        r"accuracy objective: it burns the workload's error budget",
        gettext_lazy("accuracy objective: it burns the workload's error budget"),
    ),
    (r"not named by rule (?P<rule>.+)", gettext_lazy("not named by rule %(rule)s")),
    (r"no rule matched", gettext_lazy("no rule matched")),
    (r"\((?P<n>\d+) earlier rules\)", gettext_lazy("(%(n)s earlier rules)")),
    (r"none of them matched", gettext_lazy("none of them matched")),
    (
        r"skipped: (?P<error>\w+) in its condition",
        gettext_lazy("skipped: %(error)s in its condition"),
    ),
    (r"another version was published", gettext_lazy("another version was published")),
    (r"another version is live", gettext_lazy("another version is live")),
    (r"it is no longer live", gettext_lazy("it is no longer live")),
    (r"watched for (?P<n>\d+) days without harm", gettext_lazy("watched for %(n)s days without harm")),
    (
        r"(?P<what>[^:]+): (?P<new>\S.*?) against (?P<old>.+?), over (?P<n>\d+) requests \(evidence (?P<e>\S+) to 1\)\.",
        gettext_lazy("%(what)s: %(new)s against %(old)s, over %(n)s requests (evidence %(e)s to 1)."),
    ),
)
_COMPILED = tuple((re.compile(pattern, re.DOTALL), words) for pattern, words in _SENTENCES)
REFUSALS: dict[str, str | Promise] = {
    "denied": gettext_lazy("the policy says no"),
    "residency": gettext_lazy("nobody is left who may see the data"),
    "no_deployment": gettext_lazy("nobody is left who can answer"),
}


def reason_in_words(reason: Any) -> str:
    """One reason or line of a trace, or a refusal's word."""
    text = str(reason)
    if text in REFUSALS:
        return str(REFUSALS[text])
    said, also = (text.removesuffix(_ALSO), True) if text.endswith(_ALSO) else (text, False)
    for pattern, words in _COMPILED:
        match = pattern.fullmatch(said)
        if match:
            values = match.groupdict()
            if "what" in values:
                values["what"] = _(values["what"])  # a guard's name
            told = str(words) % values if values else str(words)
            return _("%(reason)s; allowed as fallback") % {"reason": told} if also else told
    return text
