"""What every page shares: who asks, what of, for when; panels with a chart, its table and its CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, NamedTuple

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from costs.reading import one_reading
from routing.approvals.selectors import APPROVERS, waiting_for
from switchyard.core.money import format_usd
from switchyard.dashboards import navigation
from switchyard.dashboards.period import NAMES, ZONES, Period, period_from
from switchyard.tenancy.models import LineOfBusiness, Organisation
from switchyard.tenancy.querysets import Scope, scope_of


@dataclass(frozen=True)
class Ask:
    """One reader's question: their scope, the period, and one line of business or all they may see."""

    scope: Scope
    period: Period
    lob: str | None
    lobs: Sequence[LineOfBusiness]

    def report(self, **extra: Any) -> dict[str, Any]:
        """The keywords every function of costs.reports takes."""
        return {
            "scope": self.scope, "start": self.period.start, "end": self.period.end, "lob": self.lob,
            "tz": self.period.tz, **extra,
        }  # fmt: skip


class Link(NamedTuple):
    """A text cell that leads on; its CSV is the text alone."""

    text: str
    url: str


@dataclass(frozen=True)
class Column:
    """kind: text (or a Link) | word (text on one line) | usd | count | rate | number | time | verdict. Money cells are
    integer nano-dollars.

    `detail`: for those who calculate on; it stands in the CSV alone, so that the table fits its page.
    """

    title: Any
    kind: str = "text"
    detail: bool = False

    @property
    def numeric(self) -> bool:
        return self.kind in ("usd", "count", "rate", "number")


@dataclass(frozen=True)
class Panel:
    """A figure and its table twin; `name` is its anchor and its `?csv=`."""

    name: str
    title: Any
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    figure: Mapping[str, Any] | None = None
    note: Any = ""
    wide: bool = False
    empty: Any = ""

    @property
    def figure_id(self) -> str:
        return f"figure-{self.name}"

    @property
    def has_data(self) -> bool:
        return bool(self.rows)

    @property
    def shown(self) -> list[Column]:
        return [column for column in self.columns if not column.detail]

    @property
    def more_in_csv(self) -> bool:
        return any(column.detail for column in self.columns)

    @property
    def paired(self) -> list[list[tuple[Column, Any]]]:
        rows = (zip(self.columns, row, strict=True) for row in self.rows)
        return [[(column, cell) for column, cell in row if not column.detail] for row in rows]


class PageRequest(HttpRequest):
    """What views decorated with @page receive."""

    ask: Ask


def page(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Login, scope and question; somebody without an organisation meets the first-run or the no-access page."""

    @login_required
    @wraps(view)
    def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        scope = scope_of(request.user)  # type: ignore[arg-type]
        lobs = list(LineOfBusiness.objects.for_tenant(scope))
        lob = request.GET.get("lob") or None
        if lob is not None and lob not in {row.slug for row in lobs}:
            raise Http404
        request.ask = Ask(scope, period_from(request.GET), lob, lobs)  # type: ignore[attr-defined]
        if scope.organisation_id is None or not lobs:
            return _first_steps(request, scope)
        if request.method not in ("GET", "HEAD"):
            return view(request, *args, **kwargs)
        with one_reading():
            return view(request, *args, **kwargs)

    return inner


def _first_steps(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Nothing to show yet: how to begin for those who may, who to ask for the others."""
    may_begin = request.user.is_superuser or scope.has_role("operator")  # type: ignore[union-attr]
    has_organisation = Organisation.objects.exists()
    context = {"may_begin": may_begin, "has_organisation": has_organisation}
    return show(request, "dashboards/first_run.html", context, status=200 if may_begin else 403)


def require_role(request: Any, *roles: str) -> Scope:
    """The part of the reader's scope in which they hold one of the roles (administrators hold all).

    Raises PermissionDenied when there is none. Writes look their rows up in this part: somebody who administers one line
    of business and reads the others administers one.
    """
    narrowed = request.ask.scope.narrowed(*roles)
    if narrowed.organisation_id is None:
        raise PermissionDenied
    return narrowed


def show(request: HttpRequest, template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    ask: Ask = request.ask  # type: ignore[attr-defined]
    shared = {
        "ask": ask, "scope": ask.scope, "periods": NAMES.items(),
        "navigation": navigation.entries(request.path, _counts(request, ask)),
        "keep": _query(request, "period", "lob", "from", "to", "tz"), "zones": ZONES,
    }  # fmt: skip
    return render(request, template, shared | context, status=status)


def _counts(request: HttpRequest, ask: Ask) -> dict[str, int]:
    """What waits for this reader, by page; asked for those alone whom it can wait for."""
    if ask.scope.narrowed(*APPROVERS).organisation_id is None:
        return {}
    return {"policies": waiting_for(request.user, ask.scope).count()}  # type: ignore[arg-type]


def _query(request: HttpRequest, *names: str) -> str:
    """The named parts of the query string, for links that keep the question."""
    kept = request.GET.copy()
    for name in list(kept):
        if name not in names or not kept[name]:
            del kept[name]
    return kept.urlencode()


def show_panels(
    request: HttpRequest, template: str, panels: Mapping[str, Callable[[], Panel]], context: dict[str, Any]
) -> HttpResponse:
    """Render a page of panels, or one of them as CSV when the address says `csv=<name>`."""
    wanted = request.GET.get("csv")
    if wanted is not None:
        if wanted not in panels:
            raise Http404
        return csv_of(panels[wanted]())
    built = [build() for build in panels.values()]
    return show(request, template, {"panels": built, "panel": {p.name: p for p in built}} | context)


def csv_of(panel: Panel) -> HttpResponse:
    """Plain values: dollars as exact decimals, rates as numbers, times in ISO 8601."""
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="switchyard-{panel.name}.csv"'
    writer = csv.writer(response)
    writer.writerow([f"{c.title} (USD)" if c.kind == "usd" else str(c.title) for c in panel.columns])
    for row in panel.rows:
        writer.writerow([_plain(cell, column.kind) for cell, column in zip(row, panel.columns, strict=True)])
    return response


def _plain(cell: Any, kind: str) -> Any:
    """Text that a spreadsheet would run as a formula is kept as text."""
    if cell is None:
        return ""
    if isinstance(cell, Link):
        cell = cell.text
    if kind == "usd":
        return format_usd(round(cell))
    if kind == "time" and hasattr(cell, "isoformat"):
        return cell.isoformat()
    text = str(cell)
    return f"'{text}" if kind in ("text", "word") and text[:1] in "=+-@\t\r" else text
