"""A document while it is being written: what is wrong with it and where, and what the verifier says. Keeps nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from routing.policy.suggest import suggest
from routing.services.policies import check_document
from switchyard.core.errors import ValidationFailed
from switchyard.tenancy.models import LineOfBusiness, Organisation

MAX_FAULTS = 50


@dataclass(frozen=True, slots=True)
class Verdict:
    """`faults`: {path, line, column, message, counter_example?, suggestion?}; none = it may be saved as it stands."""

    faults: list[dict[str, Any]] = field(default_factory=list)
    rules: int = 0
    invariants: list[str] = field(default_factory=list)
    cases: int = 0
    warnings: list[str] = field(default_factory=list)
    left_out: int = 0  # faults beyond MAX_FAULTS
    hops: list[dict[str, Any]] = field(
        default_factory=list
    )  # routing.policy.hops.HopVerdict of each invariant and hop

    @property
    def holds(self) -> bool:
        return not self.faults

    def as_json(self) -> dict[str, Any]:
        return {
            "holds": self.holds, "faults": self.faults, "left_out": self.left_out, "rules": self.rules,
            "invariants": self.invariants, "cases": self.cases, "warnings": self.warnings,
            "hops": self.hops,
        }  # fmt: skip


def judge(*, organisation: Organisation, lob: LineOfBusiness | None, document: str) -> Verdict:
    """What saving would say, with something to click where the fault hints at it. Never raises for what was written."""
    try:
        parsed, proof = check_document(organisation=organisation, lob=lob, document=document)
    except ValidationFailed as error:
        faults = [_with_suggestion(document, fault) for fault in error.errors[:MAX_FAULTS]]
        return Verdict(faults=faults, left_out=max(0, len(error.errors) - MAX_FAULTS))
    return Verdict(
        rules=len(parsed.rules), invariants=[invariant.name for invariant in parsed.invariants], cases=proof.cases,
        warnings=list(proof.warnings), hops=[verdict.as_json() for verdict in proof.hops],
    )  # fmt: skip


def _with_suggestion(document: str, fault: dict[str, Any]) -> dict[str, Any]:
    found = suggest(document, fault)
    return fault | {"suggestion": found.as_json()} if found else dict(fault)
