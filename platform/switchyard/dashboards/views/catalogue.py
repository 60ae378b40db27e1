"""The vendor catalogue: where vendors and servers answer, dated list prices with their source, and adding one of them."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from costs.models import Node
from modelhub.catalogue.adding import Wanted, add, plan
from modelhub.catalogue.entries import Vendor, vendor_named, vendors
from switchyard.core.errors import NotFound, SwitchyardError
from switchyard.core.money import usd_to_nusd
from switchyard.dashboards.pages import Column, Link, PageRequest, Panel, page, require_role, show_panels
from switchyard.dashboards.typed import keep_typed, typed_in

KEEPERS = ("operator",)
PLACE = re.compile(r"\{([a-z]+)\}")
PRICED = (
    "input_usd_per_mtok",
    "cached_input_usd_per_mtok",
    "cache_write_usd_per_mtok",
    "output_usd_per_mtok",
)


@page
def catalogue(request: PageRequest) -> HttpResponse:
    return show_panels(request, "modelhub/catalogue.html", {"vendors": _vendors}, {})


@page
def vendor(request: PageRequest, slug: str) -> HttpResponse:
    """One vendor with its models; a form that is sent shows what would be made, and the shown comes back to be made."""
    try:
        entry = vendor_named(slug)
    except NotFound:
        raise Http404 from None
    if request.method == "POST":
        return _wished(request, entry)
    return _shown(request, entry)


def _shown(request: PageRequest, entry: Vendor, wanted: Wanted | None = None) -> HttpResponse:
    nodes = (
        Node.objects.filter(organisation_id=request.ask.scope.organisation_id)
        if _may_add(request)
        else Node.objects.none()
    )
    context = {
        "vendor": entry, "places": PLACE.findall(entry.base_url), "may_add": _may_add(request), "wanted": wanted,
        "typed": typed_in(request, "catalogue") or request.POST, "sheet": _sheet(wanted) if wanted else None,
        "nodes": nodes if entry.kind == "server" else [],
    }  # fmt: skip
    return show_panels(request, "modelhub/vendor.html", {"models": partial(_models, entry)}, context)


def _wished(request: PageRequest, entry: Vendor) -> HttpResponse:
    """Whoever adds an upstream adds it for the whole organisation. A key is typed once, beside what is made with it."""
    scope = require_role(request, *KEEPERS)
    if scope.lob_ids is not None or scope.organisation_id is None:
        raise PermissionDenied
    given = request.POST
    try:
        wanted = plan(
            vendor=entry.slug, model=given.get("model", "").strip(), name=given.get("name", "").strip(),
            places={name: given.get(f"place-{name}", "").strip() for name in PLACE.findall(entry.base_url)
                    if given.get(f"place-{name}", "").strip()},
            base_url=given.get("base_url", "").strip(),
        )  # fmt: skip
        if "apply" not in given:
            return _shown(request, entry, wanted)
        row = add(
            organisation_id=scope.organisation_id, wanted=wanted, actor=request.user,
            api_key=given.get("api_key", "").strip(), node=given.get("node", ""),
        )  # fmt: skip
    except SwitchyardError as error:
        messages.error(request, error.message)
        keep_typed(request, "catalogue")
        return redirect("dashboards:vendor", entry.slug)
    done = _("%(name)s is there. Ask its server what it supports before you send it work.")
    messages.success(request, done % {"name": row.name})
    return redirect("dashboards:upstreams")


def _may_add(request: PageRequest) -> bool:
    held = request.ask.scope.narrowed(*KEEPERS)
    return held.organisation_id is not None and held.lob_ids is None


def _vendors() -> Panel:
    kinds = {"vendor": _("vendor"), "server": _("server of your own")}
    columns = [
        Column(_("Who")), Column(_("Kind")), Column(_("Answers at")), Column(_("Key")), Column(_("Models with a price"), "count"),
        Column(_("As of"), "word"), Column(_("Note")),
    ]  # fmt: skip
    rows = [
        [Link(v.name, f"{v.slug}/"), kinds[v.kind], v.base_url, v.header or v.auth, len(v.models), v.as_of, v.note or None]
        for v in vendors()
    ]  # fmt: skip
    note = _(
        "Facts with their source and date; nothing is asked of anybody. A contract may say other prices: import your own."
    )
    return Panel("vendors", _("Vendors and servers"), columns, rows, wide=True, note=note)


def _models(entry: Vendor) -> Panel:
    tasks = {"chat": _("chat"), "completion": _("completion"), "embedding": _("embedding")}
    columns = [
        Column(_("Model")), Column(_("Task")), Column(_("Input per million"), "usd"), Column(_("Cached input"), "usd"),
        Column(_("Cache write"), "usd"), Column(_("Output per million"), "usd"), Column(_("Batch pays"), "word"),
        Column(_("Longest input"), "count"), Column(_("Longest output"), "count"), Column(_("Source")),
        Column(_("As of"), "word"),
    ]  # fmt: skip
    rows = [
        [m.model, tasks[m.task], *(usd_to_nusd(m.prices[p]) if p in m.prices else None for p in PRICED),
         f"{m.batch_pct} %" if m.batch_pct else None, m.max_input_tokens, m.max_output_tokens, m.source, m.as_of]
        for m in entry.models
    ]  # fmt: skip
    empty = _(
        "Nobody wrote its prices down: enter or import them, for without a sheet an external deployment gets no traffic."
    )
    if entry.kind == "server":
        empty = _("A server of your own costs what its machine costs: name the machine when you add it.")
    return Panel("models", _("Models and list prices"), columns, rows, wide=True, empty=empty)


def _sheet(wanted: Wanted) -> Panel:
    """The price sheet that would begin."""
    words = {
        "input_usd_per_mtok": _("Input per million"), "cached_input_usd_per_mtok": _("Cached input"),
        "cache_write_usd_per_mtok": _("Cache write"), "output_usd_per_mtok": _("Output per million"),
    }  # fmt: skip
    rows: list[list[Any]] = [
        [words[name], usd_to_nusd(wanted.prices[name]), None] for name in PRICED if name in wanted.prices
    ]
    if wanted.batch_pct:
        rows.append([_("Batch pays"), None, f"{wanted.batch_pct} %"])
    return Panel(
        "sheet", _("Its price sheet"), [Column(_("Price")), Column(_("US dollars"), "usd"), Column(_("Share"), "word")], rows,
        note=wanted.source,
    )  # fmt: skip
