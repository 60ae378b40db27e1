"""Prices from a file: what would change first, then all of it in one transaction, or nothing."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from costs.models import Price
from costs.sheets.amounts import AMOUNTS, OUTSIDE, check_source, check_terms
from costs.sheets.book import read_book
from costs.sheets.currencies import USD, NoExchangeRate, check_currency, rate_in_force
from costs.sheets.dated import check_dates, create_price, opening, terms_of
from costs.sheets.deployments import external_models
from costs.sheets.in_force import rows_in_force
from costs.sheets.rows import Refusal, Row
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import ValidationFailed

DEFAULTS = dict.fromkeys(AMOUNTS) | {
    "input_nusd_per_munit": 0, "output_nusd_per_munit": 0, "call_nusd_per_munit": 0, "second_nusd_per_munit": 0,
    "minimum_nusd": 0, "batch_ppm": None, "tiers": [], "currency": USD,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """One amount, old → new; nano-units, parts per million, tiers, or a currency's code."""

    name: str  # as it is called outside
    old: Any
    new: Any

    @property
    def percent(self) -> Decimal | None:
        """By how much; None where there is nothing to compare with."""
        if not isinstance(self.old, int) or not isinstance(self.new, int) or self.old == 0:
            return None
        return (Decimal(self.new - self.old) * 100 / self.old).quantize(Decimal("0.01"))


@dataclass(frozen=True, slots=True)
class Line:
    """One deployment of the diff. kind: added | changed | same."""

    kind: str
    deployment: str
    model: str
    line: int
    begins: datetime
    terms: Mapping[str, Any]
    changes: tuple[Change, ...] = ()
    ignored: tuple[str, ...] = ()


@dataclass(slots=True)
class Diff:
    begins: datetime
    source: str
    digest: str
    lines: list[Line] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    others: int = 0
    not_in_force: int = 0
    unnamed: list[str] = field(default_factory=list)  # external deployments that the file says nothing of
    applied: bool = False

    @property
    def pending(self) -> list[Line]:
        return [line for line in self.lines if line.kind != "same"]


class _Targets:
    """Which deployments a row prices: those it names, those the caller's map names, else those of the vendor's model."""

    def __init__(self, organisation_id: int, named: Mapping[str, Any]) -> None:
        self.models = external_models(organisation_id)
        self.named: dict[str, list[str]] = {}
        for model, names in named.items():
            found = [names] if isinstance(names, str) else names
            if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
                raise ValidationFailed(
                    "Write the map as {vendor model: deployment or a list of them}.", param="map"
                )
            for name in found:
                if name not in self.models:
                    raise ValidationFailed(f"There is no external deployment {name!r}.", param="map")
            self.named[model] = list(found)

    def of(self, vendor: str, model: str, deployment: str) -> list[str]:
        if deployment:
            return [deployment] if deployment in self.models else []
        for key in (f"{vendor}/{model}", model):
            if key in self.named:
                return self.named[key]
        mapped = {name for names in self.named.values() for name in names}
        return [name for name, own in sorted(self.models.items()) if own == model and name not in mapped]

    def wanted(self, vendor: str, model: str, deployment: str) -> bool:
        return bool(self.of(vendor, model, deployment))


def diff_prices(
    *,
    organisation_id: int,
    text: str,
    kind: str,
    source: str,
    begins: datetime | None = None,
    named: Mapping[str, Any] | None = None,
) -> Diff:
    """What the file would change from `begins` (now) on; writes nothing. Raises ValidationFailed for a file that is none."""
    at = begins or now()
    targets = _Targets(organisation_id, named or {})
    book = read_book(text, kind=kind, at=at, wanted=targets.wanted)
    digest = hashlib.sha256(text.encode()).hexdigest()
    diff = Diff(
        at,
        check_source(source),
        digest,
        refused=book.refused,
        others=book.others,
        not_in_force=book.not_in_force,
    )
    held = {row.deployment: row for row in rows_in_force(organisation_id, at)}
    seen: dict[str, int] = {}
    for row in book.rows:
        for name in targets.of(row.vendor, row.model, row.deployment):
            if name in seen:
                reason = f"line {seen[name]} prices {name} too: name one in the map"
                diff.refused.append(Refusal(row.line, row.model or name, reason))
                continue
            seen[name] = row.line
            start = begins or opening(organisation_id, name)
            try:
                diff.lines.append(_line(organisation_id, name, row, held.get(name), start))
            except ValidationFailed as error:
                reasons = "; ".join(
                    f"{e['path']}: {e['message']}" if e["path"] else e["message"] for e in error.errors
                )
                diff.refused.append(Refusal(row.line, row.model or name, reasons))
    diff.lines.sort(key=lambda line: line.deployment)
    diff.refused.sort(key=lambda refusal: refusal.line)
    diff.unnamed = sorted(set(targets.models) - set(seen))
    return diff


