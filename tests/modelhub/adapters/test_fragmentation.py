"""What fine-tuned models share: sizes, pairs that are nearly the same, and a neighbour who sees nothing of it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from safetensors.numpy import save_file

from modelhub import artifacts
from modelhub.ml.adapters.likeness import agreement, cosine, delta_of
from modelhub.ml.text import graphs, wide
from modelhub.selectors.fragmentation import fragmentation
from switchyard.tenancy.querysets import scope_of
from tests.factories import (
    make_deployment,
    make_lob,
    make_organisation,
    make_user,
    make_version,
    make_workload,
)

BASE = artifacts.SHIPPED / "txt-base"
TABLE = wide.WideTable(
    np.zeros(4, np.uint16), np.zeros(1, np.float16), np.zeros((1, 2), np.int8), np.ones(2, np.float32), np.zeros(2, np.float32)
)  # fmt: skip


def write_tuned(
    folder, seed: int, noise: float = 0.0, method: str = "lora", labels=("no", "yes"), head="returns-intent"
):
    """A fine-tuned head with numbers drawn from a seed, and a little noise on them."""
    rng, shake = np.random.default_rng(seed), np.random.default_rng(99)

    def drawn(*shape):
        return (rng.standard_normal(shape) + noise * shake.standard_normal(shape)).astype(np.float32)

    folder.mkdir(parents=True)
    graphs.write_head(folder / "head.onnx", drawn(len(labels), 384), np.zeros(2, np.float32), TABLE, 0.3)
    files, told = {"head": "head.onnx"}, {}
    if method == "lora":
        arrays = {
            "qkv_down": drawn(2, 384, 4),
            "qkv_up": drawn(2, 4, 1152),
            "out_down": drawn(2, 384, 4),
            "out_up": drawn(2, 4, 384),
        }
        save_file(arrays, str(folder / "adapter.safetensors"))
        files["adapter"], told = "adapter.safetensors", {"method": "lora", "blocks": 2, "rank": 4}
    manifest = {"id": folder.name, "kind": "text-head", "base": "txt-base", "head": head, "labels": list(labels),
                "method": method, "adapter": told}  # fmt: skip
    artifacts.write_manifest(folder, manifest, files)
    return folder


def test_the_cosine_of_low_rank_changes_equals_that_of_the_whole_matrices(tmp_path):
    one, two = (delta_of(write_tuned(tmp_path / f"a@{seed}", seed, 0.5), BASE) for seed in (1, 2))
    near = delta_of(write_tuned(tmp_path / "a@3", 1, 0.1), BASE)
    for first, second in ((one, two), (one, near), (one, one)):
        whole = [
            np.concatenate([*((down @ up).ravel() for down, up in delta.terms), delta.head]).astype(
                np.float64
            )
            for delta in (first, second)
        ]
        expected = whole[0] @ whole[1] / np.linalg.norm(whole[0]) / np.linalg.norm(whole[1])
        assert cosine(first, second) == pytest.approx(expected, abs=1e-4)
    assert cosine(one, one) == pytest.approx(1.0, abs=1e-5)


def test_what_cannot_be_compared_has_no_cosine(tmp_path):
    lora = delta_of(write_tuned(tmp_path / "a@1", 1), BASE)
    assert cosine(lora, delta_of(write_tuned(tmp_path / "a@2", 1, method="head"), BASE)) is None
    assert cosine(lora, delta_of(write_tuned(tmp_path / "a@3", 1, labels=("a", "b")), BASE)) is None


def test_agreement_counts_equal_answers():
    assert agreement(["a", "b", "a", "c"], ["a", "b", "c", "c"]) == 0.75
    with pytest.raises(ValueError, match="as many"):
        agreement(["a"], [])


@pytest.fixture
def company(db, tmp_path, settings, monkeypatch):
    """Two lines of business on one base: Alice's returns with two models nearly the same and one apart, Bob's plant with one."""
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path))
    settings.HOME = tmp_path
    organisation = make_organisation()
    returns, plant = make_lob(organisation, "returns"), make_lob(organisation, "plant")
    base = make_deployment(organisation, "private-sparse", "private", model="txt-base")
    heads = tmp_path / "artifacts" / "txt-base" / "heads"
    plans = [("returns-intent", returns, "ft-1", 1, 0.0), ("returns-intent", returns, "ft-2", 1, 0.1),
             ("returns-intent", returns, "ft-3", 7, 0.0), ("alarm-text", plant, "ft-4", 1, 0.1)]  # fmt: skip
    workloads = {
        "returns-intent": make_workload(returns, "returns-intent"),
        "alarm-text": make_workload(plant, "alarm-text"),
    }
    for name, _, version, seed, noise in plans:
        folder = write_tuned(heads / f"{name}@{version}", seed, noise, head=name)
        make_version(
            base, workloads[name], "candidate", version=version, artifact=str(folder.relative_to(tmp_path)),
            upstream_model=f"txt-base/{folder.name}",
        )  # fmt: skip
    make_version(base, workloads["returns-intent"])  # the shipped one is nobody's fine-tune
    return organisation, returns, plant


def client_of(name, organisation, role, *lobs):
    client = Client()
    client.force_login(make_user(name, organisation, role, lobs))
    return client


def test_sizes_and_pairs_of_one_base(company):
    organisation, *_ = company
    (family,) = fragmentation(scope_of(make_user("alice", organisation, "admin")))
    assert family.base == "txt-base" and len(family.members) == 4
    assert family.shared_bytes == artifacts.load_manifest(BASE)["files"]["body"]["bytes"]
    each = 4 * (2 * 384 * 4 + 2 * 4 * 1152 + 2 * 384 * 4 + 2 * 4 * 384)
    assert all(each < one.adapter_bytes < each + 2000 for one in family.members)
    assert family.saved_bytes == 3 * family.shared_bytes
    assert 0.9 < family.shared_share < 1.0
    pairs = {(pair.first.name, pair.second.name) for pair in family.alike}
    assert ("returns-intent@ft-2", "returns-intent@ft-1") in pairs
    assert not any("ft-3" in name for pair in pairs for name in pair)


def test_a_neighbour_sees_neither_models_nor_pairs_of_others(company):
    organisation, _, plant = company
    bob = client_of("bob", organisation, "viewer", plant)
    answer = bob.get("/api/v1/adapters").json()
    assert [row["name"] for row in answer["results"]] == ["alarm-text@ft-4"]
    assert answer["shared"][0]["alike"] == [] and answer["shared"][0]["models"] == 1
    assert bob.get("/api/v1/adapters/returns-intent@ft-1").status_code == 404
    assert bob.get("/api/v1/adapters/no-such").status_code == 404
    assert "returns-intent@ft-1" not in bob.get("/models/").content.decode()
    stranger = client_of("sue", make_organisation(slug="other"), "admin")
    assert stranger.get("/api/v1/adapters").json() == {"results": [], "next": None, "shared": []}
    assert Client().get("/api/v1/adapters").status_code in (401, 403)


def test_one_adapter_by_name_and_by_id(company):
    organisation, *_ = company
    alice = client_of("alice", organisation, "admin")
    one = alice.get("/api/v1/adapters/returns-intent@ft-1").json()
    assert one["method"] == "lora" and one["shape"]["rank"] == 4 and one["lob"] == "returns"
    assert one["own_bytes"] == one["head_bytes"] + one["adapter_bytes"]
    assert alice.get(f"/api/v1/adapters/{one['id']}/").json()["name"] == "returns-intent@ft-1"
    assert {"returns-intent@ft-1", "returns-intent@ft-2"} <= {
        side["name"] for pair in one["alike"] for side in (pair["first"], pair["second"])
    }


def test_the_page_and_the_command_say_the_same(company):
    organisation, *_ = company
    text = client_of("alice", organisation, "admin").get("/models/").content.decode()
    assert (
        "Fine-tuned models and what they share" in text and "returns-intent@ft-2, returns-intent@ft-1" in text
    )
    out = io.StringIO()
    call_command("adapters", stdout=out)
    assert "txt-base: 4 models share" in out.getvalue() and "cosine" in out.getvalue()
    make_organisation(slug="other")
    with pytest.raises(CommandError, match="--organisation"):
        call_command("adapters")


def test_files_that_are_gone_or_broken_are_passed_over(company, tmp_path):
    organisation, *_ = company
    heads = tmp_path / "artifacts" / "txt-base" / "heads"
    (heads / "returns-intent@ft-1" / "manifest.json").write_text("{")
    (heads / "returns-intent@ft-2" / "adapter.safetensors").write_bytes(b"x")
    (family,) = fragmentation(scope_of(make_user("alice", organisation, "admin")))
    assert len(family.members) == 3 and not any("ft-2" in p.first.name + p.second.name for p in family.alike)
