"""Scorers fitted on small tables, the shipped one read back, and what they are pinned to."""

import numpy as np
import pytest

from modelhub import artifacts
from modelhub.ml.route.token_vectors import NoTable, narrowed, token_vectors
from routing.learned import features, files, fit, measures, tables, train
from routing.learned.embedding import OtherEdge, Reader

WIDTH = 8


class Words:
    """A tokenizer and an embedding in two lines: words by their hash."""

    body = "00"

    def ids(self, texts, most_characters):
        return [
            np.array([101, *(_number(word) for word in text[:most_characters].split()), 102])
            for text in texts
        ]

    def embed(self, rows):
        return np.array([[len(row) % (k + 2) for k in range(96)] for row in rows], np.float32)


def _number(word):
    return sum(ord(c) * 31**i for i, c in enumerate(word)) % 20_000 + 1_000


def table_of_two_subjects(n=900, seed=0):
    """In `law` only the strong model is right; in `cooking` both are, but for prompts that say `hard`."""
    rng = np.random.default_rng(seed)
    words = {"law": ["tort", "contract", "court", "appeal"], "cooking": ["salt", "oven", "knead", "boil"]}
    texts, domain, score = [], [], []
    for _ in range(n):
        subject = str(rng.choice(["law", "cooking"]))
        hard = rng.random() < 0.5
        texts.append(" ".join([*rng.choice(words[subject], 6), *(["hard"] if hard else [])]))
        domain.append(subject)
        cheap = subject == "cooking" and (not hard or rng.random() < 0.2)
        score.append([float(cheap), float(rng.random() < 0.95)])
    return texts, np.array(domain), np.array(score)


@pytest.fixture(scope="module")
def fitted():
    texts, domain, score = table_of_two_subjects()
    vectors = np.random.default_rng(1).normal(size=(features.VOCABULARY, WIDTH)).astype(np.float32)
    table = features.TokenTable(vectors, np.ones(features.VOCABULARY, np.float32))
    part = fit.Table(features.read(texts, Words(), table), domain, score, ("cheap", "strong"))
    return files.Router(fit.fit(part), table, {"verdicts": {}, "table_of": {}})


def test_a_scorer_finds_subject_and_difficulty_on_rows_it_never_saw(fitted):
    texts, domain, score = table_of_two_subjects(seed=7)
    found = fitted.scorer.score(fitted.read(texts, Words()))
    gain = found.chance[:, 1] - found.chance[:, 0]
    assert measures.apgr(gain, score[:, 0], score[:, 1]) > 0.6
    assert measures.auc_within(-gain, (score[:, 1] <= score[:, 0]).astype(int), domain) > 0.7
    named = np.array(fitted.scorer.domains)[found.domain]
    assert (named == domain).mean() > 0.95
    errors = [measures.calibration_error(found.chance[:, m], score[:, m]) for m in (0, 1)]
    assert max(errors) < 0.1


def test_what_is_written_comes_back_within_eight_bits(fitted, tmp_path):
    files.save(tmp_path / "router.npz", fitted)
    again = files.load(tmp_path / "router.npz")
    rows = fitted.read(table_of_two_subjects(60, seed=3)[0], Words())
    assert again.scorer.models == ("cheap", "strong")
    assert np.abs(again.scorer.score(rows).chance - fitted.scorer.score(rows).chance).max() < 0.03


def test_a_file_with_a_table_of_another_shape_or_no_numbers_is_refused(fitted, tmp_path):
    path = tmp_path / "router.npz"
    for change in ({"prior": np.zeros((9, 2), np.float32)}, {"base": np.array([np.nan, 0], np.float32)}):
        files.save(path, fitted)
        with np.load(path) as stored:
            values = {name: stored[name] for name in stored}
        np.savez(path, allow_pickle=False, **(values | change))
        with pytest.raises(ValueError, match=r"shape|no numbers"):
            files.load(path)
    values.pop("idf")
    np.savez(path, allow_pickle=False, **values)
    with pytest.raises(ValueError, match="idf"):
        files.load(path)


def test_ridge_agrees_with_the_normal_equations():
    from scipy import sparse

    rng = np.random.default_rng(0)
    dense, wanted = rng.normal(size=(60, 12)), rng.normal(size=(60, 3))
    exact = np.linalg.solve(dense.T @ dense + 5 * np.eye(12), dense.T @ wanted)
    assert fit.ridge(sparse.csr_matrix(dense), wanted, 5.0, steps=60) == pytest.approx(exact, abs=1e-4)


# --- what ships ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    folder = artifacts.SHIPPED / train.ID
    manifest = artifacts.verify(folder)
    reader = Reader(artifacts.SHIPPED / "txt-edge", tokenizer=manifest["requires"]["txt-edge"]["tokenizer"])
    return manifest, files.load(artifacts.file_of(folder, manifest, "router")), reader


