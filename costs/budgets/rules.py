"""What a budget's row must keep to, said once for REST, the admin and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def budget_faults(values: Mapping[str, Any]) -> dict[str, str]:
    """Field → what is wrong with it; empty when the values go together."""
    faults = {}
    rollover = values.get("rollover") or False
    if rollover and values.get("period") == "total":
        faults["rollover"] = (
            "A budget without an end has no period to carry over to: choose day, week or month."
        )
    if values.get("rollover_cap_nusd") is not None and not rollover:
        faults["rollover_cap_nusd"] = "Nothing is carried over: switch rollover on, or leave the cap out."
    if values.get("covers") == "labels":
        if values.get("action") == "throttle":
            faults["action"] = "Labels have no rate to slow down: choose warn or stop."
        if str(values.get("scope", "")).startswith(("application:", "key:")):
            faults["scope"] = "Labels are booked to a line of business: write organisation or lob:<slug>."
    return faults
