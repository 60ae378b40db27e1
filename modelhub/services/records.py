"""Tables to learn from: records with their answers, as CSV or JSON lines, checked cell by cell and kept as any data set is."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.utils.translation import gettext as _

from modelhub.ml.tabular import data as tabular_sets
from modelhub.ml.tabular.retrain import FITS, typed
from modelhub.ml.tabular.schema import COLUMNS, Column, RecordError, check_row
from modelhub.models import Dataset
from modelhub.services.datasets import keep, read_rows, upload
from modelhub.services.row_checks import RowCheck, digest_of
from modelhub.services.row_formats import refuse_other_files
from switchyard.core.errors import InvalidRequest, ValidationFailed
from switchyard.tenancy.models import User, Workload

MOST_BYTES = 50 * 1024 * 1024
SHOWN = 50


def take_rows(*, workload: Workload, name: str, pieces: Iterable[bytes], user: User | None) -> Dataset:
    """Rows to learn from as the workload's models read them: texts, or records of a table. Raises as `upload` and
    `upload_records`."""
    if not takes_records(workload):
        return upload(workload=workload, name=name, content=pieces, user=user)
    content = bytearray()
    for piece in pieces:
        content += piece
        if len(content) > MOST_BYTES:  # the rest isn't read: what is here is refused by its size
            break
    return upload_records(workload=workload, name=name, content=bytes(content), user=user)


def takes_records(workload: Workload) -> bool:
    """Whether its models are retrained on records here."""
    return workload.task == "prediction" and workload.name in FITS


def upload_records(*, workload: Workload, name: str, content: bytes, user: User | None) -> Dataset:
    """Check and keep records. Raises ValidationFailed with located faults, InvalidRequest for work that takes none."""
    if not takes_records(workload):
        raise InvalidRequest(
            _("Records are taken for %(names)s; this is %(name)s.")
            % {"names": ", ".join(FITS), "name": workload.name}
        )
    if len(content) > MOST_BYTES:
        raise InvalidRequest(_("The file has more than 50 MiB: send fewer rows."))
    refuse_other_files(content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValidationFailed(f"Line {line} is not UTF-8.", [_fault(line, "not UTF-8")]) from None
    lines, faults = [], []
    for line, found in _csv(workload, text) if name.lower().endswith(".csv") else _json(text):
        try:
            lines.append(_line(workload, found))
        except RecordError as error:
            faults.append(_fault(line, f"{error.column}: {error.message}"))
        except ValueError as error:
            faults.append(_fault(line, str(error)))
    if faults:
        words = f"{len(faults)} of {len(faults) + len(lines)} rows are wrong; nothing was kept."
        raise ValidationFailed(words, faults[:SHOWN])
    return keep(
        RowCheck(evaluation=_evaluation(workload), base=workload.sensitivity), lob=workload.lob, workload=workload,
        name=f"{name.rsplit('.', 1)[0]}.jsonl", content="".join(lines).encode(), user=user,
    )  # fmt: skip


def read_records(dataset: Dataset) -> tuple[list[dict[str, Any]], list[Any]]:
    """The kept records and their answers in the data set's own type. Raises ValidationFailed as `read_rows`."""
    name = dataset.workload.name if dataset.workload else ""
    rows = read_rows(dataset)
    return [json.loads(text) for text, _label in rows], [typed(name, label) for _text, label in rows]


def target_of(workload: Workload) -> str:
    """The column that holds the answer."""
    return tabular_sets.SOURCES[workload.name][1]


def _line(workload: Workload, found: Any) -> str:
    """One record as it is kept. Raises RecordError, ValueError."""
    target = target_of(workload)
    if not isinstance(found, dict):
        raise ValueError(found if isinstance(found, str) else "not an object")
    if found.get(target) in (None, ""):
        raise ValueError(f"{target}: is missing")
    answer = str(found[target])
    typed(workload.name, answer)
    columns = COLUMNS[workload.name]
    check_row(found, columns, 0)
    return json.dumps({"text": _told({c.name: found[c.name] for c in columns}), "label": answer}) + "\n"


def _told(record: dict[str, Any]) -> str:
    return json.dumps(record, sort_keys=True)


def _evaluation(workload: Workload) -> frozenset[bytes]:
    """Records the workload is judged by: training on them would make every later figure worthless."""
    records, _targets = tabular_sets.load(workload.name, "val")
    return frozenset(digest_of(_told(record)) for record in records)


def _json(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError):
                yield number, "not a JSON object"


def _csv(workload: Workload, text: str) -> Iterator[tuple[int, Any]]:
    """Raises ValidationFailed for a head line without the columns, or a broken quote."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    columns = {column.name: column for column in COLUMNS[workload.name]}
    try:
        lacking = {*columns, target_of(workload)} - set(reader.fieldnames or ())
        if lacking:
            words = f"The first line must name the columns {', '.join(sorted(lacking))}."
            raise ValidationFailed(words, [_fault(1, "columns missing")])
        for row in reader:
            yield reader.line_num, {name: _value(columns.get(name), value) for name, value in row.items()}
    except csv.Error as error:
        line = reader.line_num + 1
        raise ValidationFailed(f"Line {line} is not CSV: {error}.", [_fault(line, str(error))]) from None


def _value(column: Column | None, text: Any) -> Any:
    if column is None or column.type == "category" or not isinstance(text, str):
        return text
    try:
        return float(text)
    except ValueError:
        return text


def _fault(line: int, message: str) -> dict[str, Any]:
    return {"path": f"line {line}", "line": line, "column": 1, "message": message}
