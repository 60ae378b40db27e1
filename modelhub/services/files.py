"""Files of /v1: received sealed, examined by their purpose, kept for at most thirty days.

`receive` gives the writer that an upload streams into; `register` examines what came and makes the row, or leaves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Sum

from modelhub.models import Dataset, StoredFile
from modelhub.services import datasets
from modelhub.services.inspection import inspector
from modelhub.services.row_checks import RowCheck
from modelhub.services.row_formats import fault, text_lines
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.conf import conf
from switchyard.core.errors import (
    BodyTooLarge,
    Conflict,
    InvalidRequest,
    NotFound,
    PolicyDenied,
    ValidationFailed,
)
from switchyard.core.ids import new_id
from switchyard.core.sealed_files import SealBroken, SealedWriter, read_sealed
from switchyard.tenancy.models import LineOfBusiness

MAX_BYTES = datasets.MAX_BYTES
KEPT, LEAST_KEPT_S = timedelta(days=30), 3600
UPLOADED = ("fine-tune", "batch", "evals", "user_data", "assistants", "vision")
ROWS = ("fine-tune", "evals")
MOST_REQUESTS = 50_000
SHOWN = 50


@dataclass(frozen=True, slots=True)
class Upload:
    """What is said of a file whose bytes lie sealed under its id already. `kept_s`: seconds until it expires."""

    id: str
    lob_id: int
    filename: str
    purpose: str
    bytes: int
    sha256: str
    application: str = ""
    declared: str = ""
    kept_s: int = int(KEPT.total_seconds())

    @property
    def path(self) -> Path:
        return Path("files") / str(self.lob_id) / f"{self.id}.sealed"


def check_said(purpose: str, filename: str, kept_s: int) -> None:
    """Raises InvalidRequest for a purpose, a name or an end that can't be."""
    if purpose not in UPLOADED:
        raise InvalidRequest(
            f"`purpose` is {purpose[:40]!r}; expected one of {', '.join(UPLOADED)}.", param="purpose"
        )
    if not filename.strip() or "\x00" in filename:
        raise InvalidRequest("The file has no name.", param="file")
    if not LEAST_KEPT_S <= kept_s <= KEPT.total_seconds():
        raise InvalidRequest(
            f"`expires_after.seconds` must lie between {LEAST_KEPT_S} (an hour) and {int(KEPT.total_seconds())} (30 days).",
            param="expires_after",
        )


def check_room(lob: LineOfBusiness) -> None:
    """Raises BodyTooLarge when the line of business keeps as much as it may."""
    taken = StoredFile.objects.filter(lob=lob).aggregate(n=Sum("bytes"))["n"] or 0
    most = conf("FILES_LOB_BYTES")
    if taken >= most:
        raise BodyTooLarge(f"The files of {lob.slug} take {taken} bytes of {most}: delete some first.")


def receive(lob: LineOfBusiness, file_id: str) -> SealedWriter:
    """Where an upload's bytes go; they take their place when the `with` ends well."""
    return SealedWriter(Path(settings.MEDIA_ROOT) / "files" / str(lob.pk) / f"{file_id}.sealed", lob.slug)


def register(upload: Upload) -> StoredFile:
    """Examine what came and make its row. Raises ValidationFailed, PolicyDenied, InvalidRequest; the bytes are gone then."""
    place = Path(settings.MEDIA_ROOT) / upload.path
    lob = LineOfBusiness.objects.select_related("organisation").get(pk=upload.lob_id)
    try:
        if upload.bytes == 0:
            raise ValidationFailed("The file is empty.", [fault(1, "empty")])
        with transaction.atomic():
            file = _row(upload, lob)
            _examine(file, upload.declared)
            record(
                actor=None, action="file.uploaded", target=f"file:{file.pk}", lob=lob.slug,
                organisation_id=lob.organisation_id,
                detail={"purpose": file.purpose, "bytes": file.bytes, "sha256": file.sha256, "application": upload.application},
            )  # fmt: skip
    except BaseException:
        place.unlink(missing_ok=True)
        raise
    return file


def _row(upload: Upload, lob: LineOfBusiness) -> StoredFile:
    return StoredFile.objects.create(
        id=upload.id, organisation=lob.organisation, lob=lob, application=upload.application, purpose=upload.purpose,
        filename=upload.filename[-200:], path=str(upload.path), bytes=upload.bytes, sha256=upload.sha256,
        expires_at=now() + timedelta(seconds=upload.kept_s),
    )  # fmt: skip


