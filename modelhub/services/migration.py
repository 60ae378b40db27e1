"""Moving a live deployment to another backend: what is made beforehand, what is compared on, how it is followed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from modelhub import artifacts
from modelhub.models import Deployment
from modelhub.services.server_control import tell
from modelhub.services.validation import has_validation_rows, validation_rows
from modelhub.serving.migration import ENDED, Bounds
from modelhub.serving.runtime import BACKENDS, ORT_INT8, int8_path
from switchyard.audit.services import record
from switchyard.core.errors import InvalidRequest
from switchyard.jobs.models import Job
from switchyard.jobs.services import submit_once
from switchyard.tenancy.models import User, Workload

GOLDEN_ROWS = 64  # of each workload that the deployment answers
POLL_S = 0.25


@transaction.atomic
def start_migration(
    *, deployment: Deployment, backend: str, user: User | None, agreement: float | None = None,
    latency_ratio: float | None = None, rows: int | None = None, patience_s: float | None = None,
) -> Job:  # fmt: skip
    """Queue the move; one at a time a deployment. Raises InvalidRequest for what can't be moved."""
    if deployment.side != "private":
        raise InvalidRequest(f"{deployment.name} is a vendor's: only servers of ours change their backend.")
    if backend not in BACKENDS:
        raise InvalidRequest(f"`backend` is one of {', '.join(BACKENDS)}; got {backend!r}.", param="backend")
    usual = Bounds()
    bounds = {
        "agreement": usual.agreement if agreement is None else agreement,
        "latency_ratio": usual.latency_ratio if latency_ratio is None else latency_ratio,
        "rows": usual.rows if rows is None else rows,
        "patience_s": usual.patience_s if patience_s is None else patience_s,
    }
    job = submit_once(
        kind="migration", organisation=deployment.organisation, lob=None, user=user,
        params={"deployment": deployment.name, "backend": backend, **bounds}, unique_key=f"migration:{deployment.pk}",
    )  # fmt: skip
    note(deployment, "migration_started", user, backend=backend, job=job.pk, **bounds)
    return job


def note(deployment: Deployment, action: str, user: User | None, **detail: Any) -> None:
    record(
        actor=user, action=f"deployment.{action}", target=f"deployment:{deployment.name}",
        organisation_id=deployment.organisation_id, detail=detail,
    )  # fmt: skip


def prepare(deployment: Deployment, backend: str) -> list[Path]:
    """The INT8 forms that the move needs and that aren't there yet, written to the home that the server shares."""
    if backend != ORT_INT8:
        return []
    made = []
    for path in _graphs(deployment):
        target = int8_path(path)
        if target.is_file():
            continue
        from modelhub.ml.quantize.ptq import quantise_dynamic

        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        quantise_dynamic(path, partial)
        partial.replace(target)
        made.append(target)
    return made


def _graphs(deployment: Deployment) -> list[Path]:
    """The graphs whose products are worth quantising: trunk and body; heads are look-ups."""
    try:
        folder = artifacts.find(deployment.model)
    except artifacts.ArtifactMissing as error:
        raise InvalidRequest(f"{deployment.name}: {error}.") from None
    manifest = artifacts.load_manifest(folder)
    found = [artifacts.file_of(folder, manifest, "body")] if "body" in manifest["files"] else []
    if "trunk" in manifest.get("requires", {}):
        from modelhub.ml.trunk import ensure_trunk

        found.append(ensure_trunk(Path(settings.HOME)) / "model.onnx")
    if not found:
        raise InvalidRequest(f"{deployment.model} has no graph to quantise: it is a {manifest['kind']}.")
    return found


def golden_rows(deployment: Deployment) -> list[dict[str, Any]]:
    """Held-back inputs of every workload that the server's model has a head for: {"head", "input"}."""
    try:
        heads = set(artifacts.load_manifest(artifacts.find(deployment.model)).get("heads", {}))
    except artifacts.ArtifactMissing:
        return []  # a model that lies with its server alone: live requests compare it
    rows = []
    for workload in Workload.objects.filter(organisation=deployment.organisation, name__in=heads).order_by(
        "name"
    ):
        if has_validation_rows(workload):
            inputs = validation_rows(workload).first(GOLDEN_ROWS).inputs
            rows += [{"head": workload.name, "input": value} for value in inputs]
    return rows


def order(deployment: Deployment, params: dict[str, Any]) -> dict[str, Any]:
    """Tell the server to begin; its first report. Raises InvalidRequest with its words, UpstreamFailure."""
    bounds = {name: params[name] for name in ("agreement", "latency_ratio", "rows", "patience_s")}
    body = {
        "model": deployment.model,
        "backend": params["backend"],
        "golden": golden_rows(deployment),
        **bounds,
    }
    return tell(deployment, "POST", "/control/migrations", body, timeout_s=60.0)


def follow(
    deployment: Deployment, report: dict[str, Any], look: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """The last report; `look(report)` says whether to go on, and a move that isn't to go on is taken back."""
    while report["state"] not in ENDED:
        if not look(report):
            tell(deployment, "POST", f"/control/migrations/{report['id']}/cancel")
        time.sleep(POLL_S)
        report = tell(deployment, "GET", f"/control/migrations/{report['id']}")
    return report
