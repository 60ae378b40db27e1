"""A student trained on another machine comes back as the one it was there, and hears what its teacher said here."""

import numpy as np
import pytest
import torch

from modelhub.ml import datasets
from modelhub.ml.distill.loop import risk_logits, student_logits
from modelhub.ml.text import edge_carry, lessons, neighbours
from modelhub.ml.text.augment import augment
from tests.modelhub.students import make_student

REPORT = {"seed": 3, "curve": [], "seconds": 1.0, "device": "one CPU core"}


@pytest.fixture(scope="module")
def student():
    return make_student()


def answers(student, parts):
    name, part = next(iter(parts.items()))
    ids = part.features.ids[:12]
    with torch.no_grad():
        return student_logits(student, name, ids, student.wide(name).bags(ids)), risk_logits(student, ids)


def test_a_student_comes_back_with_the_answers_it_left_with(student, tmp_path, monkeypatch):
    made, parts, _ = student
    monkeypatch.setattr(lessons, "trunk_words", lambda: np.random.default_rng(0).normal(size=(30_522, 384)))
    seen = np.unique(np.concatenate([row for part in parts.values() for row in part.features.ids]))
    shape = {name: getattr(made.encoder.shape, name) for name in made.encoder.shape.__slots__}
    edge_carry.save(tmp_path / "s.safetensors", made, seen.astype(np.uint16), {**REPORT, "shape": shape})
    again, report = edge_carry.load(tmp_path / "s.safetensors")
    assert (report["seed"], again.names) == (3, made.names)
    for before, after in zip(answers(made, parts), answers(again, parts), strict=True):
        torch.testing.assert_close(after, before, atol=0.05, rtol=0.02)  # 16-bit weights, tables in 8 bits
    first, second = (s.wide(made.names[0]).quantised() for s in (made, again))
    np.testing.assert_array_equal(first.weight, second.weight)  # rounded once, not twice


def test_views_keep_their_softmax_within_a_step():
    logits = np.random.default_rng(1).normal(0, 5, (64, 20)).astype(np.float32)
    again = edge_carry._read_views(edge_carry._rounded(logits))
    before, after = (np.exp(x - x.max(1, keepdims=True)) for x in (logits, again))
    before, after = before / before.sum(1, keepdims=True), after / after.sum(1, keepdims=True)
    assert np.abs(before - after).max() < 0.03
    assert (before.argmax(1) == after.argmax(1)).all()


def test_a_lesson_with_views_asks_no_teacher_and_keeps_their_order(student, tmp_path):
    _, parts, reader = student
    name, part = next(iter(parts.items()))
    views = np.arange((2 * len(part) + 2) * len(part.labels), dtype=np.float32).reshape(-1, len(part.labels))
    lesson = lessons.make_lesson(
        reader,
        name,
        part,
        tmp_path / "nobody",
        copies=1,
        seed=1,
        more=["one more", "and another"],
        views=views,
    )
    np.testing.assert_array_equal(lesson.teacher, views)
    assert len(lesson.ids) == len(views)
    assert (lesson.y[: len(part)] == part.y).all() and (lesson.y[len(part) :] == -1).all()
    held = {f"{name}/views": edge_carry._rounded(views), f"{name}/digest": np.array("of other texts")}
    monkeyed = {name: 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lessons, "COPIES", monkeyed)
        patch.setattr(neighbours, "texts", lambda name: ["one more", "and another"])
        with pytest.raises(ValueError, match="not those"):
            edge_carry.teach(reader, held, name, part)


def test_neighbours_are_training_texts_and_no_row_of_the_workload_s_own_validation():
    lent = neighbours.texts("clinical-notes") + neighbours.texts("support-sentiment")
    assert len(lent) > 10_000 and lent == neighbours.texts("clinical-notes") + neighbours.texts(
        "support-sentiment"
    )
    held_back = {
        t for name in datasets.TEXT_WORKLOADS for t in datasets.load(name, "val").texts if len(t) > 60
    }
    assert not held_back & set(lent)
    assert neighbours.texts("support-intent") == []


def test_a_long_window_keeps_more_of_a_long_text():
    text = " ".join(f"word{i}" for i in range(400))
    short, long = (augment([text] * 20, 1, 5, most) for most in (80, 240))
    assert max(len(t.split()) for t in short) <= 80 < max(len(t.split()) for t in long) <= 240
