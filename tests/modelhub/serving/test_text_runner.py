"""The text runner on the shipped student: answers, batching, cutting off, corruption, fine-tuned heads."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from modelhub import artifacts
from modelhub.ml import datasets
from modelhub.ml.adapters import finetune
from modelhub.serving.runners.text import HeadMissing, TextClassifier

EDGE = artifacts.SHIPPED / "txt-edge"


@pytest.fixture(scope="module")
def edge():
    return TextClassifier(EDGE)


def test_a_plain_complaint_and_a_plain_praise_get_their_labels(edge):
    result = edge.classify("support-sentiment", ["This is terrible, it broke.", "Excellent, I love it!"])
    assert result.labels == ["negative", "positive"]
    assert result.label_names == ["negative", "positive"]
    assert result.scores.dtype == np.float32
    assert result.scores.sum(axis=1) == pytest.approx([1.0, 1.0], abs=1e-5)


def test_a_batch_answers_as_its_texts_do_one_by_one_in_their_order(edge):
    texts = ["When will my card arrive?", "Why was I charged a fee " * 30, "exchange rate?", ""]
    together = edge.classify("support-intent", texts)
    alone = [edge.classify("support-intent", [text]) for text in texts]
    assert together.labels == [result.labels[0] for result in alone]
    assert together.tokens == [result.tokens[0] for result in alone]
    # 8-bit activations take their scale from the whole batch, so scores move a little and labels do not
    assert np.abs(together.scores - np.concatenate([result.scores for result in alone])).max() < 0.1


def test_long_texts_are_cut_and_counted_as_read(edge):
    result = edge.classify("terms-review", ["we may terminate your account at any time " * 2000])
    assert result.tokens == [edge.manifest["wide_tokens"]]


def test_no_texts_give_no_answers(edge):
    result = edge.classify("support-intent", [])
    assert result.labels == [] and result.scores.shape == (0, len(result.label_names))


def test_labels_are_the_data_sets_own(edge):
    assert set(edge.heads) == set(datasets.TEXT_WORKLOADS)
    for workload in datasets.TEXT_WORKLOADS:
        assert edge.heads[workload]["labels"] == datasets.label_names(workload)


def test_an_unknown_head_is_named_in_the_error(edge):
    with pytest.raises(HeadMissing, match="no-such"):
        edge.classify("no-such", ["x"])
    with pytest.raises(HeadMissing, match="ft-none"):
        edge.classify("support-intent@ft-none", ["x"])
    with pytest.raises(HeadMissing):
        edge.classify("../../etc@x", ["x"])


def test_the_student_has_no_embedding_and_says_where_it_runs(edge):
    assert edge.providers == ["CPUExecutionProvider"]
    with pytest.raises(NotImplementedError, match="trunk"):
        edge.embed(["x"])


def test_a_changed_file_is_refused(tmp_path):
    copy = tmp_path / "txt-edge"
    shutil.copytree(EDGE, copy)
    graph = artifacts.load_manifest(EDGE)["files"]["body"]["name"]
    head = copy / graph
    data = bytearray(head.read_bytes())
    data[len(data) // 2] ^= 1
    head.write_bytes(data)
    with pytest.raises(artifacts.ArtifactCorrupt, match=graph):
        TextClassifier(copy)


def test_a_manifest_cannot_point_outside_its_folder(tmp_path):
    manifest = {"id": "x", "files": {"body": {"name": "../secret.onnx", "sha256": "0", "bytes": 1}}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(artifacts.ArtifactCorrupt, match="leaves its folder"):
        artifacts.verify(tmp_path)


def test_serving_loads_neither_torch_nor_django_nor_scikit_learn():
    code = (
        "import sys; from pathlib import Path; from modelhub.serving.runners.text import TextClassifier;"
        f"TextClassifier(Path({str(EDGE)!r})).classify('support-intent', ['hi']);"
        "bad = {'torch', 'django', 'sklearn', 'scipy', 'onnx'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=artifacts.ROOT, timeout=60)


def test_a_fine_tuned_head_is_found_in_the_home_without_a_restart(edge, tmp_path, monkeypatch):
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path))
    rows = [
        (f"ticket {i}: the {word} is broken", f"repair_{word}")
        for i in range(30)
        for word in ("door", "lamp")
    ]
    out = tmp_path / "artifacts" / "txt-edge" / "heads" / "support-intent@ft-1"
    report = finetune.fine_tune_head(EDGE, "support-intent", rows, out_dir=out, epochs=12, seed=1)
    assert report["labels_added"] == ["repair_door", "repair_lamp"]
    result = edge.classify("support-intent@ft-1", ["the lamp is broken", "When will my card arrive?"])
    assert result.labels[0] == "repair_lamp"
    assert result.labels[1] == edge.classify("support-intent", ["When will my card arrive?"]).labels[0]
    assert "repair_lamp" not in edge.classify("support-intent", ["the lamp is broken"]).label_names


def test_the_users_own_artifact_comes_before_the_shipped_one(tmp_path, monkeypatch):
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path))
    assert artifacts.find("txt-edge") == EDGE
    placed = artifacts.put(EDGE)
    assert artifacts.find("txt-edge") == placed == tmp_path / "artifacts" / "txt-edge"
    assert artifacts.verify(placed)["id"] == "txt-edge"
    with pytest.raises(artifacts.ArtifactMissing):
        artifacts.find("../artifacts")
