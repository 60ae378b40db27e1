"""Why a candidate was passed over, a rule not reached or a rollout ended, in the reader's language.

Records and REST keep these sentences in English, as the engine wrote them; what isn't one of them (a condition) stays as it is.
"""

from __future__ import annotations

import re
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

_ALSO = "; allowed as fallback"
# What stands in a sentence's places, where it isn't any text.
_PLACES = {
    "n": r"\d+", "rows": r"\d+", "needed": r"\d+", "found": r"[\d.]+", "floor": r"[\d.]+", "error": r"\w+", "what": r"[^:]+",
    "new": r"\S.*?", "old": r".+?", "e": r"\S+",
}  # fmt: skip
_SENTENCES = (
    gettext_noop("unknown or disabled deployment"),
    gettext_noop("not for this line of business"),
    gettext_noop("does not do %(task)s"),
    gettext_noop("no price"),
    gettext_noop("no node, so no cost"),
    gettext_noop("invariant: no organisation policy is live"),
    gettext_noop("invariant: residency: rule %(rule)s tests what the data is and could not be evaluated"),
    gettext_noop("invariant: %(name)s (could not be evaluated)"),
    gettext_noop("invariant: %(name)s"),
    gettext_noop("quality floor: %(rows)s evaluated rows, %(needed)s needed"),
    gettext_noop("quality floor: %(found)s is under %(floor)s"),
    gettext_noop("accuracy objective: it burns the workload's error budget"),
    gettext_noop("not named by rule %(rule)s"),
    gettext_noop("no rule matched"),
    gettext_noop("(%(n)s earlier rules)"),
    gettext_noop("none of them matched"),
    gettext_noop("skipped: %(error)s in its condition"),
    gettext_noop("another version was published"),
    gettext_noop("another version is live"),
    gettext_noop("it is no longer live"),
    gettext_noop("watched for %(n)s days without harm"),
    gettext_noop("%(what)s: %(new)s against %(old)s, over %(n)s requests (evidence %(e)s to 1)."),
)


def _pattern(words: str) -> re.Pattern[str]:
    """What a sentence looks like with its places filled."""
    parts = re.split(r"%\((\w+)\)s", words)
    parts[::2] = map(re.escape, parts[::2])
    parts[1::2] = [f"(?P<{name}>{_PLACES.get(name, '.+')})" for name in parts[1::2]]
    return re.compile("".join(parts), re.DOTALL)


_COMPILED = tuple((_pattern(words), words) for words in _SENTENCES)
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
            told = _(words) % values if values else _(words)
            return _("%(reason)s; allowed as fallback") % {"reason": told} if also else told
    return text
