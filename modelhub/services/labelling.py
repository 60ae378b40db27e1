"""The labelling queue: rows chosen by what their labels would teach, labelled by one or two people, each label a ledger line.

texts → chosen by a job → open → votes → agreed, or disputed and settled → a data set to learn from
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from typing import Any

from cryptography.exceptions import InvalidTag
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from costs.labels import Labelled, charge
from modelhub.ml.active import cohens_kappa, krippendorffs_alpha
from modelhub.models import Dataset, LabelBatch, LabelItem, LabelVote, ModelVersion
from modelhub.services.datasets import known_labels, label_event, upload
from modelhub.services.job_costs import estimate
from modelhub.services.row_formats import refuse_other_files
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.crypto import open_for_lob, seal_for_lob
from switchyard.core.errors import Conflict, InvalidRequest, NotFound, ValidationFailed
from switchyard.core.ids import new_id
from switchyard.jobs.services import submit_once
from switchyard.tenancy.models import User, Workload

MOST_TEXTS, MOST_CHOSEN, MAX_TEXT = 20_000, 2000, 20_000
MOST_BYTES = 20 * 1024 * 1024


def start_batch(
    *, workload: Workload, user: User | None, name: str, content: bytes, count: int, labellers: int = 1,
    labels: list[str] | None = None,
) -> LabelBatch:  # fmt: skip
    """Take texts (CSV with a column `text`, JSON lines of {"text"}, or plain lines) and queue the choice of `count` of them.

    Raises InvalidRequest, ValidationFailed, Conflict when the choice could not be charged.
    """
    if workload.task != "classification":
        raise InvalidRequest(_("Labels are for workloads of classification."), param="workload")
    if labellers not in (1, 2):
        raise InvalidRequest(_("Each row is labelled by one or by two."), param="labellers")
    texts = read_texts(content, name)
    if not 1 <= count <= min(MOST_CHOSEN, len(texts)):
        raise InvalidRequest(
            _("From 1 to %(most)d rows can be chosen of these %(n)d.")
            % {"most": min(MOST_CHOSEN, len(texts)), "n": len(texts)},
            param="count",
        )
    chosen = sorted({label.strip() for label in labels or known_labels(workload) if label.strip()})
    if len(chosen) < 2:
        raise InvalidRequest(_("Name at least two labels that may be chosen."), param="labels")
    names = list(
        ModelVersion.objects.filter(workload=workload, stage="live", deployment__enabled=True)
        .order_by("-deployment__side").values_list("deployment__name", flat=True)[:2]
    )  # fmt: skip
    if not names:
        raise Conflict(
            _("No live model answers this workload: nothing can say which rows it is unsure of."),
            code="nothing_live",
        )
    expected = estimate(
        kind="label_queue", organisation_id=workload.organisation_id, deployments=names, workload=workload.name,
        rows=len(texts) * len(names),
    )  # fmt: skip
    with transaction.atomic():
        batch = LabelBatch.objects.create(
            id=new_id("lab"), workload=workload, name=name[:200] or "texts", labels=chosen[:1000], labellers=labellers,
            state="choosing", created_by=getattr(user, "username", ""),
        )  # fmt: skip
        lob = workload.lob.slug
        LabelItem.objects.bulk_create(
            [
                LabelItem(
                    batch=batch, place=place, digest=hashlib.sha256(text.encode()).hexdigest(), state="skipped",
                    sealed_text=seal_for_lob(lob, text.encode()),
                )
                for place, text in enumerate(texts)
            ],
            batch_size=500,
        )  # fmt: skip
        job = submit_once(
            kind="label_queue", organisation=workload.organisation, lob=workload.lob, user=user, estimated_nusd=expected,
            params={"batch": batch.pk, "workload": workload.name, "deployment": names[0], "others": names[1:], "count": count,
                    "rows": len(texts) * len(names)},
        )  # fmt: skip
        batch.job_id = job.pk
        batch.save(update_fields=["job_id"])
        record(
            actor=user, action="labels.queued", target=f"labels:{batch.pk}", lob=lob, organisation_id=workload.organisation_id,
            detail={"texts": len(texts), "count": count, "labellers": labellers},
        )  # fmt: skip
    return batch


def read_texts(content: bytes, name: str) -> list[str]:
    """Different texts in their order. Raises ValidationFailed with the line that is wrong."""
    if len(content) > MOST_BYTES:
        raise InvalidRequest(_("The file has more than 20 MiB: send fewer rows."))
    refuse_other_files(content)
    try:
        told = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValidationFailed(f"Line {line} is not UTF-8.", [_fault(line, "not UTF-8")]) from None
    found: dict[str, None] = {}
    for line, text in _texts(told, name.lower()):
        text = " ".join(text.split())
        if len(text) > MAX_TEXT or "\x00" in text:
            raise ValidationFailed(
                f"Line {line} can't be kept.",
                [_fault(line, f"longer than {MAX_TEXT} characters, or not text")],
            )
        if text:
            found[text] = None
    if not found:
        raise ValidationFailed(_("There is no text in this file."))
    if len(found) > MOST_TEXTS:
        raise ValidationFailed(_("More than %(most)d texts: send fewer.") % {"most": MOST_TEXTS})
    return list(found)


def _texts(told: str, name: str) -> Any:
    if name.endswith(".csv"):
        reader = csv.DictReader(io.StringIO(told, newline=""))
        if "text" not in (reader.fieldnames or ()):
            raise ValidationFailed(
                _("The first line must name the column `text`."), [_fault(1, "column missing")]
            )
        yield from ((reader.line_num, row["text"] or "") for row in reader)
        return
    for number, line in enumerate(told.split("\n"), start=1):
        if name.endswith((".jsonl", ".json")) and line.strip():
            try:
                text = json.loads(line)["text"]
                if not isinstance(text, str):
                    raise TypeError
                yield number, text
            except (ValueError, KeyError, TypeError):
                raise ValidationFailed(
                    f"Line {number} is wrong.", [_fault(number, "not an object with `text`")]
                ) from None
        else:
            yield number, line


def _fault(line: int, message: str) -> dict[str, Any]:
    return {"path": f"line {line}", "line": line, "column": 1, "message": message}


def text_of(item: LabelItem) -> str:
    """Raises NotFound when it was sealed under another installation's key."""
    try:
        return open_for_lob(item.batch.workload.lob.slug, item.sealed_text).decode()
    except (InvalidTag, ValueError):
        raise NotFound(_("This text can't be opened any more.")) from None


