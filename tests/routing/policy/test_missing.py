"""A live policy whose deployment is taken away: said where it is read, refused when published again, passed over meanwhile."""

import pytest

from modelhub.models import Deployment
from routing.contracts import Facts
from routing.policy.facts import whole
from routing.selectors.policies import missing_deployments
from routing.selectors.world import snapshot_of
from routing.services import policies
from switchyard.core.errors import ValidationFailed
from tests.routing.test_policy_services import company, draft  # noqa: F401

pytestmark = pytest.mark.django_db


def test_a_deleted_deployment_is_named_and_passed_over(company):  # noqa: F811
    policies.publish(policy=draft(company), user=None)
    assert "customer-service@1" not in missing_deployments(company.pk)
    Deployment.objects.filter(organisation=company, name="ext-mini").delete()
    assert missing_deployments(company.pk)["customer-service@1"] == ["ext-mini"]
    world = snapshot_of(company)
    facts = Facts(whole({"workload.name": "support-intent", "workload.task": "classification", "workload.tier": "edge",
                         "lob.slug": "customer-service"}))  # fmt: skip
    told = world.policies.decide(
        facts, list(world.deployments.values()), lob="customer-service", worst_case={}
    )
    assert "ext-mini" not in [hop.deployment for hop in told.hops]
    with pytest.raises(ValidationFailed, match="Unknown deployment 'ext-mini'"):
        draft(company)
