"""Learning from judged answers: a scorer of each workload and a map of each deployment's confidence, put into use only where they
beat what is in use on answers they hadn't seen. A workload belongs to one line of business; nothing is shared between two."""

from __future__ import annotations

import base64
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Max

from routing.learned import calibrate, feedback
from routing.learned.live import edge_of, from_sketch
from routing.learning.models import RoutingFit
from routing.models import DecisionRecord, Feedback
from routing.services.learned_sheets import sheet_of, upstream_of
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import Conflict
from switchyard.tenancy.models import Organisation, User, Workload
from switchyard.tenancy.services import bump_config

log = logging.getLogger(__name__)
WINDOW_DAYS, MOST_ROWS, CHUNK = 90, 20_000, 500
MOSTLY = 0.9  # of the rows must have a sketch of one student
NEW_ROWS = 100  # judged answers since the last fit before another is worth making


@dataclass(frozen=True, slots=True)
class Row:
    """One judged answer, without its text."""

    deployment: str
    model: str
    right: bool
    facts: dict[str, Any]
    confidence: float | None  # None: not told, or of several answers together
    sketch: bytes


@dataclass(slots=True)
class Taught:
    """What came of it: the fits written, and why others were not."""

    fits: list[RoutingFit] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def promoted(self) -> int:
        return sum(fit.state == "live" for fit in self.fits)


def judged_rows(workload: Workload) -> list[Row]:
    """The newest judged answers of one workload, its line of business's own only."""
    told = Feedback.objects.filter(
        organisation_id=workload.organisation_id, lob=workload.lob.slug, workload=workload.name, correct__isnull=False,
        at__gte=now() - timedelta(days=WINDOW_DAYS),
    )  # fmt: skip
    names = ("decision_id", "deployment", "model", "correct")
    return list(_joined(list(told.order_by("-at").values_list(*names)[:MOST_ROWS]), workload))


def _joined(judged: Sequence[tuple[str, str, str, bool]], workload: Workload) -> Iterator[Row]:
    for start in range(0, len(judged), CHUNK):
        part = judged[start : start + CHUNK]
        rows = DecisionRecord.objects.filter(
            pk__in=[row[0] for row in part], organisation_id=workload.organisation_id, lob=workload.lob.slug
        )
        details = {
            pk: (detail, answers) for pk, detail, answers in rows.values_list("pk", "detail", "answers")
        }
        for decision, deployment, model, right in part:
            if decision not in details:
                continue
            detail, answers = details[decision]
            alone = detail.get("confidence") if answers == 1 else None
            yield Row(deployment, model, right, detail.get("facts") or {}, alone, _sketch(detail))


def _sketch(detail: dict[str, Any]) -> bytes:
    try:
        drawn = base64.b64decode((detail.get("learned") or {}).get("sketch") or "")
        from_sketch(drawn)
    except ValueError:
        return b""
    return drawn


def learn(*, workload: Workload, user: User | None = None) -> Taught:
    """Fit what there are judged answers for, write each as a version, put into use what is better. Audited."""
    rows, taught = judged_rows(workload), Taught()
    _scorer(workload, rows, taught, user)
    for deployment in sorted({row.deployment for row in rows}):
        _calibration(workload, deployment, rows, taught, user)
    if taught.promoted:
        bump_config()
    return taught


def learn_where_due() -> int:
    """Every workload with enough new judged answers since its last fit; gives how many fits were put into use."""
    promoted = 0
    for organisation in Organisation.objects.order_by("pk"):
        for workload in (
            Workload.objects.filter(organisation=organisation).select_related("lob").order_by("pk")
        ):
            if not _due(workload):
                continue
            try:
                promoted += learn(workload=workload).promoted
            except Exception:
                log.exception("nothing could be learned for %s", workload.name)
    return promoted


def _due(workload: Workload) -> bool:
    mine = {"organisation_id": workload.organisation_id, "lob": workload.lob.slug, "workload": workload.name}
    last = RoutingFit.objects.filter(**mine).order_by("-at").values_list("at", flat=True).first()
    new = Feedback.objects.filter(**mine, correct__isnull=False)
    return (new.filter(given_at__gt=last) if last else new)[:NEW_ROWS].count() >= NEW_ROWS


