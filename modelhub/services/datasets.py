"""Uploaded rows: checked line by line, refused with the lines that are wrong, kept by their content's hash."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from modelhub.ml import datasets as shipped
from modelhub.models import Dataset
from switchyard.audit.services import record
from switchyard.core.errors import BodyTooLarge, ValidationFailed
from switchyard.core.ids import new_id
from switchyard.tenancy.models import User, Workload

MAX_BYTES = 200 * 1024 * 1024
MAX_ROWS = 500_000
MAX_TEXT = 20_000
MIN_ROWS = 8
SHOWN_FAULTS = 50


def upload(*, workload: Workload, name: str, content: bytes, user: User | None) -> Dataset:
    """Check and keep rows of {text, label} as JSON lines or CSV. Raises ValidationFailed with located faults."""
    if len(content) > MAX_BYTES:
        raise BodyTooLarge(f"The file has {len(content)} bytes; at most {MAX_BYTES} are taken.")
    rows, report = check_rows(content, name, workload.name)
    digest = hashlib.sha256(content).hexdigest()
    path = Path("datasets") / f"{digest}.jsonl"
    _write(Path(settings.MEDIA_ROOT) / path, rows)
    with transaction.atomic():
        dataset = Dataset.objects.create(
            id=new_id("data"), organisation=workload.organisation, lob=workload.lob, workload=workload, name=name[:200],
            path=str(path), digest=digest, rows=len(rows), labels=sorted({label for _, label in rows}), report=report,
        )  # fmt: skip
        record(
            actor=user, action="dataset.uploaded", target=f"dataset:{dataset.pk}", lob=workload.lob.slug,
            organisation_id=workload.organisation_id, detail={"rows": len(rows), "sha256": digest},
        )  # fmt: skip
    return dataset


def read_rows(dataset: Dataset) -> list[tuple[str, str]]:
    """The kept rows. Raises ValidationFailed when the file is not the one that was uploaded."""
    path = Path(settings.MEDIA_ROOT) / dataset.path
    with path.open(encoding="utf-8") as lines:
        return [(row["text"], row["label"]) for row in map(json.loads, lines)]


def check_rows(content: bytes, name: str, workload: str) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """(good rows, report). Duplicates and rows of the evaluation set are left out and counted; faults refuse the file."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValidationFailed(f"Line {line} is not UTF-8.", [_fault(line, "not UTF-8")]) from None
    lines = _csv(text) if name.lower().endswith(".csv") else _json_lines(text)
    faults: list[dict[str, Any]] = []
    good: dict[str, str] = {}
    counts: Counter[str] = Counter()
    evaluation = _evaluation_texts(workload)
    for line, row in lines:
        counts["lines"] += 1
        why = _wrong(row)
        if why:
            faults.append(_fault(line, why))
        elif _normal(row["text"]) in evaluation:
            counts["in_evaluation_set"] += 1
        elif row["text"] in good:
            same = good[row["text"]] == row["label"]
            counts["duplicates"] += 1
            if not same:
                faults.append(_fault(line, f"the same text has label {good[row['text']]!r} further up"))
        else:
            good[row["text"]] = row["label"]
        if counts["lines"] > MAX_ROWS:
            raise ValidationFailed(f"More than {MAX_ROWS} rows.", [_fault(line, "too many rows")])
    if faults:
        raise ValidationFailed(
            f"{len(faults)} of {counts['lines']} rows are wrong; nothing was kept.", faults[:SHOWN_FAULTS]
        )
    if len(good) < MIN_ROWS:
        raise ValidationFailed(f"{len(good)} usable rows; at least {MIN_ROWS} are needed.")
    report = {
        "rows": len(good),
        "duplicates": counts["duplicates"],
        "in_evaluation_set": counts["in_evaluation_set"],
    }
    report["labels"] = dict(Counter(good.values()).most_common(200))
    return list(good.items()), report


def _fault(line: int, message: str) -> dict[str, Any]:
    return {"path": f"line {line}", "line": line, "column": 1, "message": message}


def _wrong(row: Any) -> str:
    if not isinstance(row, dict):
        return row if isinstance(row, str) else "not an object"
    for name in ("text", "label"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            return f"`{name}` is missing or not text"
    return f"the text is longer than {MAX_TEXT} characters" if len(row["text"]) > MAX_TEXT else ""


def _json_lines(text: str) -> Any:
    """(line, row); a line that isn't JSON gives its fault as a string."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (json.JSONDecodeError, RecursionError):
            yield number, "not a JSON object"


def _csv(text: str) -> Any:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if not {"text", "label"} <= set(reader.fieldnames or ()):
        raise ValidationFailed(
            "The first line must name the columns `text` and `label`.", [_fault(1, "columns missing")]
        )
    for row in reader:
        yield reader.line_num, dict(row)


def _normal(text: str) -> str:
    return " ".join(text.lower().split())


def _evaluation_texts(workload: str) -> set[str]:
    """Validation rows of the shipped set: training on them would make every later figure worthless."""
    if workload not in shipped.TEXT_SETS:
        return set()
    return {_normal(text) for text in shipped.load(workload, "val").texts}


def _write(path: Path, rows: list[tuple[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    with draft.open("w", encoding="utf-8") as out:
        for text, label in rows:
            out.write(json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n")
    draft.replace(path)
