"""Whether a version's files are the ones that were made and judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings

from modelhub import artifacts
from modelhub.models import ModelVersion
from modelhub.services.signatures import artifact_trust
from modelhub.serving.errors import ModelRefused


def folder_of(version: ModelVersion) -> Path | None:
    """Where its files lie on this machine; None for a model that lives elsewhere."""
    if not version.artifact:
        return None
    for root in (Path(settings.HOME), artifacts.ROOT):
        if (root / version.artifact / artifacts.MANIFEST).is_file():
            return root / version.artifact
    return Path(settings.HOME) / version.artifact


def check_files(version: ModelVersion) -> str:
    """Why its files can't be served; empty when they can, or when it has none here."""
    folder = folder_of(version)
    if folder is None:
        return ""
    try:
        manifest = artifacts.verify(folder)
        found = artifacts.digest(folder / artifacts.MANIFEST)
        artifact_trust().check(folder, version.version)
    except artifacts.ArtifactCorrupt as error:
        return f"{error}"
    except ModelRefused as error:
        return error.message
    if version.digest and found != version.digest:
        return f"its files are not the ones that were judged: manifest {found[:12]}…, expected {version.digest[:12]}…"
    return _foreign(version, manifest)


def _foreign(version: ModelVersion, manifest: dict[str, Any]) -> str:
    """An adapter answers the workload, and the line of business, that it was made for; nobody else's may go live with it."""
    own = f"{version.workload.organisation_id}/{version.workload.lob.slug}"
    made_for = manifest.get("head", "" if manifest["kind"] == "text-head" else version.workload.name)
    if made_for != version.workload.name:
        return "it is an adapter of another workload"
    if manifest.get("lob") and manifest["lob"] != own:
        return "it is an adapter of another line of business"
    return ""
