"""For the services of models: what uploaded rows hold, and whether policy lets them be trained on somewhere."""

from __future__ import annotations

from collections.abc import Sequence

from routing.contracts import Facts
from routing.inspection.collect import entities_in
from routing.inspection.sensitivity import classify
from routing.policy.candidates import broken_invariant
from routing.policy.facts import empty_facts
from routing.selectors.world import snapshot_of
from switchyard.tenancy.models import Organisation


class RowInspector:
    """Implements modelhub.services.inspection.Inspector."""

    def entities_in(self, text: str) -> set[str]:
        return entities_in(text)

    def classify(self, base: str, declared: str, entities: Sequence[str]) -> str:
        return classify(base, declared, entities)

    def why_not(
        self, *, organisation_id: int, lob: str, workload: str, deployment: str, sensitivity: str, entities: Sequence[str]
    ) -> str:  # fmt: skip
        """Policies as they are now: the hop is `training`. A deployment that gets no traffic gets no rows either."""
        world = snapshot_of(Organisation.objects.get(pk=organisation_id))
        target = world.deployments.get(deployment)
        if target is None or (target.lobs and lob not in target.lobs):
            return f"{deployment} is unknown, switched off or not for {lob}"
        facts = empty_facts()
        facts["lob"]["slug"] = lob
        facts["data"].update(sensitivity=sensitivity, entities=sorted(entities))
        known = world.workloads.get(workload)
        if known is not None:
            facts["workload"].update(
                name=known.name, task=known.task, tier=known.tier, sensitivity=known.sensitivity
            )
        return broken_invariant(world.policies.invariants, Facts(facts), target, "training") or ""  # type: ignore[attr-defined]