def _examine(file: StoredFile, declared: str) -> None:
    if file.purpose in ROWS and _holds_rows(file):
        check = RowCheck(base="internal", declared=declared)
        dataset = datasets.keep(
            check, lob=file.lob, workload=None, name=file.filename, content=pieces_of(file), user=None, file=file,
            learnable=file.purpose == "fine-tune",
        )  # fmt: skip
        file.report, file.sensitivity = dataset.report, dataset.sensitivity
    else:
        file.report = _examine_lines(file) if file.purpose in ("batch", "evals") else _examine_text(file)
        file.report |= {"declared": declared} if declared else {}
        file.sensitivity = inspector().classify("internal", declared, list(file.report["sensitive"]))
        _refuse_restricted(file)
    file.status = "processed"
    file.save(update_fields=["report", "sensitivity", "status"])


def _holds_rows(file: StoredFile) -> bool:
    """Evaluation files of other shapes, such as {"item": …}, are kept as they are."""
    if file.purpose == "fine-tune" or file.filename.lower().endswith(".csv"):
        return True
    first = next((line for _, line in text_lines(pieces_of(file)) if line.strip()), "")
    try:
        row = json.loads(first)
    except ValueError:
        return True
    return isinstance(row, dict) and bool({"text", "messages", "prompt"} & set(row))


def _examine_lines(file: StoredFile) -> dict[str, Any]:
    """JSON objects, one a line; of a batch each with a `custom_id` of its own. Raises ValidationFailed."""
    faults: list[dict[str, Any]] = []
    found: dict[str, list[int]] = {}
    names: set[str] = set()
    rows = 0
    for number, line in text_lines(pieces_of(file)):
        if not line.strip():
            continue
        rows += 1
        _look(found, number, line)
        why = _wrong_request(line, names) if file.purpose == "batch" else _wrong_object(line)
        if why and len(faults) < SHOWN:
            faults.append(fault(number, why))
    if rows > MOST_REQUESTS:
        faults.append(fault(rows, f"more than {MOST_REQUESTS} lines"))
    if faults or not rows:
        first = f"Line {faults[0]['line']}: {faults[0]['message']}" if faults else "The file has no line"
        raise ValidationFailed(f"{first}; nothing was kept.", faults or [fault(1, "empty")])
    return {"lines": rows, "rows": rows, "sensitive": found}


def _wrong_object(line: str) -> str:
    try:
        return "" if isinstance(json.loads(line), dict) else "not a JSON object"
    except (ValueError, RecursionError):
        return "not a JSON object"


def _wrong_request(line: str, names: set[str]) -> str:
    if why := _wrong_object(line):
        return why
    row = json.loads(line)
    name = row.get("custom_id")
    if not isinstance(name, str) or not name:
        return "`custom_id` is missing or not text"
    if name in names:
        return f"`custom_id` {name[:60]!r} is there twice"
    names.add(name)
    if row.get("method", "POST") != "POST" or not str(row.get("url", "")).startswith("/v1/"):
        return "`method` must be POST and `url` must begin with /v1/"
    return "" if isinstance(row.get("body"), dict) else "`body` must be an object"


def _examine_text(file: StoredFile) -> dict[str, Any]:
    """Text is looked through; other bytes hold nothing that can be read."""
    found: dict[str, list[int]] = {}
    try:
        for number, line in text_lines(pieces_of(file)):
            _look(found, number, line)
    except ValidationFailed:
        return {"sensitive": found, "text": False}
    return {"sensitive": found, "text": True}


def _look(found: dict[str, list[int]], number: int, line: str) -> None:
    for kind in inspector().entities_in(line):
        where = found.setdefault(kind, [])
        if len(where) < 20:
            where.append(number)


def _refuse_restricted(file: StoredFile) -> None:
    if file.sensitivity == "restricted":
        where = "; ".join(
            f"{kind} in line {', '.join(map(str, lines[:5]))}"
            for kind, lines in file.report["sensitive"].items()
        )
        raise PolicyDenied(
            "Restricted data is never kept, so nothing was stored" + (f": {where}." if where else ".")
        )


# ------------------------------------------------------------------------------------------------- reading and deleting
def find(lob_id: int, file_id: str) -> StoredFile:
    """A file of the line of business that hasn't expired. Raises NotFound."""
    rows = StoredFile.objects.select_related("lob__organisation").filter(lob_id=lob_id, expires_at__gt=now())
    file = None if "\x00" in file_id else rows.filter(pk=file_id).first()
    if file is None:
        raise NotFound(f"There is no file {file_id[:60]!r} of this line of business.", param="file_id")
    return file


