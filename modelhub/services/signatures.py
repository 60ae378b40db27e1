"""The installation's own signature on what it trains, and how strict its model servers are about it."""

from __future__ import annotations

from pathlib import Path

from modelhub.serving.trust import Trust
from switchyard.core.conf import conf
from switchyard.core.crypto import keyed_digest


def artifact_trust() -> Trust:
    """Checks and signs under a key derived from this installation's pepper."""
    key = keyed_digest("signatures of artifacts").encode()
    return Trust(key, required=conf("SERVING_SIGNATURES") == "required")


def sign_artifact(directory: Path) -> Path:
    """Sign a folder that was just written. Raises ArtifactCorrupt when its files aren't those of its manifest."""
    return artifact_trust().sign(directory)
