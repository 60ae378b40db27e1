"""The learned step: names and attempts that no pattern knows. Where it can't be loaded, nothing passes as read."""

from __future__ import annotations

import functools
import logging

from modelhub import artifacts
from modelhub.ml.inspect.model import InspectionModel, load

log = logging.getLogger(__name__)
MODEL = "inspect-text"


class ClassifierMissing(RuntimeError):
    """The classifier can't be loaded: what it would have found is unknown."""


@functools.cache
def _loaded() -> InspectionModel | None:
    try:
        folder = artifacts.find(MODEL)
        manifest = artifacts.verify(folder)
        return load(artifacts.file_of(folder, manifest, "weights"))
    except (artifacts.ArtifactMissing, artifacts.ArtifactCorrupt, ValueError):
        log.exception("the inspection classifier can't be loaded: every request counts as restricted")
        return None


def classifier() -> InspectionModel:
    """Raises ClassifierMissing."""
    model = _loaded()
    if model is None:
        raise ClassifierMissing(
            f"The artifact {MODEL!r} is missing or damaged; `make models` makes it again."
        )
    return model


def preload() -> None:
    """At a process's start, so that no request waits for it; whether it is there is told at each request."""
    _loaded()
