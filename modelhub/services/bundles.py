"""A version as one file for another installation: its files, manifest, card, evaluations, gates and lineage, signed.

The signature is Ed25519 under this installation's key, over the hash of every file; who imports names the fingerprint of the
key they trust, which the exporter's page shows, so that a bundle of anybody else's is refused.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from django.db import transaction

from modelhub import artifacts
from modelhub.models import Deployment, Evaluation, ModelVersion
from modelhub.selectors.lineage import lineage_of
from modelhub.services.self_test import check_files, folder_of
from modelhub.services.signatures import sign_artifact
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.conf import conf
from switchyard.core.crypto import keyed_digest
from switchyard.core.errors import Conflict, InvalidRequest, NotFound
from switchyard.tenancy.models import User, Workload
from switchyard.tenancy.querysets import Scope

FORMAT = 1
INDEX, SIGNATURE, FILES = "bundle.json", "bundle.sig", "files/"
MOST_FILES = 2000


def _key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(
        hashlib.sha256(keyed_digest("signatures of bundles").encode()).digest()
    )


def _public(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def fingerprint(public: bytes | None = None) -> str:
    """Of a key, this installation's own without one: what whoever imports compares."""
    return hashlib.sha256(public or _public(_key().public_key())).hexdigest()


def export_bundle(*, version: ModelVersion, user: User | None, scope: Scope) -> bytes:
    """The zip. Raises Conflict when its files aren't the ones that were judged, NotFound when they live elsewhere."""
    folder = folder_of(version)
    if folder is None:
        raise NotFound("The files of this version are not on this machine.")
    if why := check_files(version):
        raise Conflict(f"It can't be exported: {why}.", code="artifact_changed")
    manifest = artifacts.load_manifest(folder)
    names = [artifacts.MANIFEST, *(entry["name"] for entry in manifest["files"].values())]
    index = {
        "format": FORMAT, "exported_at": now().isoformat(), "key": base64.b64encode(_public(_key().public_key())).decode(),
        "version": version.version, "workload": version.workload.name, "task": version.workload.task,
        "model": version.deployment.model, "upstream_model": version.upstream_model,
        "digest": artifacts.digest(folder / artifacts.MANIFEST),
        "folder": folder.name, "is_head": folder.parent.name == "heads",
        "lineage": version.lineage, "steps": [step.as_dict() for step in lineage_of(version, scope)],
        "metrics": version.metrics, "evaluations": _evaluations(version),
        "files": {name: {"sha256": artifacts.digest(folder / name), "bytes": (folder / name).stat().st_size} for name in names},
    }  # fmt: skip
    told = json.dumps(index, indent=1, sort_keys=True, default=str, ensure_ascii=False).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(INDEX, told)
        archive.writestr(SIGNATURE, base64.b64encode(_key().sign(told)))
        for name in names:
            archive.write(folder / name, FILES + name)
    record(
        actor=user, action="model.exported", target=f"version:{version.pk}", lob=version.workload.lob.slug,
        organisation_id=version.workload.organisation_id,
        detail={
            "workload": version.workload.name, "version": version.version,
            "sha256": hashlib.sha256(out.getvalue()).hexdigest(),
        },
    )  # fmt: skip
    return out.getvalue()


def _evaluations(version: ModelVersion) -> list[dict[str, Any]]:
    rows = Evaluation.objects.filter(
        workload=version.workload, deployment=version.deployment, version=version.version
    )
    names = ("at", "split", "metric", "value", "low", "high", "n", "correct", "verdict", "device")
    return list(rows.values(*names)[:20])


