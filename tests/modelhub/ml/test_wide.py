"""The wide channel: the graph equals numpy, and numpy equals scikit-learn's TF-IDF."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfTransformer

from modelhub.ml import features, tokens
from modelhub.ml.text import graphs, wide


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 60, rng.integers(2, 40)) for _ in range(60)]
    y = np.array([int(row.mean() > 30) + int(row.min() < 3) for row in rows])
    return rows, y, wide.fit(rows, y, 4, wide.WideConfig(buckets=4096, strength=30.0))


def test_weighed_counts_equal_scikit_learns(fitted):
    rows, _, _ = fitted
    counts = wide.count_matrix(rows, 4096)
    raw = counts.copy()
    raw.data = np.rint(np.exp(counts.data - 1))
    expected = TfidfTransformer(sublinear_tf=True).fit_transform(raw)
    found = wide.weigh(counts, wide.inverse_frequency(counts))
    assert np.abs((expected - found).toarray()).max() < 1e-6


def test_the_graph_equals_numpy_padding_and_repeats_included(fitted, tmp_path):
    rows, _, table = fitted
    unseen = [*rows[:9], np.array([7, 7, 7, 7]), np.array([999, 998, 997])]
    graphs.write_head(tmp_path / "h.onnx", np.zeros((4, 8)), np.zeros(4), table, 1.0)
    ids, mask = tokens.pad(unseen)
    feed = {"input_ids": ids, "attention_mask": mask, "features": np.zeros((len(ids), 8), np.float32)}
    found = features.open_session(tmp_path / "h.onnx").run(None, feed)[0]
    assert np.abs(found - table.logits(unseen)).max() < 1e-4


def test_a_label_without_rows_is_never_chosen(fitted):
    rows, y, table = fitted
    assert 3 not in y
    assert 3 not in table.logits(rows).argmax(axis=1)


def test_it_learns_what_it_was_shown(fitted):
    rows, y, table = fitted
    assert (table.logits(rows).argmax(axis=1) == y).mean() > 0.9


def test_a_written_head_reads_back_as_it_was(fitted, tmp_path):
    _, _, table = fitted
    weight = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float16).astype(np.float32)
    graphs.write_head(tmp_path / "h.onnx", weight, np.arange(4.0), table, 0.5)
    held = graphs.read_head(tmp_path / "h.onnx")
    assert np.array_equal(held.weight, weight)
    assert held.bias.tolist() == [0, 1, 2, 3]
    assert held.wide_share == 0.5
    assert np.array_equal(held.table.weight, table.weight)
    assert np.array_equal(held.table.row, table.row)


def test_single_tokens_and_pairs_never_share_a_bucket():
    hashed = wide.hash_ngrams(np.arange(5000), 1 << 12)
    assert hashed[:5000].max() < 1 << 10 <= hashed[5000:].min()
