"""Price sheets in force and before, exchange rates, import from a file, history by another sheet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext
from rest_framework.exceptions import ValidationError

from costs.api.price_fields import PPM_PER_PERCENT
from costs.api.price_tools import Reprice, preview, shown
from costs.charts import prices as figures
from costs.models import ExchangeRate, Price
from costs.sheets import deployments as known
from costs.sheets.amounts import TIER_AMOUNTS
from costs.sheets.book import decode
from costs.sheets.imports import Diff, as_csv, diff_prices, import_prices
from costs.sheets.reprice import ROLLUPS, Preview
from switchyard.core.clock import now
from switchyard.core.errors import SwitchyardError, ValidationFailed
from switchyard.core.money import format_usd
from switchyard.dashboards.pages import Ask, Column, PageRequest, Panel, page, require_role, show_panels
from switchyard.dashboards.typed import keep_typed, typed_in

DRAFT = {
    "input_usd_per_mtok": gettext_lazy("Input, USD per million tokens"),
    "output_usd_per_mtok": gettext_lazy("Output, USD per million tokens"),
    "cached_input_usd_per_mtok": gettext_lazy("Cached input, USD per million"),
    "cache_write_usd_per_mtok": gettext_lazy("Cache write, USD per million"),
    "minimum_usd": gettext_lazy("At least, USD a request"),
}
NOTHING = (None, "", "–", "0", "0.00")


@page
def prices(request: PageRequest) -> HttpResponse:
    """A file that is sent shows its difference; the difference that was shown comes back to be applied."""
    return _load(request) if request.method == "POST" else _shown(request)


def _shown(request: PageRequest, diff: Diff | None = None) -> HttpResponse:
    ask = request.ask
    rows = _sheets(ask)
    panels = {
        "prices": partial(_in_force, rows), "price-history": partial(_history, rows),
        "exchange-rates": partial(_rates, ask),
    }  # fmt: skip
    found, fault = _asked(request.GET, ask)
    if found is not None:
        panels = {
            "repriced": partial(_repriced, found),
            "repriced-classes": partial(_classes, found),
        } | panels
    context = {
        "names": sorted({row.deployment for row in rows}), "sheets": rows, "given": request.GET, "fault": fault,
        "typed": typed_in(request, "prices") or request.POST,
        "draft": DRAFT.items(), "found": found, "may_import": _may_import(ask), "diff": diff,
        "changes": _changes(diff) if diff else None, "refused": _refused(diff) if diff else None,
        "pending": as_csv(diff.pending) if diff is not None and not diff.refused else "",
    }  # fmt: skip
    return show_panels(request, "costs/prices.html", panels, context)


def _load(request: PageRequest) -> HttpResponse:
    scope = require_role(request, "finance")
    if scope.lob_ids is not None or scope.organisation_id is None:
        raise PermissionDenied
    asked: dict[str, Any] = {
        "organisation_id": scope.organisation_id,
        "source": request.POST.get("source", ""),
    }
    try:
        if "apply" in request.POST:
            diff = import_prices(actor=request.user, text=request.POST.get("text", ""), kind="csv", **asked)
            messages.success(request, _("%(count)s price sheets begin.") % {"count": len(diff.pending)})
            return redirect("dashboards:prices")
        file = request.FILES.get("file")
        if file is None:
            raise ValidationFailed(_("Choose a file."))
        kind = "litellm" if str(file.name).endswith(".json") else "csv"
        diff = diff_prices(
            text=decode(file.read()), kind=kind, named=_map(request.POST.get("map", "")), **asked
        )
    except SwitchyardError as error:
        messages.error(request, error.message)
        keep_typed(request, "prices")
        return redirect("dashboards:prices")
    return _shown(request, diff)


def _map(text: str) -> dict[str, list[str]]:
    """Lines of model=deployment. Raises ValidationFailed."""
    found: dict[str, list[str]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        model, sign, name = line.rpartition("=")
        if not sign:
            raise ValidationFailed(_("Write a line as model=deployment: %(line)s") % {"line": line[:80]})
        found.setdefault(model.strip(), []).append(name.strip())
    return found


def _may_import(ask: Ask) -> bool:
    held = ask.scope.narrowed("finance")
    return held.organisation_id is not None and held.lob_ids is None


def _sheets(ask: Ask) -> list[Price]:
    names = known.visible(ask.scope)
    rows = Price.objects.filter(organisation_id=ask.scope.organisation_id)
    return list(rows if names is None else rows.filter(deployment__in=names))


def _asked(query: Mapping[str, str], ask: Ask) -> tuple[Preview | None, str]:
    """The preview that the address asks for, and what is wrong with the question."""
    if not query.get("of"):
        return None, ""
    body: dict[str, Any] = {"deployments": [query["of"]], "from": ask.period.start, "to": ask.period.end}
    if query.get("by"):
        body["price"] = query["by"]
    else:
        body["prices"] = {name: query[name] for name in DRAFT if query.get(name)}
    if ask.lob:
        body["lob"] = ask.lob
    try:
        form = Reprice(data=body)
        form.is_valid(raise_exception=True)
        return preview(scope=ask.scope, values=form.validated_data), ""
    except SwitchyardError as error:
        return None, error.message
    except ValidationError as error:
        return None, _first(error.detail)
    except Http404:
        return None, _("There is no such sheet or deployment.")


def _first(detail: Any, path: str = "") -> str:
    while isinstance(detail, dict | list) and detail:
        key = next(iter(detail)) if isinstance(detail, dict) else 0
        path, detail = (key if isinstance(key, str) else path), detail[key]
    return f"{DRAFT.get(path, path)}: {detail}"


def _amounts(row: Price) -> list[str]:
    names = (
        *TIER_AMOUNTS, "audio_input_nusd_per_munit", "audio_output_nusd_per_munit", "search_nusd_per_munit",
        "call_nusd_per_munit",
    )  # fmt: skip
    plain = ["–" if (v := getattr(row, n)) is None else format_usd(v) for n in names]
    batch = "–" if row.batch_ppm is None else f"{row.batch_ppm / PPM_PER_PERCENT:g} %"
    second = str(shown("usd_per_second", row.second_nusd_per_munit))
    return [*plain, second, format_usd(row.minimum_nusd), batch, _tiers(row.tiers)]


def _plain(name: str, value: Any) -> str:
    return _tiers(value) if name == "tiers" else str(shown(name, value) or "–")


def _tiers(tiers: list[dict[str, int]]) -> str:
    told = []
    for tier in tiers:
        told.append(f"> {tier['above_tokens_in']:,}: " + " / ".join(
            format_usd(tier[n]) for n in ("input_nusd_per_munit", "output_nusd_per_munit") if n in tier))  # fmt: skip
    return "; ".join(told) or "–"


def _columns() -> list[Column]:
    return [
        Column(_("Deployment")), Column(_("Currency")), Column(_("Input per million")), Column(_("Cached input")),
        Column(_("Cache write")), Column(_("Output per million")), Column(_("Reasoning")),
        Column(_("Audio input")), Column(_("Audio output")), Column(_("Million searches")), Column(_("Million calls")),
        Column(_("A second")), Column(_("At least")), Column(_("Batch pays")), Column(_("Long inputs")),
        Column(_("From"), "time"), Column(_("Until"), "time"), Column(_("Source")), Column(_("Version"), detail=True),
    ]  # fmt: skip


def _used(rows: list[list[Any]]) -> list[Column]:
    """Meters that no sheet here prices are in the CSV alone."""
    columns = _columns()
    empty = [all(row[i] in NOTHING for row in rows) for i in range(len(columns))]
    return [
        replace(column, detail=column.detail or none) for column, none in zip(columns, empty, strict=True)
    ]


def _row(row: Price) -> list[Any]:
    return [
        row.deployment,
        row.currency,
        *_amounts(row),
        row.valid_from,
        row.valid_to,
        row.source,
        row.version,
    ]


def _in_force(rows: list[Price]) -> Panel:
    at = now()
    held = [row for row in rows if row.valid_from <= at and (row.valid_to is None or row.valid_to > at)]
    told = [_row(row) for row in held]
    return Panel(
        "prices", _("Prices in force"), _used(told), told, wide=True,
        note=_("Amounts are in the sheet's currency, those of tokens per million of them. "
               "An external deployment without a sheet in force gets no traffic."),
        empty=_("No price sheet is in force."),
    )  # fmt: skip


def _history(rows: list[Price]) -> Panel:
    at = now().isoformat()
    steps = [
        {
            "key": row.deployment, "start": row.valid_from.isoformat(), "end": (row.valid_to or now()).isoformat(),
            "input_nusd": row.input_nusd_per_munit, "output_nusd": row.output_nusd_per_munit,
        }
        for row in rows if row.valid_from.isoformat() <= at
    ]  # fmt: skip
    told = [_row(row) for row in rows]
    return Panel(
        "price-history", _("All sheets"), _used(told), told,
        figures.price_history(steps) if steps else None, wide=True, empty=_("There is no price sheet yet."),
        note=_("What was in force is never edited: a new sheet begins where the one before it ends."),
    )  # fmt: skip


def _rates(ask: Ask) -> Panel:
    rows = ExchangeRate.objects.filter(organisation_id=ask.scope.organisation_id)
    return Panel(
        "exchange-rates", _("Exchange rates"),
        [Column(_("Currency")), Column(_("From"), "time"), Column(_("One unit in US dollars")), Column(_("Source"))],
        [[row.currency, row.valid_from, format_usd(row.nusd_per_unit), row.source] for row in rows],
        empty=_("Every sheet is in US dollars, so there is no rate."), wide=True,
    )  # fmt: skip


def _changes(diff: Diff) -> Panel:
    kinds = {"added": _("new"), "changed": _("changes"), "same": _("stays")}
    rows: list[list[Any]] = []
    for line in diff.lines:
        head = [kinds[line.kind], line.deployment, line.model, line.line]
        changes = line.changes if line.kind != "same" else ()
        rows += [
            [*head, c.name, _plain(c.name, c.old), _plain(c.name, c.new),
             None if c.percent is None else float(c.percent) / 100] for c in changes
        ] or [[*head, "–", "–", "–", None]]  # fmt: skip
    return Panel(
        "price-diff", _("What the file would change"),
        [Column(_("What")), Column(_("Deployment")), Column(_("Model")), Column(_("Line"), "count"), Column(_("Price")),
         Column(_("Now")), Column(_("Then")), Column(pgettext("of a figure", "By"), "rate")],
        rows, wide=True,
        empty=_("The file prices none of the deployments here."),
    )  # fmt: skip


def _refused(diff: Diff) -> Panel:
    return Panel(
        "price-refused", _("Refused rows"), [Column(_("Line"), "count"), Column(_("Model")), Column(_("Why"))],
        [[r.line, r.model, r.reason] for r in diff.refused], empty=_("No row is refused."),
    )  # fmt: skip


def _figures(rows: list[dict[str, Any]], *names: str) -> list[list[Any]]:
    return [
        [*(row[name] for name in names), row["booked_nusd"], row["repriced_nusd"], row["difference_nusd"],
         row["difference_nusd"] / row["booked_nusd"] if row["booked_nusd"] else None]
        for row in rows
    ]  # fmt: skip


def _money() -> list[Column]:
    return [Column(_("Booked"), "usd"), Column(_("By this sheet"), "usd"), Column(_("Difference"), "usd"),
            Column(_("In percent"), "rate")]  # fmt: skip


def _repriced(found: Preview) -> Panel:
    by_rollup = _("From roll-ups: exact to half a nano-dollar for each call and token class.")
    by_call = _("Call by call, because the sheet has %(what)s.") % {"what": found.why}
    how = by_rollup if found.method == ROLLUPS else by_call
    preview = _("A preview: nothing in the books changes.")
    return Panel(
        "repriced", _("This period by another sheet"),
        [Column(_("Deployment")), Column(_("Line of business")), *_money()], _figures(found.rows(), "deployment", "lob"),
        note=f"{how} {preview}", wide=True,
    )  # fmt: skip


def _classes(found: Preview) -> Panel:
    rows = found.classes()
    return Panel(
        "repriced-classes", _("By token class"), [Column(_("Class")), *_money()], _figures(rows, "key"),
        figures.repriced(rows) if rows else None, wide=True,
    )  # fmt: skip