def pieces_of(file: StoredFile) -> Iterator[bytes]:
    """The plain bytes. Raises NotFound when they are gone, Conflict when they are not what was stored."""
    try:
        yield from read_sealed(Path(settings.MEDIA_ROOT) / file.path, file.lob.slug)
    except FileNotFoundError:
        raise NotFound(f"The bytes of {file.pk} are gone: upload the file again.") from None
    except SealBroken:
        raise Conflict(
            f"The bytes of {file.pk} were changed on disk: upload the file again.", code="file_changed"
        ) from None


def bind(file: StoredFile, workload: Any, declared: str = "") -> Dataset:
    """The file's rows for a workload: held against what judges it, its labels charged once. Raises as datasets.upload."""
    if file.purpose not in ROWS:
        raise InvalidRequest(
            f"{file.pk} was uploaded for {file.purpose}; expected purpose fine-tune.", param="training_file"
        )
    known = Dataset.objects.filter(file=file, workload=workload, created_at__gt=_judged_since(workload))
    found = known.exclude(report__has_key="rows_deleted").select_related("lob", "workload").first()
    return found or datasets.upload(
        workload=workload, name=file.filename, content=pieces_of(file), user=None, file=file,
        declared=declared or file.report.get("declared", ""),
    )  # fmt: skip


def _judged_since(workload: Any) -> datetime:
    """Since when the workload is judged by what it is judged by now: rows bound earlier may leak."""
    golden = workload.golden_sets.filter(active=True).first()
    return golden.created_at if golden else datetime.fromtimestamp(0, tz=now().tzinfo)


def delete(file: StoredFile) -> None:
    """The file, its bytes, and the rows that were read from it. Raises Conflict while a job needs them."""
    rows = list(file.datasets.select_related("lob"))
    for dataset in rows:
        datasets.refuse_in_use(dataset)
    with transaction.atomic():
        for dataset in rows:
            datasets.drop_rows(dataset)
        record(
            actor=None, action="file.deleted", target=f"file:{file.pk}", lob=file.lob.slug,
            organisation_id=file.organisation_id, detail={"sha256": file.sha256},
        )  # fmt: skip
        file.delete()
    (Path(settings.MEDIA_ROOT) / file.path).unlink(missing_ok=True)


def forget(upload: Upload) -> None:
    """Whatever came of an upload that its caller will never hear of."""
    file = StoredFile.objects.select_related("lob").filter(pk=upload.id).first()
    if file is not None:
        delete(file)
    (Path(settings.MEDIA_ROOT) / upload.path).unlink(missing_ok=True)


def keep_result(lob: LineOfBusiness, name: str, content: bytes) -> StoredFile:
    """A file that a job made for its caller. Raises OSError."""
    file_id = new_id("file")
    with receive(lob, file_id) as writer:
        writer.write(content)
    said = Upload(file_id, lob.pk, name, "fine-tune-results", writer.size, writer.sha256)
    file = _row(said, lob)
    file.status = "processed"
    file.save(update_fields=["status"])
    return file


def keep_lines(lob: LineOfBusiness, name: str, purpose: str, lines: Iterable[bytes]) -> StoredFile | None:
    """A file that was made for its caller, line by line; None, and nothing kept, when there is no line. Raises OSError."""
    file_id, count = new_id("file"), 0
    with receive(lob, file_id) as writer:
        for line in lines:
            writer.write(line)
            count += 1
    said = Upload(file_id, lob.pk, name, purpose, writer.size, writer.sha256)
    if not count:
        (Path(settings.MEDIA_ROOT) / said.path).unlink(missing_ok=True)
        return None
    file = _row(said, lob)
    file.status, file.report = "processed", {"lines": count}
    file.save(update_fields=["status", "report"])
    return file


def purge_expired(at: datetime | None = None) -> int:
    """Delete what was kept for as long as may be, and bytes whose row never came; gives how many."""
    at, done = at or now(), 0
    for file in StoredFile.objects.filter(expires_at__lte=at).select_related("lob")[:500]:
        try:
            delete(file)
        except Conflict:
            continue
        done += 1
    return done + _purge_orphans(at)


def _purge_orphans(at: datetime) -> int:
    """What a crash between bytes and row left behind, once it is a day old."""
    folder, old = Path(settings.MEDIA_ROOT) / "files", at.timestamp() - 86_400
    stale: Iterable[Path] = [p for p in folder.glob("*/*") if p.is_file() and p.stat().st_mtime < old]
    known = set(StoredFile.objects.values_list("path", flat=True))
    gone = [p for p in stale if str(p.relative_to(settings.MEDIA_ROOT)) not in known]
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)
