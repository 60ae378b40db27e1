"""A version travels to another installation as one signed file; a Hugging Face folder is looked at before it is taken."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from modelhub import artifacts
from modelhub.models import Deployment, ModelVersion
from modelhub.services.bundles import export_bundle, fingerprint, import_bundle
from modelhub.services.hf_import import import_folder, look
from modelhub.services.self_test import check_files
from switchyard.audit.models import AuditEvent
from switchyard.core.errors import Conflict, InvalidRequest, ValidationFailed
from switchyard.tenancy.querysets import Scope
from tests.factories import make_deployment, make_lob, make_version, make_workload

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A version with files here, and a second installation's home to import into."""
    settings.HOME = tmp_path / "home"
    monkeypatch.setenv("SWITCHYARD_HOME", str(settings.HOME))
    lob = make_lob()
    workload = make_workload(lob)
    home = make_deployment(lob.organisation, "private-sparse", "private")
    folder = settings.HOME / "artifacts/txt-base/heads/support-sentiment@ft-1"
    folder.mkdir(parents=True)
    (folder / "head.onnx").write_bytes(b"weights")
    artifacts.write_manifest(
        folder,
        {
            "id": folder.name,
            "kind": "text-head",
            "head": "support-sentiment",
            "lob": f"{lob.organisation_id}/{lob.slug}",
        },
        {"head": "head.onnx"},
    )
    version = make_version(
        home, workload, "candidate", version="ft-1", upstream_model="txt-base/support-sentiment@ft-1",
        artifact=str(folder.relative_to(settings.HOME)), digest=artifacts.digest(folder / artifacts.MANIFEST),
        lineage={"dataset": "data_1", "sha256": "a" * 64, "job": "job_1"}, metrics={"after": {"value": 0.9}},
    )  # fmt: skip
    scope = Scope(lob.organisation_id, None, None, frozenset())
    return SimpleNamespace(
        version=version, workload=workload, home=home, folder=folder, scope=scope, tmp=tmp_path
    )


