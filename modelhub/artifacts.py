"""Weights and reports on disk: one folder per model, with a manifest that names every file by its hash.

Two places hold them: `$SWITCHYARD_HOME/artifacts/` for what users train, and the repository's `artifacts/`
for what ships. The home is looked at first, so a locally trained model replaces the shipped one of its name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "artifacts"
MANIFEST = "manifest.json"
_ALLOWED_SUFFIXES = {".onnx", ".npz", ".json", ".md", ".safetensors", ".txt"}


class ArtifactMissing(LookupError):
    """No artifact of that id is in the home or in the repository."""


class ArtifactCorrupt(ValueError):
    """A file of an artifact is absent, not of an allowed kind, or not the one its manifest names."""


def home() -> Path:
    """The folder that holds all state: `SWITCHYARD_HOME`, or `var/` beside the code."""
    return Path(os.environ.get("SWITCHYARD_HOME") or ROOT / "var")


def find(model_id: str) -> Path:
    """The folder of a model, the user's own before the shipped one. Raises ArtifactMissing."""
    if not model_id or model_id.startswith(".") or "/" in model_id or "\\" in model_id:
        raise ArtifactMissing(f"{model_id!r} is not a model id: expected one folder name")
    places = [home() / "artifacts" / model_id, SHIPPED / model_id]
    for place in places:
        if (place / MANIFEST).is_file():
            return place
    raise ArtifactMissing(f"no artifact {model_id!r}: looked in {places[0]} and {places[1]}")


def find_head(model_id: str, head: str) -> Path:
    """The folder of a fine-tuned head (`support-intent@ft-ab12`) of a model. Raises ArtifactMissing."""
    if "/" in head or "\\" in head or head.startswith("."):
        raise ArtifactMissing(f"{head!r} is not a head name")
    place = home() / "artifacts" / model_id / "heads" / head
    if not (place / MANIFEST).is_file():
        raise ArtifactMissing(f"no head {head!r} of {model_id!r}: looked in {place}")
    return place


def load_manifest(directory: Path) -> dict[str, Any]:
    """Read a folder's manifest. Raises ArtifactCorrupt when it is absent or is not JSON."""
    path = Path(directory) / MANIFEST
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ArtifactCorrupt(f"{path} is missing") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactCorrupt(f"{path} is not JSON: {error}") from error
    if not isinstance(manifest, dict) or "id" not in manifest or "files" not in manifest:
        raise ArtifactCorrupt(f"{path} lacks 'id' or 'files'")
    return manifest


def digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def describe_file(path: Path) -> dict[str, Any]:
    """A file's entry in a manifest: name, sha256, bytes."""
    path = Path(path)
    return {"name": path.name, "sha256": digest(path), "bytes": path.stat().st_size}


def file_of(directory: Path, manifest: dict[str, Any], role: str) -> Path:
    """The path that a manifest names for a role. Raises ArtifactCorrupt when there is none."""
    entry = manifest["files"].get(role)
    if entry is None:
        raise ArtifactCorrupt(f"{manifest['id']} has no file for {role!r}")
    name = entry["name"]
    if Path(name).name != name:
        raise ArtifactCorrupt(f"{manifest['id']}: file name {name!r} leaves its folder")
    return Path(directory) / name


def verify(directory: Path) -> dict[str, Any]:
    """Check every file against its manifest, and give the manifest. Raises ArtifactCorrupt."""
    manifest = load_manifest(directory)
    for role, entry in manifest["files"].items():
        path = file_of(directory, manifest, role)
        if path.suffix not in _ALLOWED_SUFFIXES:
            raise ArtifactCorrupt(f"{path.name}: {path.suffix or 'no suffix'} is not an allowed kind of file")
        if not path.is_file():
            raise ArtifactCorrupt(f"{path} is missing")
        if (found := digest(path)) != entry["sha256"]:
            raise ArtifactCorrupt(f"{path.name} has sha256 {found[:12]}…, expected {entry['sha256'][:12]}…")
    return manifest


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=1, ensure_ascii=False)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)


def write_manifest(directory: Path, manifest: dict[str, Any], files: dict[str, str]) -> dict[str, Any]:
    """Complete a manifest with the hashes of `files` (role → name in the folder) and write it last."""
    complete = {**manifest, "files": {role: describe_file(directory / name) for role, name in files.items()}}
    write_json(Path(directory) / MANIFEST, complete)
    return complete


def rewrite_manifest(directory: Path, manifest: dict[str, Any], **more: str) -> dict[str, Any]:
    """Write a loaded manifest again with its files, and `more` (role=name), as they are now."""
    files = {role: entry["name"] for role, entry in manifest["files"].items()} | more
    return write_manifest(directory, manifest, files)


def put(directory: Path) -> Path:
    """Copy a verified folder into the home under its manifest's id, and give the new place."""
    manifest = verify(directory)
    target = home() / "artifacts" / manifest["id"]
    target.mkdir(parents=True, exist_ok=True)
    for role in manifest["files"]:
        source = file_of(directory, manifest, role)
        _copy_atomically(source, target / source.name)
    write_json(target / MANIFEST, manifest)
    return target


def _copy_atomically(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, temporary)
    os.replace(temporary, target)
