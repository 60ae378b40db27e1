"""Uploaded rows: checked line by line, refused with the lines that are wrong, kept by their content's hash."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from costs.labels import Charged, Labelled, charge
from modelhub.ml import datasets as shipped
from modelhub.models import Dataset
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import BodyTooLarge, InvalidRequest, ValidationFailed
from switchyard.core.ids import new_id
from switchyard.core.money import format_usd
from switchyard.tenancy.models import User, Workload

MAX_BYTES = 200 * 1024 * 1024
MAX_ROWS = 500_000
MAX_TEXT, MAX_LABEL = 20_000, 200
MAX_LABELS = 1000
MIN_ROWS = 8
SHOWN_FAULTS, SHOWN_LINES = 50, 20
Row = tuple[str, str]


@dataclass(slots=True)
class _Checked:
    """What reading a file found so far: good rows by normal form of their text, faults, and what was left out."""

    rows: dict[str, Row] = field(default_factory=dict)
    first_line: dict[str, int] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)
    lines: int = 0
    duplicates: list[int] = field(default_factory=list)
    leaked: list[int] = field(default_factory=list)

    def fault(self, line: int, message: str, column: int = 1) -> None:
        self.faults.append(_fault(line, message, column))


def upload(*, workload: Workload, name: str, content: bytes, user: User | None) -> Dataset:
    """Check and keep rows of {text, label} as JSON lines or CSV, and charge the labels that weren't charged before.

    Raises ValidationFailed with located faults, BodyTooLarge, InvalidRequest for work that isn't classification,
    BudgetExhausted when the labels don't fit into the labelling budget; nothing is kept then.
    """
    if workload.task != "classification":
        raise InvalidRequest("Rows of text and label are for classification workloads.", param="workload")
    if len(content) > MAX_BYTES:
        raise BodyTooLarge(f"The file has {len(content)} bytes; at most {MAX_BYTES} are taken.")
    rows, report = check_rows(content, name, workload.name)
    kept = b"".join(_line(row) for row in rows)
    digest = hashlib.sha256(kept).hexdigest()
    path = Path("datasets") / f"{digest}.jsonl"
    with transaction.atomic():
        charged = _charge(workload, digest, rows)
        dataset = Dataset.objects.create(
            id=new_id("data"), organisation=workload.organisation, lob=workload.lob, workload=workload,
            name=name.replace("\x00", "")[:200] or "rows", path=str(path), digest=digest, rows=len(rows),
            labels=sorted({label for _, label in rows}),
            report=report | {
                "uploaded_sha256": hashlib.sha256(content).hexdigest(),
                "labels_charged": charged.lines, "labels_usd": format_usd(charged.amount_nusd),
            },
        )  # fmt: skip
        record(
            actor=user, action="dataset.uploaded", target=f"dataset:{dataset.pk}", lob=workload.lob.slug,
            organisation_id=workload.organisation_id,
            detail={"rows": len(rows), "sha256": digest, "labels_usd": format_usd(charged.amount_nusd)},
        )  # fmt: skip
        _write(Path(settings.MEDIA_ROOT) / path, kept)  # last, so that what is refused leaves no file behind
    return dataset


def _charge(workload: Workload, digest: str, rows: list[Row]) -> Charged:
    """A labelled row is known by what it says: the same file again, or a longer one that holds it, charges it no more."""
    at = now()
    return charge([
        Labelled(
            event_id=f"label:{_row_digest(workload, row)}", organisation_id=workload.organisation_id,
            lob=workload.lob.slug, workload=workload.name, purpose="label", at=at,
            memo=f"row {number} of data set {digest[:12]}",
        )
        for number, row in enumerate(rows, start=1)
    ])  # fmt: skip


def _row_digest(workload: Workload, row: Row) -> str:
    told = "\0".join((str(workload.organisation_id), workload.name, _normal(row[0]), row[1]))
    return hashlib.sha256(told.encode()).hexdigest()


def read_rows(dataset: Dataset) -> list[Row]:
    """The kept rows. Raises ValidationFailed when the file is gone or is not the one that was kept."""
    try:
        kept = (Path(settings.MEDIA_ROOT) / dataset.path).read_bytes()
    except OSError:
        raise ValidationFailed(f"The rows of {dataset.name} are gone: upload them again.") from None
    if hashlib.sha256(kept).hexdigest() != dataset.digest:
        raise ValidationFailed(f"The rows of {dataset.name} were changed since they were uploaded.")
    return [(row["text"], row["label"]) for row in map(json.loads, kept.splitlines())]


def check_rows(content: bytes, name: str, workload: str) -> tuple[list[Row], dict[str, Any]]:
    """(good rows, report). Duplicates and rows of the evaluation set are left out and listed; faults refuse the file."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValidationFailed(f"Line {line} is not UTF-8.", [_fault(line, "not UTF-8")]) from None
    checked, evaluation = _Checked(), _evaluation_texts(workload)
    for line, row in _csv(text) if name.lower().endswith(".csv") else _json_lines(text):
        _take(checked, line, row, evaluation)
        if checked.lines > MAX_ROWS:
            raise ValidationFailed(f"More than {MAX_ROWS} rows.", [_fault(line, "too many rows")])
    if checked.faults:
        raise ValidationFailed(
            f"{len(checked.faults)} of {checked.lines} rows are wrong; nothing was kept.",
            checked.faults[:SHOWN_FAULTS],
        )
    rows = list(checked.rows.values())
    counts = Counter(label for _, label in rows)
    if len(rows) < MIN_ROWS:
        raise ValidationFailed(
            f"{len(rows)} usable rows of {checked.lines}; at least {MIN_ROWS} are needed "
            f"({len(checked.duplicates)} were duplicates, {len(checked.leaked)} are in the evaluation set)."
        )
    if not 2 <= len(counts) <= MAX_LABELS:
        raise ValidationFailed(f"The rows have {len(counts)} labels; from 2 to {MAX_LABELS} can be learnt.")
    return rows, _report(checked, counts, workload)