def test_the_shipped_router_reaches_on_validation_rows_what_its_manifest_says(shipped):
    manifest, router, reader = shipped
    part = tables.load("mmlu", "val")
    rows = np.arange(0, len(part), 3)
    chance = router.scorer.score(router.read([part.texts[i] for i in rows], reader)).chance
    gain, score = chance[:, 1] - chance[:, 0], part.score[rows]
    assert measures.apgr(gain, score[:, 0], score[:, 1]) > 0.55
    assert manifest["metrics"]["mmlu"]["apgr"]["value"] >= 0.64


def test_a_table_whose_own_chances_beat_nobody_is_marked_and_falls_back(shipped):
    _, router, _ = shipped
    for place, domain in enumerate(router.scorer.domains):
        verdict = router.facts["verdicts"][router.facts["table_of"][domain]]
        assert router.speaks(place) == (verdict["apgr"]["low"] > 0.5)


def test_only_tables_whose_licence_allows_it_taught_the_shipped_router(shipped):
    manifest, _, _ = shipped
    assert set(manifest["licences"]) == set(train.LEARNT_FROM)
    assert all(tables.SOURCES[name].shipped for name in train.LEARNT_FROM)
    assert sum(p.stat().st_size for p in (artifacts.SHIPPED / train.ID).iterdir()) <= 2 * 1024 * 1024


def test_a_student_with_other_tokens_is_refused_by_its_digest():
    with pytest.raises(OtherEdge, match="fit it anew"):
        Reader(artifacts.SHIPPED / "txt-edge", tokenizer="0" * 64)


def test_another_students_body_changes_nothing_for_the_router(shipped, monkeypatch):
    """The router asks for tokens only: a student whose graph gives nothing leaves every chance as it was."""
    _, router, reader = shipped
    text = [tables.load("mmlu", "val").texts[0]]
    before = router.scorer.score(router.read(text, reader)).chance
    monkeypatch.setattr(Reader, "embed", lambda *_: pytest.fail("the router ran the student's graph"))
    assert (router.scorer.score(router.read(text, reader)).chance == before).all()


def test_a_students_own_table_is_read_as_its_graph_would_scale_it():
    """Against ONNX Runtime itself: the rows that the graph gathers for four tokens."""
    import onnx
    import onnxruntime

    graph = artifacts.SHIPPED / "txt-edge" / "model.onnx"
    vectors = token_vectors(graph, features.VOCABULARY)
    model = onnx.load(str(graph))
    tables_ = {t.name for t in model.graph.initializer if list(t.dims) == list(vectors.shape)}
    rows = next(n.output[0] for n in model.graph.node if n.op_type == "Gather" and n.input[0] in tables_)
    scaled = [n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] == rows]
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info((scaled or [rows])[0]))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    ids = np.array([[101, 2054, 2003, 102]])
    found = session.run([(scaled or [rows])[0]], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
    assert found[0] == pytest.approx(vectors[ids[0]], abs=1e-5)


@pytest.mark.parametrize("scale", [[0.5], [0.5, 2.0, 1.0, 0.25, 3.0], [0.5] * 8])
def test_a_table_has_one_scale_or_one_a_row_or_column(tmp_path, scale):
    from onnx import helper, numpy_helper, save

    table = np.arange(-20, 20, dtype=np.int8).reshape(5, 8)
    scales = np.array(scale, np.float32)
    tensors = [numpy_helper.from_array(table, "t"), numpy_helper.from_array(scales, "s")]
    nodes = [
        helper.make_node("DequantizeLinear", ["t", "s"], ["d"], axis=0 if len(scale) == 5 else 1),
        helper.make_node("Gather", ["d", "input_ids"], ["rows"]),
    ]
    save(helper.make_model(helper.make_graph(nodes, "g", [], [], tensors)), str(tmp_path / "g.onnx"))
    by = scales[:, None] if len(scale) == 5 else scales
    assert token_vectors(tmp_path / "g.onnx", 5) == pytest.approx(table * by)


def test_a_graph_without_a_table_of_tokens_is_refused():
    with pytest.raises(NoTable, match="no table of 7 rows"):
        token_vectors(artifacts.SHIPPED / "txt-edge" / "model.onnx", 7)


def test_narrowing_keeps_what_tokens_in_use_differ_by():
    """Two directions, of which only the one that used tokens differ along is kept; what never occurs doesn't matter."""
    vectors = np.array([[1.0, 0, 0], [-1.0, 0, 0], [0, 50.0, 0], [0, -50.0, 3.0]], np.float32)
    found = narrowed(vectors, np.array([9, 9, 0, 0]), 1)
    assert np.abs(found[:2, 0]) == pytest.approx([1.0, 1.0]) and found[0, 0] == -found[1, 0]
