"""Devices and operators: what this installation computes on, and what was chosen for each operator and why."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext as _

from modelhub.selectors.devices import ANY, BOTH, SAME, MeasuredDevice, known_backends, measured_devices
from switchyard.dashboards.pages import Column, PageRequest, Panel, page, show_panels

COMMAND = "manage.py hal tune"


@page
def devices(request: PageRequest) -> HttpResponse:
    found = measured_devices()
    builders = {
        "device-profile": partial(_profiles, found),
        "device-backends": _backends,
        "operators": partial(_operators, found),
    }
    return show_panels(request, "modelhub/devices.html", builders, {"command": COMMAND})


def _not_yet() -> str:
    return _(
        "Nothing was measured here yet. The trainer does it within a quarter of an hour when no job waits; %(command)s "
        "on the machine that computes does it at once."
    ) % {"command": COMMAND}


def _profiles(found: list[MeasuredDevice]) -> Panel:
    rows = [row for device in found for row in _profile_rows(device.profile)]
    columns = (Column(_("Device")), Column(_("What")), Column(_("Value")))
    note = _(
        "As the machine says itself; the ceilings are measured, and everything else is judged against them."
    )
    return Panel("device-profile", _("Profile of the device"), columns, rows, note=note, empty=_not_yet())


def _profile_rows(profile: dict[str, Any]) -> list[tuple[Any, ...]]:
    name, speeds = profile["name"], profile.get("matmul_gflop_s") or {}
    units = profile.get("matrix_units") or {}
    copied = profile.get("copy_gb_s")
    facts = [
        (_("Kind"), profile["kind"]),
        (_("Cores, threads of one inference"), f"{profile['cores']}, {profile['threads']}"),
        (_("Memory"), f"{profile['memory_bytes'] / 2**30:,.1f} GiB"),
        (_("Instruction sets"), ", ".join(profile["isa"]) or "–"),
        (
            _("Matrix units"),
            ", ".join(f"{dtype} {'×'.join(map(str, shape))}" for dtype, shape in units.items()) or "–",
        ),
        (_("TF32"), _("yes") if profile.get("tf32") else _("the device has no such format")),
        (_("Copying memory"), f"{copied:,.1f} GB/s" if copied else "–"),
        *(
            (_("Matrix product, %(dtype)s") % {"dtype": dtype}, f"{speed:,.0f} GFLOP/s")
            for dtype, speed in speeds.items()
        ),
        (_("Origin, date"), f"{profile['origin']}, {profile['date']}"),
    ]
    return [(name, what, value) for what, value in facts]


def _backends() -> Panel:
    rows = [
        (
            row["name"],
            row["device"],
            _("present") if row["present"] else _("not present"),
            row["implementations"],
            row["detail"],
        )
        for row in known_backends()
    ]
    columns = (
        Column(_("Backend"), "word"), Column(_("Device"), "word"), Column(_("Here")), Column(_("Implementations"), "count"),
        Column(_("Detail")),
    )  # fmt: skip
    note = _("What is not present was not run and counts for nothing.")
    return Panel("device-backends", _("Backends"), columns, rows, note=note, empty=_not_yet())


def _operators(found: list[MeasuredDevice]) -> Panel:
    words = {SAME: _("same precision"), ANY: _("any precision"), BOTH: _("chosen"), "": ""}
    rows = [
        (
            c.operator, c.shape, c.implementation, c.dtype, words[c.chosen], c.ms, c.sigma_ms, c.times,
            "–" if c.error is None else f"{c.error:.1e}", f"{c.allowed:.0e}", c.note, device.profile["name"], c.version, c.date,
        )
        for device in found for c in device.candidates
    ]  # fmt: skip
    columns = (
        Column(_("Operator"), "word"), Column(_("Shape"), "word"), Column(_("Implementation"), "word"),
        Column(_("Precision"), "word"), Column(_("Chosen")), Column(_("Milliseconds"), "number"),
        Column(_("Standard deviation"), "number"), Column(_("Times as long"), "number"), Column(_("Error"), "word"),
        Column(_("Allowed"), "word"), Column(_("Note")), Column(_("Device"), detail=True), Column(_("Version"), detail=True),
        Column(_("Measured"), detail=True),
    )  # fmt: skip
    note = _(
        "Error: the largest difference to float64, relative to the largest magnitude; for INT8 the share of rows whose label "
        "changes. What fails is refused and never chosen. Times are of one call, beside the quickest float32 form."
    )
    return Panel("operators", _("Operators"), columns, rows, note=note, wide=True, empty=_not_yet())