def next_item(batch: LabelBatch, username: str) -> LabelItem | None:
    """The row that teaches most among those that still need this labeller."""
    rows = LabelItem.objects.filter(batch=batch, state="open").exclude(votes__username=username)
    return rows.select_related("batch__workload__lob").order_by("-score", "place").first()


@transaction.atomic
def vote(*, item: LabelItem, user: User, label: str) -> LabelItem:
    """One labeller's word, charged at once. Raises InvalidRequest for a label that may not be chosen, Conflict for a second word
    or a row that is closed, BudgetExhausted when the labelling budget has no room: then nothing is kept.
    """
    item = _locked(item, ("open",))
    _check_label(item.batch, label)
    first = not item.votes.exists()
    try:
        with transaction.atomic():
            LabelVote.objects.create(item=item, username=user.username, label=label)
    except IntegrityError:
        raise Conflict(_("You have labelled this row already."), code="already_labelled") from None
    _charge(item, user, label, "label" if first else "review", label_event_for=first)
    said = list(item.votes.values_list("label", flat=True))
    if len(said) >= item.batch.labellers:
        item.state, item.label = ("agreed", said[0]) if len(set(said)) == 1 else ("disputed", "")
        item.save(update_fields=["state", "label"])
    return item


@transaction.atomic
def settle(*, item: LabelItem, user: User, label: str) -> LabelItem:
    """A third person's word on a row that two see differently."""
    item = _locked(item, ("disputed",))
    _check_label(item.batch, label)
    if item.votes.filter(username=user.username).exists():
        raise Conflict(_("Somebody who labelled this row can't settle it."), code="own_vote")
    LabelVote.objects.create(item=item, username=user.username, label=label, settles=True)
    _charge(item, user, label, "review", label_event_for=False)
    item.state, item.label = "settled", label
    item.save(update_fields=["state", "label"])
    return item


def _locked(item: LabelItem, states: tuple[str, ...]) -> LabelItem:
    rows = LabelItem.objects.select_for_update(of=("self",)).select_related(
        "batch__workload__lob", "batch__workload__organisation"
    )
    item = rows.get(pk=item.pk)
    if item.state not in states:
        raise Conflict(_("This row is %(state)s.") % {"state": item.state}, code="illegal_state")
    return item