def elsewhere(shop: SimpleNamespace, settings: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Another installation: its own home and its own rows."""
    settings.HOME = shop.tmp / "other"
    monkeypatch.setenv("SWITCHYARD_HOME", str(settings.HOME))
    lob = make_lob(slug="service")
    other = make_workload(lob)
    return {
        "workload": other,
        "deployment": make_deployment(lob.organisation, "home", "private"),
        "user": None,
    }


def test_a_bundle_arrives_whole_and_is_a_signed_candidate(
    shop: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    content = export_bundle(version=shop.version, user=None, scope=shop.scope)
    index = json.loads(zipfile.ZipFile(io.BytesIO(content)).read("bundle.json"))
    assert index["lineage"]["sha256"] == "a" * 64 and [s["kind"] for s in index["steps"]][:1] == ["dataset"]
    there = elsewhere(shop, settings, monkeypatch)
    version = import_bundle(content=content, trusted=fingerprint(), **there)
    assert (version.stage, version.version) == ("candidate", "ft-1")
    assert version.lineage["source_digest"] == shop.version.digest
    assert check_files(version) == ""  # bound to the line of business that took it in
    assert version.lineage["imported_from"] == fingerprint()[:16]
    assert {e.action for e in AuditEvent.objects.all()} >= {"model.exported", "model.imported"}
    with pytest.raises(Conflict):
        import_bundle(content=content, trusted=fingerprint(), **there)


def changed(content: bytes, name: str, value: bytes | None, new_name: str = "") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            if entry.filename != name:
                new.writestr(entry.filename, old.read(entry))
            elif value is not None:
                new.writestr(new_name or name, value)
    return out.getvalue()


def test_what_was_changed_or_is_somebody_elses_is_refused(
    shop: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    content = export_bundle(version=shop.version, user=None, scope=shop.scope)
    index = zipfile.ZipFile(io.BytesIO(content)).read("bundle.json")
    there = elsewhere(shop, settings, monkeypatch)
    tried = {
        "not the file that was signed": changed(content, "files/head.onnx", b"other"),
        "after it was signed": changed(content, "bundle.json", index.replace(b'"ft-1"', b'"ft-9"')),
        "other files than": changed(content, "files/head.onnx", None),
        "no bundle": b"PK not a zip",
        "is no bundle": changed(content, "bundle.json", b"[]"),
    }
    for words, bad in tried.items():
        with pytest.raises(InvalidRequest, match=words):
            import_bundle(content=bad, trusted=fingerprint(), **there)
    with pytest.raises(InvalidRequest, match="not by the key you trust"):
        import_bundle(content=content, trusted="f" * 64, **there)
    assert not (settings.HOME / "artifacts").exists() or not any(
        (settings.HOME / "artifacts").rglob("*.onnx")
    )
    assert ModelVersion.objects.count() == 1


def test_a_version_whose_files_changed_is_not_exported(shop: Any):
    (shop.folder / "head.onnx").write_bytes(b"other weights")
    with pytest.raises(Conflict, match="sha256"):
        export_bundle(version=shop.version, user=None, scope=shop.scope)


# ------------------------------------------------------------------ Hugging Face folders
CONFIG = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "hidden_size": 8,
    "num_experts": 4,
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny-moe"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text("{}")
    save_file({"a": np.zeros((3, 4), np.float32), "b": np.ones(5, np.float16)}, folder / "model.safetensors")
    return folder


def test_a_folder_becomes_a_registered_model_with_a_card(shop: Any, checkpoint: Path, settings: Any):
    organisation = shop.workload.organisation
    row = import_folder(organisation=organisation, folder=checkpoint, name="tiny-moe", user=None)
    assert (row.side, row.enabled, row.tasks) == ("private", False, ["chat", "completion"])
    folder = settings.HOME / "artifacts/tiny-moe"
    manifest = artifacts.verify(folder)
    assert manifest["parameters"]["total"] == 17 and manifest["title"] == "Qwen3MoeForCausalLM"
    assert "17" in (folder / "card.md").read_text()
    assert AuditEvent.objects.get(action="model.imported").detail["folder"] == "tiny-moe"
    with pytest.raises(Conflict):
        import_folder(organisation=organisation, folder=checkpoint, name="tiny-moe", user=None)


def test_what_could_run_code_or_lie_is_refused_with_its_name(shop: Any, checkpoint: Path):
    whole = (checkpoint / "model.safetensors").read_bytes()
    (checkpoint / "pytorch_model.bin").write_bytes(b"\x80\x04")
    (checkpoint / "modeling_x.py").write_text("print()")
    os.symlink("/etc/passwd", checkpoint / "vocab.json")
    (checkpoint / "model-2.safetensors").write_bytes(whole[:40])
    (checkpoint / "config.json").write_text(
        json.dumps(CONFIG | {"auto_map": {"AutoModel": "x.Y"}, "architectures": ["Evil"]})
    )
    faults = {fault["path"]: fault["message"] for fault in look(checkpoint).faults}
    assert set(faults) == {
        "pytorch_model.bin",
        "modeling_x.py",
        "vocab.json",
        "model-2.safetensors",
        "config.json",
    }
    assert "safetensors" in faults["pytorch_model.bin"] and "symbolic link" in faults["vocab.json"]
    with pytest.raises(ValidationFailed):
        import_folder(organisation=shop.workload.organisation, folder=checkpoint, name="evil", user=None)
    assert not Deployment.objects.filter(name="evil").exists()


@pytest.mark.parametrize("cut", [0, 4, 9, 60, -1])
def test_cut_weights_are_no_weights(checkpoint: Path, cut: int):
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    assert [fault["path"] for fault in look(checkpoint).faults] == ["model.safetensors"]


def test_an_index_that_names_what_is_not_there_and_a_folder_too_large_are_refused(
    checkpoint: Path, settings: Any
):
    (checkpoint / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "gone.safetensors"}})
    )
    assert "gone.safetensors is missing" in look(checkpoint).faults[0]["message"]
    settings.SWITCHYARD = settings.SWITCHYARD | {"IMPORT_MAX_BYTES": 10}
    assert any("at most 10" in fault["message"] for fault in look(checkpoint).faults)
