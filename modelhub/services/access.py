"""Which deployments a line of business may name, and who may touch one that others use too."""

from __future__ import annotations

from modelhub.models import Deployment
from switchyard.core.errors import InvalidRequest
from switchyard.tenancy.models import Workload
from switchyard.tenancy.querysets import Scope


def check_usable(deployment: Deployment, workload: Workload) -> None:
    """A deployment of another organisation, or that isn't this line of business's, doesn't exist for the asker.

    Raises InvalidRequest.
    """
    lobs = set(deployment.lobs.values_list("pk", flat=True))
    if deployment.organisation_id != workload.organisation_id or (lobs and workload.lob_id not in lobs):
        raise InvalidRequest(f"There is no deployment {deployment.name!r} for {workload.lob.slug}.")


def owns(scope: Scope, deployment: Deployment) -> bool:
    """Whether everybody who uses it is in the scope: what others use too isn't touched by somebody limited to some lines of
    business. `scope` is the part in which the asker holds the role that it takes."""
    if deployment.organisation_id != scope.organisation_id:
        return False
    if scope.lob_ids is None:
        return True
    users = {lob.pk for lob in deployment.lobs.all()}
    return bool(users) and users <= scope.lob_ids
