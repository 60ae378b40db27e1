"""Rows to learn from: checked line by line, refused with the lines that are wrong, kept sealed by their content's hash.

One way for the page, REST and /v1: bytes → rows → checks → a sealed file of the line of business → a Dataset row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from costs.labels import Charged, Labelled, charge
from modelhub.ml import datasets as shipped
from modelhub.models import Dataset, StoredFile
from modelhub.services.row_checks import RowCheck, digest_of, normal
from modelhub.services.row_formats import Chat, parse, read
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import BodyTooLarge, Conflict, InvalidRequest, Unavailable, ValidationFailed
from switchyard.core.ids import new_id
from switchyard.core.money import format_usd
from switchyard.core.sealed_files import SealBroken, SealedWriter, read_sealed
from switchyard.jobs.models import Job
from switchyard.tenancy.models import LineOfBusiness, User, Workload

MAX_BYTES = 200 * 1024 * 1024
KEPT = timedelta(days=30)
Row = tuple[str, str]
LIVE = ("queued", "running", "paused")


def upload(
    *,
    workload: Workload,
    name: str,
    content: bytes | Iterable[bytes],
    user: User | None,
    file: StoredFile | None = None,
    declared: str = "",
) -> Dataset:
    """Check and keep rows for a workload, and charge the labels that weren't charged before.

    `content`: JSON lines or CSV of text and label, or conversations; pieces of bytes are read as they come. Raises
    ValidationFailed with located faults, BodyTooLarge, PolicyDenied for restricted rows, InvalidRequest for work that
    learns from no rows of text, BudgetExhausted when the labels don't fit into the labelling budget; nothing is kept then.
    """
    if workload.task not in ("classification", "chat", "completion"):
        raise InvalidRequest(
            "Rows of text are for workloads of classification or chat; this one does "
            f"{workload.task}: its models learn from tables.",
            param="workload",
        )
    check = RowCheck(
        evaluation=evaluation_digests(workload), known_labels=known_labels(workload), base=workload.sensitivity,
        declared=declared, as_labels=workload.task == "classification",
    )  # fmt: skip
    return keep(check, lob=workload.lob, workload=workload, name=name, content=content, user=user, file=file)


def keep(
    check: RowCheck,
    *,
    lob: LineOfBusiness,
    workload: Workload | None,
    name: str,
    content: bytes | Iterable[bytes],
    user: User | None,
    file: StoredFile | None = None,
    learnable: bool = True,
) -> Dataset:
    """Run a prepared check over the content and keep what is good; raises as `upload`."""
    uploaded = hashlib.sha256()
    dataset_id = new_id("data")
    incoming = Path(settings.MEDIA_ROOT) / "datasets" / str(lob.pk) / f"incoming-{dataset_id}"
    writer = SealedWriter(incoming, lob.slug)
    try:
        with writer:
            check.take(read(_hashed(_pieces(content), uploaded), name), writer.write)
            check.refuse_faults()
            check.refuse_restricted()
            if learnable:
                check.refuse_unlearnable()
        return _record(check, writer, dataset_id, uploaded.hexdigest(), lob, workload, name, user, file)
    except OSError as error:
        raise _no_room(error) from error
    finally:
        incoming.unlink(missing_ok=True)


def _no_room(error: OSError) -> Unavailable:
    return Unavailable(
        f"The rows could not be written ({error.strerror or error}); nothing was kept. Free space under the home, then send "
        "them again.",
        retry_after_s=30,
    )


def _record(
    check: RowCheck,
    writer: SealedWriter,
    dataset_id: str,
    uploaded: str,
    lob: LineOfBusiness,
    workload: Workload | None,
    name: str,
    user: User | None,
    file: StoredFile | None,
) -> Dataset:
    path = Path("datasets") / str(lob.pk) / f"{writer.sha256}.rows"
    place = Path(settings.MEDIA_ROOT) / path
    with transaction.atomic():
        charged = _charge(workload, writer.sha256, writer.path) if workload else Charged()
        dataset = Dataset.objects.create(
            id=dataset_id, organisation=lob.organisation, lob=lob, workload=workload, file=file, sealed=True,
            name=name.replace("\x00", "")[:200] or "rows", path=str(path), digest=writer.sha256, rows=check.rows,
            format="labelled" if check.as_labels else check.format or "labelled", labels=sorted(check.counts),
            sensitivity=check.sensitivity, expires_at=file.expires_at if file else now() + KEPT,
            report=check.report() | {
                "uploaded_sha256": uploaded, "labels_charged": charged.lines,
                "labels_usd": format_usd(charged.amount_nusd),
            },
        )  # fmt: skip
        record(
            actor=user, action="dataset.uploaded", target=f"dataset:{dataset.pk}", lob=lob.slug,
            organisation_id=lob.organisation_id,
            detail={"rows": check.rows, "sha256": writer.sha256, "labels_usd": format_usd(charged.amount_nusd)},
        )  # fmt: skip
        writer.path.replace(place)  # last, so that what is refused leaves no file behind
    return dataset


def _pieces(content: bytes | Iterable[bytes]) -> Iterable[bytes]:
    """Raises BodyTooLarge as soon as too much came."""
    size = 0
    for piece in (content,) if isinstance(content, bytes) else content:
        size += len(piece)
        if size > MAX_BYTES:
            raise BodyTooLarge(f"The file has {size} bytes and more; at most {MAX_BYTES} are taken.")
        yield piece


def _hashed(pieces: Iterable[bytes], into: Any) -> Iterable[bytes]:
    for piece in pieces:
        into.update(piece)
        yield piece


def _charge(workload: Workload, digest: str, kept: Path) -> Charged:
    """A labelled row is known by what it says: the same file again, or a longer one that holds it, charges it no more."""
    if workload.task != "classification":
        return Charged()
    at, slug = now(), workload.lob.slug
    rows = _decoded(_lines(kept, slug))
    return charge([
        Labelled(
            event_id=label_event(workload, row), organisation_id=workload.organisation_id, lob=slug,
            workload=workload.name, purpose="label", at=at, memo=f"row {number} of data set {digest[:12]}",
        )
        for number, row in enumerate(rows, start=1)
    ])  # fmt: skip


def label_event(workload: Workload, row: Row) -> str:
    """What a labelled row is charged under, once and for all: the labelling queue and an upload name it alike."""
    return f"label:{_row_digest(workload, row)}"


def _row_digest(workload: Workload, row: Row) -> str:
    told = "\0".join((str(workload.organisation_id), workload.name, normal(row[0]), row[1]))
    return hashlib.sha256(told.encode()).hexdigest()


# ---------------------------------------------------------------------------------------------------------- reading
def read_rows(dataset: Dataset) -> list[Row]:
    """The kept rows as (text, label). Raises ValidationFailed when the file is gone or is not the one that was kept."""
    return _decoded(_verified(dataset))


def read_chats(dataset: Dataset) -> list[list[dict[str, str]]]:
    """The kept rows as conversations of {"role", "content"}; a text and its label are a question and its answer.

    Raises ValidationFailed as `read_rows`.
    """
    chats = []
    for line in _verified(dataset):
        row = json.loads(line)
        chats.append(row.get("messages") or [
            {"role": "user", "content": row["text"]}, {"role": "assistant", "content": row["label"]}
        ])  # fmt: skip
    return chats


def _decoded(lines: Iterable[bytes]) -> list[Row]:
    found = []
    for line in lines:
        row = parse(json.loads(line))
        assert not isinstance(row, str)
        found.append((row.question, row.answer) if isinstance(row, Chat) else (row.text, row.label))
    return found


def _verified(dataset: Dataset) -> list[bytes]:
    path = Path(settings.MEDIA_ROOT) / dataset.path
    try:
        kept = b"".join(read_sealed(path, dataset.lob.slug)) if dataset.sealed else path.read_bytes()
    except OSError:
        raise ValidationFailed(f"The rows of {dataset.name} are gone: upload them again.") from None
    except SealBroken:
        kept = b""
    if hashlib.sha256(kept).hexdigest() != dataset.digest:
        raise ValidationFailed(f"The rows of {dataset.name} were changed since they were uploaded.")
    return kept.splitlines()


def _lines(path: Path, lob: str) -> list[bytes]:
    return b"".join(read_sealed(path, lob)).splitlines()


# -------------------------------------------------------------------------------------------- what rows are held against
def known_labels(workload: Workload) -> frozenset[str]:
    """Labels of the shipped set; empty where none ships."""
    return (
        frozenset(shipped.label_names(workload.name)) if workload.name in shipped.TEXT_SETS else frozenset()
    )


def evaluation_digests(workload: Workload) -> frozenset[bytes]:
    """Digests of every text the workload is judged by: training on them would make each later figure worthless."""
    texts: list[str] = []
    if workload.name in shipped.TEXT_SETS:
        texts += shipped.load(workload.name, "val").texts
    for more in _judged_by:
        texts += more(workload)
    return frozenset(map(digest_of, texts))


_judged_by: list[Callable[[Workload], list[str]]] = []


def also_judged_by(texts_of: Callable[[Workload], list[str]]) -> None:
    """Register further texts that a workload is judged by, such as those of its golden set."""
    _judged_by.append(texts_of)


# ---------------------------------------------------------------------------------------------------------- deleting
def delete(dataset: Dataset, user: User | None) -> None:
    """Delete a data set and its rows. Raises Conflict while a job needs them."""
    refuse_in_use(dataset)
    with transaction.atomic():
        record(
            actor=user, action="dataset.deleted", target=f"dataset:{dataset.pk}", lob=dataset.lob.slug,
            organisation_id=dataset.organisation_id, detail={"sha256": dataset.digest},
        )  # fmt: skip
        drop_rows(dataset)
        dataset.delete()


def refuse_in_use(dataset: Dataset) -> None:
    """Raises Conflict `in_use` while a live job names the data set."""
    live = Job.objects.filter(organisation_id=dataset.organisation_id, state__in=LIVE)
    for job in live.only("id", "params"):
        if dataset.pk in (job.params.get("dataset"), job.params.get("validation_dataset")):
            raise Conflict(f"Job {job.pk} needs these rows: wait for it or cancel it first.", code="in_use")


def drop_rows(dataset: Dataset) -> None:
    """Delete the rows on disk unless another data set holds the same; the row stays as lineage, and says so."""
    same = Dataset.objects.filter(path=dataset.path).exclude(pk=dataset.pk)
    if not same.exclude(report__has_key="rows_deleted").exists():
        (Path(settings.MEDIA_ROOT) / dataset.path).unlink(missing_ok=True)
    dataset.report = dataset.report | {"rows_deleted": now().isoformat()}
    dataset.save(update_fields=["report"])


def purge_expired(at: datetime | None = None) -> int:
    """Delete rows that were kept for as long as may be; gives how many data sets lost theirs."""
    old = Dataset.objects.filter(expires_at__lte=at or now()).exclude(report__has_key="rows_deleted")
    done = 0
    for dataset in old.select_related("lob")[:500]:
        try:
            refuse_in_use(dataset)
        except Conflict:
            continue
        drop_rows(dataset)
        done += 1
    return done
