"""The base that a fine-tune starts from: here, whole, and signed where this installation asks for it."""

from __future__ import annotations

from pathlib import Path

from modelhub import artifacts
from modelhub.models import Deployment
from modelhub.services.signatures import artifact_trust
from modelhub.serving.errors import ModelRefused
from switchyard.core.errors import InvalidRequest


def find_base(deployment: Deployment) -> Path:
    """The base's folder, its manifest read and nothing more. Raises InvalidRequest `base_missing` or `base_corrupt`."""
    try:
        folder = artifacts.find(deployment.model)
        artifacts.load_manifest(folder)
    except artifacts.ArtifactMissing:
        raise InvalidRequest(
            f"The base {deployment.model} of {deployment.name} isn't on this machine: put its folder under "
            f"artifacts/{deployment.model} in the product's home, or fine-tune another deployment.",
            code="base_missing", param="model",
        ) from None  # fmt: skip
    except artifacts.ArtifactCorrupt as error:
        raise _damaged(deployment, error) from None
    return folder


def trusted_base(deployment: Deployment) -> Path:
    """The same with every file hashed and its signature looked at. Raises InvalidRequest, also `base_unsigned`."""
    folder = find_base(deployment)
    try:
        artifacts.verify(folder)
        artifact_trust().check(folder, deployment.model)
    except artifacts.ArtifactCorrupt as error:
        raise _damaged(deployment, error) from None
    except ModelRefused as error:
        raise InvalidRequest(
            f"The base of {deployment.name} can't be trusted: {error}", code="base_unsigned"
        ) from None
    return folder


def _damaged(deployment: Deployment, error: Exception) -> InvalidRequest:
    return InvalidRequest(
        f"The base {deployment.model} of {deployment.name} is damaged ({error}): put it back whole, then retry.",
        code="base_corrupt", param="model",
    )  # fmt: skip
