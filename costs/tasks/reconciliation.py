"""Each day's bills of those vendors whose servers offer one."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from celery import shared_task
from django.apps import apps

from costs.alerts import raise_alert
from costs.models import BillCheck
from costs.reconciliation.fetching import NoBill
from costs.reconciliation.service import reconcile_usage
from costs.reconciliation.vendors import origin_of
from costs.rollups import day_of
from switchyard.core.clock import now
from switchyard.core.errors import SwitchyardError
from switchyard.core.money import format_usd

log = logging.getLogger(__name__)


@shared_task(name="costs.reconcile_bills")
def reconcile_bills() -> int:
    """Yesterday (UTC) of every external deployment with a bill to fetch; estimates are corrected, what is left raises an
    alert for a person. Gives how many bills were held against the books."""
    end = day_of(now())
    deployments = apps.get_model("modelhub", "Deployment").objects.filter(side="external", enabled=True)
    one_a_vendor = {
        (row.organisation_id, origin_of(row.base_url)): row for row in deployments.order_by("-pk")
    }  # the oldest speaks for all at its address
    return sum(_one(row, end - timedelta(days=1), end) for row in one_a_vendor.values())


def _one(row: object, start: datetime, end: datetime) -> bool:
    organisation_id, name = row.organisation_id, row.name  # type: ignore[attr-defined]
    try:
        check = reconcile_usage(
            organisation_id=organisation_id,
            deployment=name,
            start=start,
            end=end,
            correct="estimates",
            actor="schedule",
        )
    except NoBill:
        return False
    except SwitchyardError as error:
        log.warning("The bill of %s for %s can't be checked: %s", name, start.date(), error.message)
        return False
    if check.left_nusd:
        _alert(check)
    return True


def _alert(check: BillCheck) -> None:
    worst = next((f for f in check.findings if f["state"] != "corrected"), None)
    cause = f"{worst['cause']}: {worst['model']}, {worst['lob'] or 'nobody named'}" if worst else ""
    raise_alert(
        organisation_id=check.organisation_id, kind="bill_gap", subject=check.name, cause=cause,
        unique_key=f"bill:{check.organisation_id}:{check.name}:{check.start:%Y%m%d}",
        message=f"The bill of {check.name} for {check.start:%Y-%m-%d} differs from the books by "
        f"{format_usd(check.left_nusd)} USD.",
    )  # fmt: skip
