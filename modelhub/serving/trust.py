"""Whose files are served: a signature over an artifact's manifest, which names every file by its hash.

`manifest.sig` beside the manifest holds an HMAC-SHA256 of its bytes under a key of this installation. What the
platform trains is signed as it is written. With `required`, a folder of the home without a signature is refused; a
signature that is there and wrong is always refused. What ships with the code is as trusted as the code.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from modelhub import artifacts
from modelhub.serving.errors import ModelRefused

SIGNATURE = "manifest.sig"


class Trust:
    """Checks and gives signatures under one key. An empty key checks nothing and can sign nothing."""

    def __init__(self, key: bytes = b"", *, required: bool = False) -> None:
        if required and not key:
            raise ValueError("signatures can't be required without a key to check them with")
        self._key, self.required = key, required

    def sign(self, directory: Path) -> Path:
        """Write the signature of a folder whose files are those its manifest names. Raises ArtifactCorrupt."""
        if not self._key:
            raise ValueError("there is no key to sign with")
        artifacts.verify(directory)
        target = Path(directory) / SIGNATURE
        target.write_text(self._of(directory) + "\n", encoding="ascii")
        return target

    def check(self, directory: Path, name: str) -> None:
        """Raises ModelRefused `unsigned` or `foreign_signature`."""
        directory = Path(directory)
        if not self._key or directory.is_relative_to(artifacts.SHIPPED):
            return
        try:
            found = (directory / SIGNATURE).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            found = ""
        if not found:
            if self.required:
                why = "its folder has no signature and this server takes signed artifacts only; see `manage.py sign_artifact`."
                raise ModelRefused(name, why, code="unsigned")
            return
        if not hmac.compare_digest(found, self._of(directory)):
            why = "its signature is another installation's, or its manifest was changed after it was signed."
            raise ModelRefused(name, why, code="foreign_signature")

    def _of(self, directory: Path) -> str:
        told = (Path(directory) / artifacts.MANIFEST).read_bytes()
        return hmac.new(self._key, told, hashlib.sha256).hexdigest()
