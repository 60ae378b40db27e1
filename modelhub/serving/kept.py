"""What operators chose while a server ran, written down so that a restart keeps it: the backend of each model."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from modelhub import artifacts
from modelhub.serving.runtime import BACKENDS

log = logging.getLogger(__name__)


class Kept:
    """A small JSON file beside the other state. A file that can't be read is as good as none, and is said."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def backends(self) -> dict[str, str]:
        """Model id → backend."""
        try:
            found = json.loads(self.path.read_text("utf-8"))["backends"]
            return {str(model): backend for model, backend in found.items() if backend in BACKENDS}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, AttributeError) as error:
            log.warning("%s is not used: %s", self.path, error)
            return {}

    def keep(self, model: str, backend: str) -> None:
        artifacts.write_json(self.path, {"backends": self.backends() | {model: backend}})
