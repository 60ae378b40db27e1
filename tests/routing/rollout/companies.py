"""One company for tests of rollouts: a line of business whose version 1 keeps everything at home, live for three weeks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from routing.models import RolloutWatch
from switchyard.core.clock import now
from tests import factories as make

HOME = "rules:\n  - name: all\n    when: true\n    route: {prefer: [private-sparse]}\n"
OUT = "rules:\n  - name: all\n    when: true\n    route: {prefer: [ext-mini], fallback: [private-sparse]}\n"


def make_company() -> Any:
    organisation = make.make_organisation()
    lob = make.make_lob(organisation, "customer-service")
    make.make_workload(lob, "support-intent")
    make.make_deployment(organisation, "private-sparse", "private")
    make.make_deployment(organisation, "ext-mini")
    make.make_policy(organisation)
    make.make_policy(organisation, HOME, lob)
    RolloutWatch.objects.filter(policy__organisation=organisation).update(began_at=now() - timedelta(days=20))
    return organisation


def lob_of(company: Any) -> Any:
    return company.lobs.get(slug="customer-service")
