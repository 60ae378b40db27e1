"""What the verifier found, as a person says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

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


def counter_example_in_words(example: Mapping[str, Any]) -> str:
    """The request that breaks an invariant, as one paragraph."""
    facts = example["facts"]
    said = {
        "workload": facts.get("workload.name", ""), "lob": facts.get("lob.slug", ""),
        "sensitivity": facts.get("data.sensitivity", ""), "deployment": example["deployment"], "side": example["side"],
        "hop": HOPS.get(example["hop"], example["hop"]), "invariant": example["invariant"], "rule": example["rule"],
    }  # fmt: skip
    if not said["workload"]:
        who = _("A request of %(lob)s that names no workload, with %(sensitivity)s data,") % said
    else:
        who = _("A request of %(lob)s for %(workload)s, with %(sensitivity)s data,") % said
    if not said["deployment"]:
        what = _("would go %(hop)s by the rule “%(rule)s”.") % said
    else:
        what = _("would reach %(deployment)s (%(side)s) %(hop)s by the rule “%(rule)s”.") % said
    return " ".join((who, what, _("The invariant “%(invariant)s” forbids it.") % said))