def _scorer(workload: Workload, rows: Sequence[Row], taught: Taught, user: User | None) -> None:
    """From facts; with the sketch beside them where the line of business keeps texts and nine rows in ten have one."""
    if not rows:
        taught.reasons["scorer"] = "no judged answers yet"
        return
    student, drawn = Counter(edge_of(row.sketch) for row in rows).most_common(1)[0]
    sketched = student if workload.lob.keep_text and drawn >= MOSTLY * len(rows) else ""
    used = [row for row in rows if edge_of(row.sketch) == sketched] if sketched else list(rows)
    features = [feedback.fact_features(r.facts) + (from_sketch(r.sketch) if sketched else []) for r in used]
    judged = feedback.Judged(
        np.array(features, float), np.array([row.deployment for row in used]),
        np.array([row.right for row in used], float),
    )  # fmt: skip
    live = _live(workload, "scorer", "")
    present = feedback.WorkloadScorer.from_json(live.values) if live is not None else None
    if present is not None and present.sketch != sketched:
        present = None  # it reads other numbers: judged against the plain rates, as the first one was
    try:
        found = feedback.fit(judged, sketch=sketched, present=present)
    except ValueError as error:
        taught.reasons["scorer"] = str(error)
        return
    report = {
        "log_loss_saved": round(found.gain, 5), "low": round(found.low, 5), "high": round(found.high, 5),
        "against": "the scorer in use" if present is not None else "each deployment's plain rate",
        "by_deployment": found.by_deployment, "sketch": bool(sketched),
    }  # fmt: skip
    fit = _keep(workload, "scorer", "", "", found.scorer.as_json(), report, found.n, found.better, user)
    taught.fits.append(fit)


def _calibration(
    workload: Workload, deployment: str, rows: Sequence[Row], taught: Taught, user: User | None
) -> None:
    """Of the model that answers now: judged answers and, where there is one, its sheet of validation rows."""
    model = upstream_of(workload, deployment)
    own = [r for r in rows if r.deployment == deployment and r.model == model and r.confidence is not None]
    confidence, right = [float(r.confidence or 0) for r in own], [float(r.right) for r in own]
    sheet = sheet_of(workload, deployment)
    if sheet is not None and own:
        confidence += sheet.confidence[sheet.given].tolist()
        right += sheet.right[sheet.given].astype(float).tolist()
    name = f"calibration:{deployment}"
    if not own:
        taught.reasons[name] = "no judged answer of the model that answers now tells how sure it was"
        return
    try:
        found = calibrate.fit(np.array(confidence), np.array(right))
    except ValueError as error:
        taught.reasons[name] = str(error)
        return
    better = found.calibration.kind != "identity"
    report = {"log_loss": {k: round(v, 5) for k, v in found.log_loss.items()}, "kind": found.calibration.kind,
              "feedback": len(own), "validation": len(right) - len(own)}  # fmt: skip
    values = found.calibration.as_json()
    taught.fits.append(
        _keep(workload, "calibration", deployment, model, values, report, len(right), better, user)
    )


def _live(workload: Workload, kind: str, deployment: str) -> RoutingFit | None:
    rows = RoutingFit.objects.filter(
        organisation_id=workload.organisation_id, lob=workload.lob.slug, workload=workload.name, kind=kind
    )
    return rows.filter(deployment=deployment, state="live").first()


@transaction.atomic
def _keep(
    workload: Workload, kind: str, deployment: str, model: str, values: dict[str, Any], report: dict[str, Any], n: int,
    better: bool, user: User | None,
) -> RoutingFit:  # fmt: skip
    """Write a version; put it into use when it is better. Writers of one organisation queue up behind its row."""
    Organisation.objects.select_for_update().get(pk=workload.organisation_id)
    same = RoutingFit.objects.filter(
        organisation_id=workload.organisation_id, workload=workload.name, kind=kind, deployment=deployment
    )
    version = (same.aggregate(last=Max("version"))["last"] or 0) + 1
    if better:
        same.filter(state="live").update(state="retired")
    fit = RoutingFit.objects.create(
        organisation_id=workload.organisation_id, lob=workload.lob.slug, workload=workload.name, kind=kind,
        deployment=deployment, model=model, version=version, state="live" if better else "kept", values=values,
        report=report, n=n, created_by=user,
    )  # fmt: skip
    record(
        actor=user, action="routing.learned" if better else "routing.not_better", target=str(fit), lob=fit.lob,
        organisation_id=fit.organisation_id, detail={"n": n} | report,
    )  # fmt: skip
    return fit


@transaction.atomic
def retire(*, fit: RoutingFit, user: User | None) -> RoutingFit:
    """Take a fit out of use: evaluated quality, or the model's own confidence, speaks again. Raises Conflict."""
    fit = RoutingFit.objects.select_for_update().get(pk=fit.pk)
    if fit.state != "live":
        raise Conflict(f"Version {fit.version} isn't in use, so there is nothing to take back.")
    fit.state = "retired"
    fit.save(update_fields=["state"])
    record(
        actor=user,
        action="routing.retired",
        target=str(fit),
        lob=fit.lob,
        organisation_id=fit.organisation_id,
    )
    transaction.on_commit(bump_config)
    return fit
