"""Starting the gates of a version, and the bounds a line of business sets for them."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from modelhub.models import GateRule, ModelVersion
from modelhub.services.gates import replaced_by, rule_of
from modelhub.services.golden import needed_golden
from modelhub.services.job_costs import estimate
from switchyard.audit.services import record
from switchyard.core.errors import InvalidRequest
from switchyard.jobs.models import Job
from switchyard.jobs.services import submit_once
from switchyard.tenancy.models import LineOfBusiness, User

TASKS = ("classification", "prediction", "chat", "completion")
RULE_FIELDS = (
    "accuracy_tolerance", "most_cost_ratio", "most_latency_ratio", "most_p99_ms", "canary_percent", "canary_answers",
    "canary_judged", "canary_automatic",
)  # fmt: skip
BOUNDS = {
    "accuracy_tolerance": (0.0, 1.0), "most_cost_ratio": (0.01, 1000.0), "most_latency_ratio": (0.01, 1000.0),
    "most_p99_ms": (0.1, 600_000.0), "canary_percent": (1, 50), "canary_answers": (1, 10_000_000),
    "canary_judged": (0, 10_000_000),
}  # fmt: skip


def start_gates(*, version: ModelVersion, user: User | None, limit: int | None = None) -> Job:
    """Queue the gates of a version; one run at a time for each.

    Raises InvalidRequest for work that can't be judged, Conflict when its cost could not be charged.
    """
    workload = version.workload
    if workload.task not in TASKS:
        raise InvalidRequest(_("Work of the kind %(task)s has no gates.") % {"task": workload.task})
    golden, before = needed_golden(workload), replaced_by(version)
    names = [version.deployment.name, *([before.deployment.name] if before else [])]
    rows = min(golden.rows, limit or golden.rows)
    expected = estimate(
        kind="gates", organisation_id=workload.organisation_id, deployments=names, workload=workload.name,
        rows=rows * len(names),
    )  # fmt: skip
    params = {
        "version": version.pk,
        "workload": workload.name,
        "deployment": version.deployment.name,
        "rows": rows,
    }
    return submit_once(
        kind="gates", organisation=workload.organisation, lob=workload.lob, user=user, params=params | {"limit": limit},
        unique_key=f"gates:{version.pk}", estimated_nusd=expected,
    )  # fmt: skip


@transaction.atomic
def set_rule(*, lob: LineOfBusiness, user: User | None, **values: Any) -> GateRule:
    """Change a line of business's bounds. Raises InvalidRequest for one outside what makes sense."""
    rule = rule_of(lob)
    changed: dict[str, list[Any]] = {}
    for name, value in values.items():
        if name not in RULE_FIELDS:
            raise InvalidRequest(f"There is no bound {name!r}.", param=name)
        low, high = BOUNDS.get(name, (None, None))
        if value is not None and low is not None and high is not None and not low <= value <= high:
            raise InvalidRequest(
                _("%(name)s must lie between %(low)s and %(high)s.")
                % {"name": name, "low": low, "high": high},
                param=name,
            )
        if value is None and name != "most_p99_ms":
            raise InvalidRequest(_("%(name)s needs a value.") % {"name": name}, param=name)
        if getattr(rule, name) != value:
            changed[name] = [getattr(rule, name), value]
            setattr(rule, name, value)
    rule.save()
    if changed:
        record(
            actor=user, action="gates.changed", target=f"lob:{lob.slug}", lob=lob.slug, organisation_id=lob.organisation_id,
            detail=changed,
        )  # fmt: skip
    return rule
