"""Each day's bills of those vendors whose servers offer one."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from celery import shared_task
from django.apps import apps
from django.utils.translation import gettext as _

from costs.alerts import raise_alert
from costs.reconciliation.fetching import NoBill
from costs.reconciliation.service import NothingBilled, reconcile_usage
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
    except NothingBilled as error:  # something is booked, or it is another day's bill: a person has to look
        words = _("The bill of %(name)s was refused. %(why)s") % {"name": name, "why": error.message}
        _alert(organisation_id, name, start, words, cause=_("no line in the period"))
        return False
    except SwitchyardError as error:
        log.warning("The bill of %s for %s can't be checked: %s", name, start.date(), error.message)
        return False
    if check.left_nusd:
        worst = next((f for f in check.findings if f["state"] != "corrected"), None)
        nobody = _("nobody named")
        cause = f"{worst['cause']}: {worst['model']}, {worst['lob'] or nobody}" if worst else ""
        left = format_usd(check.left_nusd)
        words = _("The bill of %(name)s for %(day)s differs from the books by %(left)s USD.") % {
            "name": name, "day": f"{start:%Y-%m-%d}", "left": left,
        }  # fmt: skip
        _alert(organisation_id, name, start, words, cause)
    return True


def _alert(organisation_id: int, name: str, start: datetime, message: str, cause: str) -> None:
    raise_alert(
        organisation_id=organisation_id, kind="bill_gap", subject=name, cause=cause, message=message,
        unique_key=f"bill:{organisation_id}:{name}:{start:%Y%m%d}",
    )  # fmt: skip
