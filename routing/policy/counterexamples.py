"""A request that an invariant stops, as one object: what it is, where it would go, by which rule and on which hop. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from routing.policy.said import Said, _


@dataclass(frozen=True, slots=True)
class CounterExample:
    """`deployment`: empty where we would keep it ourselves. `rule`: empty where it does not matter which one decides."""

    invariant: str
    rule: str
    path: str
    facts: Mapping[str, Any]
    deployment: str
    side: str
    hop: str
    masked: bool = False
    certain: bool = True  # `facts` are of a request that does it; else nobody could find one, nor rule it out

    def request(self) -> Said:
        facts = self.facts
        told = {"workload": repr(facts["workload.name"]), "lob": facts["lob.slug"], "tier": facts["workload.tier"],
                "sensitivity": facts["data.sensitivity"]}  # fmt: skip
        if not facts["workload.name"]:
            return _("a request of no workload (%(lob)s, %(tier)s, data %(sensitivity)s)") % told
        return _("a request of workload %(workload)s (%(lob)s, %(tier)s, data %(sensitivity)s)") % told

    def sentence(self) -> Said:
        """Why a document is refused."""
        told = {"rule": repr(self.rule), "request": self.request(), "hop": self.hop, "invariant": repr(self.invariant),
                "deployment": repr(self.deployment), "side": self.side}  # fmt: skip
        if not self.deployment:
            return _(
                "Rule %(rule)s would keep the answer to %(request)s for the same question again (%(hop)s), which the "
                "invariant %(invariant)s forbids. Leave `cache` out, or let the condition leave such requests out."
            ) % told  # fmt: skip
        if self.masked:
            return _(
                "Rule %(rule)s would send %(request)s to %(deployment)s (%(side)s) as %(hop)s, masked, which the invariant "
                "%(invariant)s forbids. Name other deployments, or let the rule's condition leave such requests out."
            ) % told  # fmt: skip
        return _(
            "Rule %(rule)s would send %(request)s to %(deployment)s (%(side)s) as %(hop)s, which the invariant "
            "%(invariant)s forbids. Name other deployments, or let the rule's condition leave such requests out."
        ) % told  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        return {
            "invariant": self.invariant, "rule": self.rule, "facts": dict(self.facts), "deployment": self.deployment,
            "side": self.side, "hop": self.hop, "masked": self.masked,
            "certain": self.certain,
        }  # fmt: skip
