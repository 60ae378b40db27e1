"""What a budget's row must keep to, said once for REST, the admin and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from switchyard.tenancy.models import ApiKey, Application, LineOfBusiness
from switchyard.tenancy.querysets import Scope


def budget_faults(values: Mapping[str, Any]) -> dict[str, str]:
    """Field → what is wrong with it; empty when the values go together."""
    faults = {}
    rollover = values.get("rollover") or False
    if rollover and values.get("period") == "total":
        faults["rollover"] = _(
            "A budget without an end has no period to carry over to: choose day, week or month."
        )
    if values.get("rollover_cap_nusd") is not None and not rollover:
        faults["rollover_cap_nusd"] = _("Nothing is carried over: switch rollover on, or leave the cap out.")
    if values.get("covers") == "labels":
        if values.get("action") == "throttle":
            faults["action"] = _("Labels have no rate to slow down: choose warn or stop.")
        if str(values.get("scope", "")).startswith(("application:", "key:")):
            faults["scope"] = _("Labels are booked to a line of business: write organisation or lob:<slug>.")
    return faults


def lob_of_scope(scope: Scope, name: str) -> LineOfBusiness | None:
    """The line of business a budget's scope lies in; None for the organisation. ValueError, in words, for what isn't
    there or not the asker's."""
    kind, _colon, value = name.partition(":")
    value = value.replace("\x00", "")  # no column holds it
    if name == "organisation":
        if scope.lob_ids is not None:
            raise ValueError(_("The organisation's budget takes a role in all lines of business."))
        return None
    if kind == "lob":
        row: Any = LineOfBusiness.objects.for_tenant(scope).filter(slug=value).first()
        found = row
    elif kind == "application":
        row = Application.objects.for_tenant(scope).filter(slug=value).select_related("lob").first()
        found = row and row.lob
    elif kind == "key":
        row = ApiKey.objects.for_tenant(scope).filter(pk=value).select_related("application__lob").first()
        found = row and row.application.lob
    else:
        raise ValueError(_("Expected organisation, lob:<slug>, application:<slug> or key:<id>."))
    if row is None:
        raise ValueError(_("There is no %(kind)s %(value)r.") % {"kind": kind, "value": value})
    return found
