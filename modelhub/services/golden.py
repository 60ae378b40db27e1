"""Golden sets: which rows judge a workload, in versions addressed by content; sealed, since they may be a customer's texts."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from modelhub.models import Dataset, GoldenSet
from modelhub.sandbox.humaneval import Problem
from modelhub.services.validation import CODE_METRICS, ValidationRows, has_validation_rows, validation_rows
from switchyard.audit.services import record
from switchyard.core.crypto import open_for_lob, seal_for_lob
from switchyard.core.errors import InvalidRequest, ValidationFailed
from switchyard.tenancy.models import LineOfBusiness, User, Workload

MOST_ROWS = 20_000  # more narrows no interval that anybody decides by
SHIPPED = "validation rows of the shipped set"


def current_golden(workload: Workload) -> GoldenSet | None:
    """The set that judges now; a workload with shipped validation rows gets them as its first version."""
    found = GoldenSet.objects.filter(workload=workload, active=True).first()
    if found is not None or not has_validation_rows(workload):
        return found
    with transaction.atomic():
        _lock(workload)
        found = GoldenSet.objects.filter(workload=workload, active=True).first()
        return found or _keep(workload, validation_rows(workload), SHIPPED, None)


def needed_golden(workload: Workload) -> GoldenSet:
    """Raises InvalidRequest where nothing judges the workload yet."""
    found = current_golden(workload)
    if found is None:
        raise InvalidRequest(
            _("%(workload)s has no golden set yet: make one of an uploaded data set.")
            % {"workload": workload.name}
        )
    return found


def add_golden(
    *, workload: Workload, user: User | None, dataset: Dataset | None = None, rows: ValidationRows | None = None,
    source: str = "",
) -> GoldenSet:  # fmt: skip
    """The next version, in force at once; rows that are in force already give their version back.

    Raises InvalidRequest for rows of another line of business, for too few or too many, ValidationFailed when they are gone.
    """
    if dataset is not None:
        if dataset.lob_id != workload.lob_id:
            raise InvalidRequest(_("The data set is another line of business's."))
        rows, source = validation_rows(workload, dataset), source or f"data set {dataset.pk} ({dataset.name})"
    if rows is None:
        raise InvalidRequest(_("Name a data set of the workload."))
    if not 2 <= len(rows.inputs) <= MOST_ROWS:
        raise InvalidRequest(
            _("A golden set has from 2 to %(most)s rows; this has %(n)s.")
            % {"most": MOST_ROWS, "n": len(rows.inputs)}
        )
    with transaction.atomic():
        _lock(workload)
        current_golden(workload)  # what judged before stays on record
        return _keep(workload, rows, source[:200], user)


def activate_golden(*, golden: GoldenSet, user: User | None) -> GoldenSet:
    """Have an earlier version judge again."""
    with transaction.atomic():
        _lock(golden.workload)
        _switch(golden, user)
    return golden


def golden_rows(golden: GoldenSet) -> ValidationRows:
    """What it says. Raises ValidationFailed when the file is gone, another installation's, or was changed."""
    path = Path(settings.MEDIA_ROOT) / golden.path
    try:
        told = open_for_lob(golden.workload.lob.slug, path.read_text("ascii"))
    except (OSError, ValueError, InvalidTag):
        raise ValidationFailed(_("The rows of this golden set can't be read: make it anew.")) from None
    if hashlib.sha256(told).hexdigest() != golden.digest:
        raise ValidationFailed(_("The rows of this golden set are not the ones that were kept."))
    lines = [json.loads(line) for line in told.splitlines()]
    inputs = [
        Problem(**line["input"]) if golden.workload.metric in CODE_METRICS else line["input"]
        for line in lines
    ]
    return ValidationRows(inputs, [line["truth"] for line in lines], f"golden {golden.version}")


def _lock(workload: Workload) -> None:
    Workload.objects.select_for_update(of=("self",)).get(pk=workload.pk)


def _keep(workload: Workload, rows: ValidationRows, source: str, user: User | None) -> GoldenSet:
    told = b"".join(_line(item, truth) for item, truth in zip(rows.inputs, rows.truth, strict=True))
    digest = hashlib.sha256(told).hexdigest()
    versions = GoldenSet.objects.filter(workload=workload).order_by("-version")
    if (same := versions.filter(digest=digest).first()) is not None:
        _switch(same, user)
        return same
    last = versions.first()
    path = Path("golden") / workload.lob.slug / f"{digest}.sealed"
    golden = GoldenSet.objects.create(
        workload=workload, version=last.version + 1 if last else 1, digest=digest, path=str(path), rows=len(rows.inputs),
        source=source, created_by=getattr(user, "username", ""),
    )  # fmt: skip
    _write(Path(settings.MEDIA_ROOT) / path, seal_for_lob(workload.lob.slug, told))
    _switch(golden, user)
    return golden


def _switch(golden: GoldenSet, user: User | None) -> None:
    if golden.active:
        return
    GoldenSet.objects.filter(workload=golden.workload, active=True).update(active=False)
    golden.active = True
    golden.save(update_fields=["active"])
    lob: LineOfBusiness = golden.workload.lob
    record(
        actor=user, action="golden.activated", target=f"golden:{golden.pk}", lob=lob.slug,
        organisation_id=lob.organisation_id,
        detail={
            "workload": golden.workload.name, "version": golden.version, "rows": golden.rows, "sha256": golden.digest,
            "source": golden.source,
        },
    )  # fmt: skip


def _line(item: Any, truth: Any) -> bytes:
    told = dataclasses.asdict(item) if isinstance(item, Problem) else item
    return json.dumps({"input": told, "truth": truth}, ensure_ascii=False, sort_keys=True).encode() + b"\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, "ascii")
    os.chmod(draft, 0o600)
    draft.replace(path)
