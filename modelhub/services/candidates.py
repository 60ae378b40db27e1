"""What a job made, kept as a candidate version: the same for every recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from modelhub import artifacts
from modelhub.models import Deployment, ModelVersion
from modelhub.services.signatures import sign_artifact
from switchyard.jobs.runner import Context
from switchyard.tenancy.models import Workload


@transaction.atomic
def keep_candidate(
    context: Context,
    *,
    deployment: Deployment,
    workload: Workload,
    version: str,
    folder: Path | None = None,
    **values: Any,
) -> ModelVersion:
    """The candidate, written only while the job is still ours; one that exists keeps its stage.

    `folder`: what was trained here; it is signed and known by its manifest's digest. `values`: the version's other columns.
    Raises Fenced when somebody else runs the job by now, ArtifactCorrupt when the files aren't those of the manifest.
    """
    context.write()
    if folder is not None:
        sign_artifact(folder)
        values |= {
            "artifact": str(folder.relative_to(settings.HOME)),
            "digest": artifacts.digest(folder / artifacts.MANIFEST),
        }
    candidate, _ = ModelVersion.objects.update_or_create(
        deployment=deployment, workload=workload, version=version, defaults=values,
        create_defaults=values | {"stage": "candidate"},
    )  # fmt: skip
    return candidate