def _check_label(batch: LabelBatch, label: str) -> None:
    if label not in batch.labels:
        raise InvalidRequest(
            _("%(label)s is none of the labels of this queue.") % {"label": label[:60]}, param="label"
        )


def _charge(item: LabelItem, user: User, label: str, purpose: str, *, label_event_for: bool) -> None:
    """The first word on a row has the name that the row keeps in a data set, so that using it costs nothing more."""
    workload = item.batch.workload
    own = f"{purpose}:{item.pk}:{user.pk}"
    charge([
        Labelled(
            event_id=label_event(workload, (text_of(item), label)) if label_event_for else own,
            organisation_id=workload.organisation_id, lob=workload.lob.slug, workload=workload.name, purpose=purpose, at=now(),
            memo=f"row {item.place + 1} of {item.batch.pk} by {user.username}",
        )
    ])  # fmt: skip


def agreement(batch: LabelBatch) -> dict[str, Any]:
    """Two labellers' agreement over the rows that both labelled: Cohen's kappa by pair, Krippendorff's alpha over all."""
    votes = LabelVote.objects.filter(item__batch=batch, settles=False).order_by("item__place", "username")
    rows: dict[int, dict[str, str]] = {}
    for item, username, label in votes.values_list("item_id", "username", "label"):
        rows.setdefault(item, {})[username] = label
    both = [row for row in rows.values() if len(row) == 2]
    pairs: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for row in both:
        pairs.setdefault(tuple(row), []).append(tuple(row.values()))
    kappas = {
        " / ".join(names): round(cohens_kappa([a for a, _b in said], [b for _a, b in said]), 4)
        for names, said in pairs.items()
    }
    alpha = krippendorffs_alpha([list(row.values()) for row in both])
    same = sum(len(set(row.values())) == 1 for row in both)
    return {
        "rows": len(both),
        "same": same,
        "kappa": kappas,
        "alpha": None if alpha != alpha else round(alpha, 4),
    }


def as_csv(batch: LabelBatch) -> str:
    """Every chosen row with its place, text, the model's guess, and its label; what a spreadsheet would run stays text."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["row", "text", "guess", "label"])
    items = (
        batch.items.exclude(state="skipped")
        .select_related("batch__workload__lob")
        .order_by("-score", "place")
    )
    for item in items:
        text = text_of(item)
        writer.writerow([item.place, f"'{text}" if text[:1] in "=+-@\t\r" else text, item.guess, item.label])
    return out.getvalue()


def from_csv(*, batch: LabelBatch, user: User, content: bytes) -> int:
    """Labels that were filled in elsewhere: one word of this labeller for each row that has one; all or none.

    Raises ValidationFailed with the lines that are wrong. Gives how many were taken.
    """
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        lines = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValidationFailed(_("This is no CSV in UTF-8.") + f" {str(error)[:100]}") from None
    if not {"row", "label"} <= set(reader.fieldnames or ()):
        raise ValidationFailed(
            _("The first line must name the columns `row` and `label`."), [_fault(1, "columns missing")]
        )
    items = {item.place: item for item in batch.items.filter(state="open")}
    faults, taken = [], 0
    with transaction.atomic():
        for line, row in lines:
            label = (row.get("label") or "").strip()
            if not label:
                continue
            place = (row.get("row") or "").strip()
            item = items.get(int(place)) if place.isdigit() else None
            if item is None or item.votes.filter(username=user.username).exists():
                continue  # labelled meanwhile, or by this labeller before: the file may be sent twice
            if label not in batch.labels:
                faults.append(_fault(line, f"{label[:60]!r} is none of the labels"))
            elif not faults:
                vote(item=item, user=user, label=label)
                taken += 1
        if faults:
            transaction.set_rollback(True)
    if faults:
        raise ValidationFailed(f"{len(faults)} labels are wrong; nothing was taken.", faults[:50])
    return taken


def to_dataset(*, batch: LabelBatch, user: User | None) -> Dataset:
    """What was agreed or settled as rows to learn from; labels that were charged once cost nothing here."""
    rows = batch.items.filter(state__in=("agreed", "settled")).select_related("batch__workload__lob")
    told = "".join(json.dumps({"text": text_of(item), "label": item.label}) + "\n" for item in rows)
    return upload(workload=batch.workload, name=f"{batch.name}.jsonl", content=told.encode(), user=user)
