"""Which deployments a line of business may name."""

from __future__ import annotations

from modelhub.models import Deployment
from switchyard.core.errors import InvalidRequest
from switchyard.tenancy.models import Workload


def check_usable(deployment: Deployment, workload: Workload) -> None:
    """A deployment of another organisation, or that isn't this line of business's, doesn't exist for the asker.

    Raises InvalidRequest.
    """
    lobs = set(deployment.lobs.values_list("pk", flat=True))
    if deployment.organisation_id != workload.organisation_id or (lobs and workload.lob_id not in lobs):
        raise InvalidRequest(f"There is no deployment {deployment.name!r} for {workload.lob.slug}.")
