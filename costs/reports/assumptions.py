"""The assumptions of purchase advice, one a row: what it is taken to be, who says so, and how to say otherwise."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from costs.planning.advice import Terms
from costs.planning.devices import Devices


def _plain() -> list[tuple[str, str, str, str]]:
    """(parameter, what it is, unit, where the default comes from)."""
    ours = _("ours: change it")
    return [
        ("factor", _("arrivals, as a multiple of those measured"), "×", _("today's")),
        ("target_ms", _("latency target"), "ms", _("the strictest of the workloads' plans, else one second")),
        ("percentile", _("share of answers within the target"), "%", ours),
        ("precision", _("precision of matrix products, where a device has it"), "", ours),
        ("efficiency", _("share of its peak that a device attains"), "", ours),
        ("overhead_us", _("fixed time of an answer on an accelerator"), "µs", ours),
        ("utilisation", _("most of its time that a machine is planned to work"), "", ours),
        ("life_months", _("months until a bought machine is written off"), _("months"), ours),
        ("usd_per_kwh", _("electricity tariff"), "$/kWh", ours),
        ("pue", _("power usage effectiveness"), "×", ours),
        ("host_usd", _("machine around a bought accelerator"), "$", ours),
        ("host_watts", _("power of that machine"), "W", ours),
        ("upkeep_usd_per_month", _("people and rack for each machine"), "$", ours),
        ("move_usd", _("moving the work to another vendor, once"), "$", ours),
    ]


def listed(terms: Terms, devices: Devices, changed: set[str]) -> list[dict[str, Any]]:
    """Rows {"parameter", "name", "value", "unit", "origin", "source"}; origin is `changed` where the reader said it."""
    rows = [
        {
            "parameter": name, "name": what, "value": str(getattr(terms, name)), "unit": unit,
            "origin": "changed" if name in changed else "assumption", "source": source,
        }
        for name, what, unit, source in _plain()
    ]  # fmt: skip
    for profile in devices.profiles.values():
        own: list[tuple[str, Any, str, str, str]] = [
            ("price_usd", profile.price_usd, "$", profile.price_source, _("price of %(device)s")),
            (
                "cloud_usd",
                profile.cloud_usd_per_hour,
                "$/h",
                profile.cloud_source,
                _("hourly rate of %(device)s"),
            ),
            ("watts", profile.watts, "W", profile.source, _("power of %(device)s")),
        ]
        for name, default, unit, source, what in own:
            given = getattr(terms, name).get(profile.id)
            value = default if given is None else given
            rows.append(
                {
                    "parameter": f"{name}.{profile.id}", "name": what % {"device": profile.name},
                    "value": "" if value is None else str(value), "unit": unit,
                    "origin": _origin(name, given is not None, name in changed, profile.origin),
                    "source": _("what a node of yours costs now") if given is not None and name not in changed else source,
                }
            )  # fmt: skip
    rows.append(
        {
            "parameter": "", "name": _("what an answer spends its time on, by operator"), "value": "", "unit": "",
            "origin": "measured", "source": devices.mix_source,
        }
    )  # fmt: skip
    rows.append(
        {
            "parameter": "", "name": _("operations for a byte moved, by operator"), "value": "", "unit": "",
            "origin": "derived", "source": devices.intensity_source,
        }
    )  # fmt: skip
    return rows


def _origin(name: str, given: bool, changed: bool, of_profile: str) -> str:
    if given:
        return "changed" if changed else "measured"
    return of_profile if name == "watts" else "assumption"
