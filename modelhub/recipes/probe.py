"""A deployment's server is asked what it supports; what was found is kept on the deployment."""

from __future__ import annotations

from typing import Any

from modelhub.models import Deployment
from modelhub.services.probing import probe_deployment
from switchyard.core.errors import NotFound
from switchyard.jobs.runner import Context


def run(context: Context) -> dict[str, Any]:
    """params: {"deployment"}. Result: what was found by name, the warnings, what it used there. Twice is harmless."""
    name = context.params["deployment"]
    row = Deployment.objects.filter(organisation=context.job.organisation, name=name).first()
    if row is None:
        raise NotFound(f"The deployment {name!r} is gone.")
    context.progress(0.05, f"asking {row.name}")
    told = probe_deployment(row)
    found = {what: one["support"] for what, one in told["found"].items()}
    return {"deployment": row.name, "found": found, "warnings": told["warnings"], "used": told["used"]}
