"""Heads of a finished student taught anew: the head changes, and nothing else of the file does."""

import numpy as np
import pytest

from modelhub.ml.distill.loop import Lesson
from modelhub.ml.text import edge_artifact, edge_graph, edge_heads
from modelhub.serving.gated import GatedFile
from tests.modelhub.students import HEADS, make_artifact, make_student


@pytest.fixture
def folder(tmp_path):
    make_artifact(tmp_path / "txt-edge")
    return tmp_path / "txt-edge"


def views_of(part, sure=6.0):
    """A teacher that is right and sure."""
    return (sure * np.eye(len(part.labels))[part.y]).astype(np.float32)


def test_one_head_learns_and_everything_else_stays_bit_for_bit(folder):
    _, parts, _ = make_student()
    path, taught, other = folder / edge_artifact.MODEL, HEADS[0], HEADS[1]
    part = parts[taught]
    names = list(HEADS)
    before = {name: GatedFile(path, names).run(name, part.features.ids) for name in names}
    held = edge_graph.read_gated_head(path, taught)
    lesson = Lesson(part.features.ids, views_of(part), part.y)
    vectors = edge_heads.vectors_of(path, names, part.features.ids)
    config = edge_heads.HeadTraining(epochs=40, batch=8, rate=1e-2)
    edge_heads.replace_head(path, taught, edge_heads.teach_head(held, vectors, lesson, config))
    after = {name: GatedFile(path, names).run(name, part.features.ids) for name in names}
    for name in names:
        np.testing.assert_array_equal(after[name].risk, before[name].risk)
        np.testing.assert_array_equal(after[name].blocked, before[name].blocked)
    np.testing.assert_array_equal(after[other].logits, before[other].logits)
    through = ~after[taught].blocked
    assert not np.array_equal(after[taught].logits[through], before[taught].logits[through])
    right = after[taught].logits[through].argmax(axis=1) == part.y[through]
    assert right.mean() >= 0.9


def test_the_same_seed_teaches_the_same_head(folder):
    _, parts, _ = make_student()
    part, path = parts[HEADS[0]], folder / edge_artifact.MODEL
    held = edge_graph.read_gated_head(path, HEADS[0])
    vectors = edge_heads.vectors_of(path, list(HEADS), part.features.ids)
    lesson = Lesson(part.features.ids, views_of(part), np.where(np.arange(len(part)) % 2, part.y, -1))
    first, second = (
        edge_heads.teach_head(held, vectors, lesson, edge_heads.HeadTraining(epochs=2)) for _ in range(2)
    )
    np.testing.assert_array_equal(first.weight, second.weight)
    np.testing.assert_array_equal(first.table.weight, second.table.weight)


def test_a_head_of_another_shape_or_name_is_refused(folder):
    path = folder / edge_artifact.MODEL
    with pytest.raises(KeyError):
        edge_heads.replace_head(path, HEADS[0], edge_graph.read_gated_head(path, HEADS[1]))
    with pytest.raises(KeyError):
        edge_heads.replace_head(path, "nobody", edge_graph.read_gated_head(path, HEADS[0]))
