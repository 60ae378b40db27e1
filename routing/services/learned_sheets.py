"""Which validation rows a deployment answers right, and how sure: from its latest evaluation, else from what ships."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from modelhub import artifacts
from modelhub.ml.answer_sheets import Sheet, unpack
from modelhub.models import Deployment, Evaluation, ModelVersion
from routing.selectors.learned import ROUTER
from switchyard.tenancy.models import Workload


def upstream_of(workload: Workload, deployment: str) -> str:
    """The model that the deployment's server is asked for now, as records name it; empty for an unknown deployment."""
    live = _live_version(workload, deployment)
    if live is not None:
        return live.upstream_model
    row = Deployment.objects.filter(organisation_id=workload.organisation_id, name=deployment).first()
    return row.model if row else ""


def sheet_of(workload: Workload, deployment: str) -> Sheet | None:
    """Of the version that is live. None where it was never evaluated row by row."""
    live = _live_version(workload, deployment)
    rows = Evaluation.objects.filter(workload=workload, deployment__name=deployment).order_by("-at")
    rows = rows.filter(version__in=["", live.version] if live is not None else [""])
    for detail in rows.values_list("detail", flat=True)[:5]:
        if (sheet := unpack(detail.get("answers"))) is not None:
            return sheet
    return _shipped(live, workload.name)


def _live_version(workload: Workload, deployment: str) -> ModelVersion | None:
    return ModelVersion.objects.filter(
        workload=workload, deployment__name=deployment, stage="live",
        deployment__organisation_id=workload.organisation_id,
    ).first()  # fmt: skip


def _shipped(live: ModelVersion | None, workload: str) -> Sheet | None:
    """What came with the product, for exactly the weights that it came with."""
    if live is None or "@" in live.upstream_model:
        return None
    model = live.upstream_model.partition("/")[0]
    try:
        found = artifacts.find(model)
        told = _answers().get(model)
        if told is None or told["manifest"] != artifacts.digest(found / artifacts.MANIFEST):
            return None
    except (artifacts.ArtifactMissing, artifacts.ArtifactCorrupt, OSError):
        return None
    return unpack(told["sheets"].get(workload))


def _answers() -> dict[str, Any]:
    folder = artifacts.find(ROUTER)
    return _read(str(folder), artifacts.digest(folder / artifacts.MANIFEST))


@lru_cache(maxsize=2)
def _read(folder: str, digest: str) -> dict[str, Any]:
    """`digest`: of the manifest, so that another artifact is read anew."""
    directory = Path(folder)
    manifest = artifacts.verify(directory)
    return dict(json.loads(artifacts.file_of(directory, manifest, "answers").read_text("utf-8")))