def _take(checked: _Checked, line: int, row: Any, evaluation: set[str]) -> None:
    """Put one row where it belongs: good, duplicate, leaked, or a fault."""
    checked.lines += 1
    if why := _wrong(row):
        checked.fault(line, why)
        return
    text, label = row["text"].strip(), row["label"].strip()
    key = _normal(text)
    if key in evaluation:
        checked.leaked.append(line)
    elif key not in checked.rows:
        checked.rows[key], checked.first_line[key] = (text, label), line
    elif checked.rows[key][1] == label:
        checked.duplicates.append(line)
    else:
        other, where = checked.rows[key][1], checked.first_line[key]
        checked.fault(line, f"the same text has label {other!r} in line {where}")


def _report(checked: _Checked, counts: Counter[str], workload: str) -> dict[str, Any]:
    """What the page shows: how many rows of each label, which were left out and where, which labels are new."""
    known = set(shipped.label_names(workload)) if workload in shipped.TEXT_SETS else set()
    return {
        "lines": checked.lines, "rows": len(checked.rows),
        "duplicates": len(checked.duplicates), "duplicate_lines": checked.duplicates[:SHOWN_LINES],
        "in_evaluation_set": len(checked.leaked), "leaked_lines": checked.leaked[:SHOWN_LINES],
        "labels": dict(counts.most_common(200)),
        "new_labels": sorted(set(counts) - known) if known else [],
        "rare_labels": sorted(label for label, n in counts.items() if n < 3),
    }  # fmt: skip


def _fault(line: int, message: str, column: int = 1) -> dict[str, Any]:
    return {"path": f"line {line}", "line": line, "column": column, "message": message}


def _wrong(row: Any) -> str:
    """Why a row can't be taken; empty when it can."""
    if not isinstance(row, dict):
        return row if isinstance(row, str) else "not an object"
    for name, longest in (("text", MAX_TEXT), ("label", MAX_LABEL)):
        value = row.get(name)
        if not isinstance(value, str) or not value.strip():
            return f"`{name}` is missing, empty or not text"
        if len(value) > longest:
            return f"`{name}` is longer than {longest} characters"
        if "\x00" in value or not _is_text(value):
            return f"`{name}` holds a character that can't be stored"
    return ""


def _is_text(value: str) -> bool:
    """JSON escapes can spell half a surrogate pair, which no encoding takes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json_lines(text: str) -> Iterator[tuple[int, Any]]:
    """(line, row); a line that isn't JSON gives its fault as a string."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError):
            yield number, "not a JSON object"


def _csv(text: str) -> Iterator[tuple[int, Any]]:
    """(last line of the row, row). Raises ValidationFailed for a head line without the columns, or a broken quote."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if not {"text", "label"} <= set(reader.fieldnames or ()):
            raise ValidationFailed(
                "The first line must name the columns `text` and `label`.", [_fault(1, "columns missing")]
            )
        for row in reader:
            yield reader.line_num, dict(row)
    except csv.Error as error:
        line = reader.line_num + 1
        raise ValidationFailed(f"Line {line} is not CSV: {error}.", [_fault(line, str(error))]) from None


def _normal(text: str) -> str:
    return " ".join(text.lower().split())


def _evaluation_texts(workload: str) -> set[str]:
    """Validation rows of the shipped set: training on them would make every later figure worthless."""
    if workload not in shipped.TEXT_SETS:
        return set()
    return {_normal(text) for text in shipped.load(workload, "val").texts}


def _line(row: Row) -> bytes:
    return json.dumps({"text": row[0], "label": row[1]}).encode() + b"\n"


def _write(path: Path, kept: bytes) -> None:
    """The same content is the same file; a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("wb") as out:
        out.write(kept)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(path)