def import_bundle(
    *, content: bytes, workload: Workload, deployment: Deployment, trusted: str, user: User | None
) -> ModelVersion:
    """A candidate of the bundle's files, signed anew for this installation.

    Raises InvalidRequest for what is no bundle, was changed, or is of another key than the one that is trusted; Conflict
    where another base is served here, or the version is there already.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            index = _verified(archive, trusted.strip().lower())
            _fits(index, workload, deployment)
            folder = _place(archive, index, workload, deployment)
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, EOFError) as error:
        raise InvalidRequest(f"This is no bundle: {str(error)[:200]}.", param="file") from None
    home = Path(settings.HOME)
    with transaction.atomic():
        sign_artifact(folder)
        version = ModelVersion.objects.create(
            deployment=deployment, workload=workload, version=index["version"], upstream_model=index["upstream_model"],
            artifact=str(folder.relative_to(home)), digest=artifacts.digest(folder / artifacts.MANIFEST),
            metrics=index["metrics"],
            lineage={
                "imported_from": fingerprint(base64.b64decode(index["key"]))[:16], "source_digest": index["digest"],
                "told": index["lineage"], "steps": index["steps"], "job": index["lineage"].get("job") or "imported",
            },
        )  # fmt: skip
        record(
            actor=user, action="model.imported", target=f"version:{version.pk}", lob=workload.lob.slug,
            organisation_id=workload.organisation_id,
            detail={"version": version.version, "from": version.lineage["imported_from"], "digest": version.digest},
        )  # fmt: skip
    return version


def _verified(archive: zipfile.ZipFile, trusted: str) -> dict[str, Any]:
    """The index, once its signature and every file's hash hold. Raises InvalidRequest, ValueError, KeyError."""
    entries = archive.infolist()
    if len(entries) > MOST_FILES or sum(e.file_size for e in entries) > conf("BUNDLE_MAX_BYTES"):
        raise InvalidRequest("The bundle is larger than what is taken.", param="file")
    told = archive.read(INDEX)
    index = json.loads(told)
    public = base64.b64decode(index["key"])
    if fingerprint(public) != trusted:
        raise InvalidRequest(
            f"The bundle is signed by {fingerprint(public)}, and not by the key you trust.", param="trusted"
        )
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(archive.read(SIGNATURE)), told)
    except InvalidSignature:
        raise InvalidRequest("The bundle was changed after it was signed.", param="file") from None
    if index["format"] != FORMAT:
        raise InvalidRequest(f"The bundle has format {index['format']}; {FORMAT} is read here.", param="file")
    expected = {INDEX, SIGNATURE, *(FILES + name for name in index["files"])}
    if {e.filename for e in entries} != expected or len(entries) != len(expected):
        raise InvalidRequest("The bundle holds other files than its index names.", param="file")
    for name, about in index["files"].items():
        if PurePosixPath(name).name != name or name.startswith("."):
            raise InvalidRequest(f"{name!r} leaves its folder.", param="file")
        if hashlib.sha256(archive.read(FILES + name)).hexdigest() != about["sha256"]:
            raise InvalidRequest(f"{name} is not the file that was signed.", param="file")
    return index


def _fits(index: dict[str, Any], workload: Workload, deployment: Deployment) -> None:
    if index["workload"] != workload.name or index["task"] != workload.task:
        raise InvalidRequest(
            f"The bundle answers {index['workload']}, not {workload.name}.", param="workload"
        )
    if index["is_head"] and index["model"] != deployment.model:
        raise Conflict(
            f"It belongs on {index['model']}; {deployment.name} serves {deployment.model}.",
            code="another_base",
        )
    if ModelVersion.objects.filter(
        deployment=deployment, workload=workload, version=index["version"]
    ).exists():
        raise Conflict(
            f"{deployment.name} has a version {index['version']} of {workload.name} already.",
            code="name_taken",
        )
    base = index["lineage"].get("base_digest")
    if index["is_head"] and base:
        try:
            own = artifacts.digest(artifacts.find(deployment.model) / artifacts.MANIFEST)
        except artifacts.ArtifactMissing:
            raise Conflict(f"{deployment.model} is not on this machine.", code="another_base") from None
        if own != base:
            raise Conflict(
                f"It was fitted on another {deployment.model} than the one here.", code="another_base"
            )


def _place(
    archive: zipfile.ZipFile, index: dict[str, Any], workload: Workload, deployment: Deployment
) -> Path:
    """Its files where the server finds them; what was bound to a line of business there is bound to this one here."""
    name = index["folder"]
    if PurePosixPath(name).name != name or name.startswith("."):
        raise InvalidRequest("The bundle's folder leaves its place.", param="file")
    root = Path(settings.HOME) / "artifacts"
    target = root / deployment.model / "heads" / name if index["is_head"] else root / name
    if target.exists():
        raise Conflict(f"{name} is here already.", code="name_taken")
    draft = target.with_name(f".{name}.incoming")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        for file in index["files"]:
            (draft / file).write_bytes(archive.read(FILES + file))
        manifest = artifacts.verify(draft)
        if manifest.get("lob"):
            own = f"{workload.organisation_id}/{workload.lob.slug}"
            artifacts.write_json(draft / artifacts.MANIFEST, manifest | {"lob": own})
        draft.rename(target)
    except artifacts.ArtifactCorrupt as error:
        raise InvalidRequest(f"Its files aren't whole: {error}.", param="file") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target
