"""Everything the product keeps lies under one folder, SWITCHYARD_HOME; two homes run side by side."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[3]
SOCKET_PATH_MAX_BYTES = 107  # what sun_path holds, less its closing zero


class StartRefused(Exception):
    """The product cannot start here; the message is a sentence that names the mend."""


@dataclass(frozen=True)
class Home:
    """The folder of one installation."""

    root: Path

    @classmethod
    def from_environment(cls) -> Home:
        raw = os.environ.get("SWITCHYARD_HOME")
        return cls(Path(raw).expanduser().resolve() if raw else ROOT / "var")

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def demo_json(self) -> Path:
        return self.root / "demo.json"

    @property
    def secrets_json(self) -> Path:
        return self.root / "demo-secrets.json"

    @property
    def examples_json(self) -> Path:
        return self.root / "demo-examples.json"

    @property
    def price_sheet(self) -> Path:
        return self.root / "stand-in-prices.json"

    def prepare(self) -> None:
        """Make the folders. Raises StartRefused where they can't be made."""
        try:
            for folder in (self.root, self.logs, self.run, self.root / "spool", self.root / "media"):
                folder.mkdir(parents=True, exist_ok=True)
            self.run.chmod(0o700)
        except OSError as error:
            raise StartRefused(
                f"{self.root} can't be written ({error.strerror}). "
                "Choose another folder: SWITCHYARD_HOME=/path make run."
            ) from None

    def lock(self) -> IO[str]:
        """Hold this while the product runs. Raises StartRefused when another instance has it."""
        handle = open(self.run / "supervisor.lock", "a+")  # noqa: SIM115 (held for the whole run)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            pid = handle.read().strip() or "unknown"
            handle.close()
            raise StartRefused(
                f"Another instance (process {pid}) already runs in {self.root}. Stop it with Ctrl-C or "
                f"`kill {pid}`, or start a second copy with its own folder and port: "
                "SWITCHYARD_HOME=/path PORT=8001 make run."
            ) from None
        handle.seek(0)
        handle.truncate()
        handle.write(str(os.getpid()))
        handle.flush()
        return handle

    def socket_path(self, name: str = "valkey.sock") -> Path:
        """Where a unix socket goes: in the home, or in a short private folder when that path is too long."""
        path = self.run / name
        if len(os.fsencode(path)) <= SOCKET_PATH_MAX_BYTES:
            return path
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        base = os.environ.get("XDG_RUNTIME_DIR") or "/tmp"
        folder = Path(base) / f"switchyard-{os.getuid()}-{digest}"
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if status.st_uid != os.getuid() or folder.is_symlink() or status.st_mode & 0o077:
            raise StartRefused(f"{folder} belongs to somebody else or is open to others; remove it.")
        return folder / name


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file, or an empty one."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_private_json(path: Path, value: dict[str, Any]) -> None:
    """Mode 0600, and a reader sees the old file or the new one, never half of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), 0o600)
            json.dump(value, stream, indent=1, ensure_ascii=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