def _line(organisation_id: int, name: str, row: Row, held: Price | None, start: datetime) -> Line:
    """Raises ValidationFailed for what create_price would refuse."""
    old = terms_of(held) | {"currency": held.currency} if held else None
    terms = (old or DEFAULTS) | row.terms
    if old is None and not {"input_nusd_per_munit", "output_nusd_per_munit"} <= set(row.terms):
        raise ValidationFailed(
            "Its input and output prices are not in the file, and no sheet is in force that has them."
        )
    check_currency(terms["currency"])
    try:
        rate = rate_in_force(organisation_id, terms["currency"], max(start, now())).nusd_per_unit
    except NoExchangeRate:
        rate = None
    check_terms(terms, nusd_per_unit=rate)
    changes = tuple(
        Change({**OUTSIDE, "batch_ppm": "batch_pct"}.get(name, name), (old or DEFAULTS)[name], value)
        for name, value in terms.items()
        if value != (old or DEFAULTS)[name]
    )
    kind = "added" if old is None else "changed" if changes else "same"
    if kind != "same":
        check_dates(organisation_id, name, start, None)
    return Line(kind, name, row.model, row.line, start, terms, changes, row.ignored)


@transaction.atomic
def import_prices(*, actor: Any, **asked: Any) -> Diff:
    """Apply what `diff_prices` of the same keywords says. Raises ValidationFailed when any row is refused: nothing is
    written then, so that nobody believes that a row was taken which was not."""
    diff = diff_prices(**asked)
    if diff.refused:
        errors = [
            {"path": "text", "line": r.line, "column": None, "message": f"{r.model}: {r.reason}."}
            for r in diff.refused
        ]
        raise ValidationFailed(f"Nothing was imported: {len(diff.refused)} rows are refused.", errors)
    organisation_id = asked["organisation_id"]
    for line in diff.pending:
        create_price(
            organisation_id=organisation_id, deployment=line.deployment, valid_from=line.begins, source=diff.source,
            actor=actor, **line.terms,
        )  # fmt: skip
    record(
        actor=actor, action="prices.imported", target=f"prices:{diff.digest[:16]}", organisation_id=organisation_id,
        detail={
            "source": diff.source, "from": diff.begins, "sha256": diff.digest,
            "added": [line.deployment for line in diff.lines if line.kind == "added"],
            "changed": [line.deployment for line in diff.lines if line.kind == "changed"],
        },
    )  # fmt: skip
    diff.applied = True
    return diff


def as_csv(lines: Sequence[Line]) -> str:
    """The rows of a diff in our own format: what a page hands back to be applied, whatever format they came in."""
    columns = ["deployment", "model", "currency", *OUTSIDE.values(), "batch_pct", "above_tokens_in"]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="")
    writer.writeheader()
    for line in lines:
        row = {OUTSIDE[name]: _plain(name, line.terms[name]) for name in AMOUNTS}
        share = line.terms["batch_ppm"]
        row |= {"deployment": line.deployment, "model": line.model, "currency": line.terms["currency"]}
        writer.writerow(row | {"batch_pct": "" if share is None else f"{Decimal(share) / 10_000:f}"})
        for tier in line.terms["tiers"]:
            amounts = {OUTSIDE[n]: _plain(n, value) for n, value in tier.items() if n in OUTSIDE}
            names = {"deployment": line.deployment, "model": line.model}
            writer.writerow(amounts | names | {"above_tokens_in": tier["above_tokens_in"]})
    return out.getvalue()


def _plain(name: str, amount: int | None) -> str:
    if amount is None:
        return ""
    return f"{Decimal(amount) / (10**15 if name == 'second_nusd_per_munit' else 10**9):f}"
