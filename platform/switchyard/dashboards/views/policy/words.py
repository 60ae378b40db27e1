"""What the verifier found, as a person says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from routing.policy import said

HOPS = {
    "first": gettext_lazy("as the first choice"),
    "fallback": gettext_lazy("as a fallback"),
    "retry": gettext_lazy("as a retry"),
    "shadow": gettext_lazy("as a shadow beside the answer"),
    "judge": gettext_lazy("to be judged"),
    "cache": gettext_lazy("into the cache"),
    "log": gettext_lazy("into a log"),
    "training": gettext_lazy("into training data"),
}
NAMES = {
    "first": gettext_lazy("first choice"),
    "fallback": gettext_lazy("fallback"),
    "retry": gettext_lazy("retry"),
    "shadow": gettext_lazy("shadow"),
    "judge": gettext_lazy("judge"),
    "cache": gettext_lazy("cache"),
    "log": gettext_lazy("log"),
    "training": gettext_lazy("training"),
}
HELD = {
    "first": gettext_lazy("The gateway asks at this hop and passes over it."),
    "fallback": gettext_lazy("The gateway asks at this hop and passes over it."),
    "retry": gettext_lazy("The gateway asks before it tries again, and does not."),
    "shadow": gettext_lazy("The gateway asks at this hop: no shadow is sent."),
    "cache": gettext_lazy("The gateway asks before it keeps an answer, and keeps nothing of it."),
    "log": gettext_lazy("The gateway asks before it keeps a text or an answer, and keeps nothing of it."),
    "training": gettext_lazy("It is asked before anything is learned from it, and nothing is."),
}


def counter_example_in_words(example: Mapping[str, Any]) -> str:
    """The request that breaks an invariant, as one paragraph."""
    facts = example["facts"]
    told = {
        "workload": facts.get("workload.name", ""), "lob": facts.get("lob.slug", ""),
        "sensitivity": facts.get("data.sensitivity", ""), "deployment": example["deployment"], "side": example["side"],
        "hop": HOPS.get(example["hop"], example["hop"]), "invariant": example["invariant"], "rule": example["rule"],
    }  # fmt: skip
    if not told["workload"]:
        who = _("A request of %(lob)s that names no workload, with %(sensitivity)s data,") % told
    else:
        who = _("A request of %(lob)s for %(workload)s, with %(sensitivity)s data,") % told
    if not told["rule"]:
        what = _("would reach %(deployment)s (%(side)s) %(hop)s, whatever the rules say.") % told
    elif not told["deployment"]:
        what = _("would go %(hop)s by the rule “%(rule)s”.") % told
    else:
        what = _("would reach %(deployment)s (%(side)s) %(hop)s by the rule “%(rule)s”.") % told
    return " ".join((who, what, _("The invariant “%(invariant)s” forbids it.") % told))


def warnings_of(report: Mapping[str, Any]) -> list[str]:
    """A stored report's warnings in the reader's language; one of an earlier release says them in English."""
    try:
        return [said.in_words(said.from_kept(parts), _) for parts in report["warning_parts"]]
    except (KeyError, TypeError, ValueError):
        return list(report.get("warnings", []))


def hops_by_invariant(verdicts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """[{"invariant", "held", "hops": [{"hop", "name", "verdict", "cases", "words"}]}] of what the verifier says of each hop.

    `held`: at how many hops the gateway itself must hold it.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for row in verdicts:
        words = counter_example_in_words(row["example"]) if row["example"] else ""
        if row["verdict"] == "held":
            words = f"{words} {HELD.get(row['hop'], '')}"
        found.setdefault(row["invariant"], []).append({
            "hop": row["hop"], "name": NAMES.get(row["hop"], row["hop"]), "verdict": row["verdict"], "cases": row["cases"],
            "words": words,
        })  # fmt: skip
    return [
        {"invariant": name, "held": sum(r["verdict"] == "held" for r in rows), "hops": rows} for name, rows in found.items()
    ]  # fmt: skip
