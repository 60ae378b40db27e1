"""Committed weights: whole, hashed, small, described, and trained on nothing that may not be shipped."""

import json
from pathlib import Path

import pytest

from modelhub import artifacts
from modelhub.serving.sessions import SIDES

FOLDERS = sorted(p.parent for p in artifacts.SHIPPED.glob("*/manifest.json"))
MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_every_file_is_the_one_its_manifest_names_and_none_is_over(folder: Path):
    manifest = artifacts.verify(folder)
    named = {entry["name"] for entry in manifest["files"].values()} | {"manifest.json", "card.md"}
    assert {p.name for p in folder.iterdir() if p.is_file()} <= named
    assert manifest["id"] == folder.name
    assert (folder / "card.md").read_text("utf-8").strip()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_every_model_says_how_it_is_trained_again(folder: Path):
    train = json.loads((folder / "manifest.json").read_text())["train"]
    assert train["command"] and "seed" in train


def test_all_artifacts_together_stay_under_68_mib_and_none_over_25():
    sizes = [p.stat().st_size for p in artifacts.SHIPPED.rglob("*") if p.is_file()]
    assert sum(sizes) <= 68 * MEBIBYTE
    assert max(sizes) <= 25 * MEBIBYTE


def test_everything_that_a_server_offers_is_there():
    assert {model for side in SIDES.values() for model in side} <= {folder.name for folder in FOLDERS}


@pytest.mark.parametrize(
    "folder", sorted(p for p in Path("data").iterdir() if p.is_dir()), ids=lambda p: p.name
)
def test_every_copied_data_set_has_its_notice(folder: Path):
    notice = (folder / "NOTICE.md").read_text("utf-8")
    assert len(notice) > 100
    assert "icence" in notice or "icense" in notice or "public" in notice.lower()
