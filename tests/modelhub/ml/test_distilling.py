"""Distillation: who may teach, what a lesson holds, a run that goes on after a kill, and which student is taken."""

import contextlib
import json
import shutil

import numpy as np
import pytest
import torch

from modelhub import artifacts
from modelhub.ml.distill import grid
from modelhub.ml.distill.loop import (
    DistillConfig,
    Lesson,
    LossNotFinite,
    RiskLesson,
    distill,
    risk_logits,
    student_logits,
)
from modelhub.ml.distill.targets import TeacherRefused, check_teacher
from modelhub.ml.risk import operator
from modelhub.ml.risk.operator_figures import choose_tau, measure
from modelhub.ml.risk.operator_templates import DECISIONS, KINDS, MORE_GROUPS, REASONS, TRAITS, held, make
from modelhub.ml.risk.templates import GROUPS_EN
from modelhub.ml.text import lessons, wide
from modelhub.ml.text.student import Student, StudentShape, shrink_words
from modelhub.ml.text.wide_graph import wide_nodes
from modelhub.ml.train.checkpoint import weight_hash
from modelhub.serving.trust import Trust
from tests.modelhub.students import make_student

NAME = "support-sentiment"


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices gain nothing from more, and a busy machine loses."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def teacher(tmp_path):
    """A manifest with files, as a teacher's."""
    folder = tmp_path / "teacher"
    folder.mkdir()
    (folder / "body.onnx").write_bytes(b"body")
    manifest = {"id": "teacher", "heads": {NAME: {}}, "requires": {}, "train": {"plateau": True}}
    artifacts.write_manifest(folder, manifest, {"body": "body.onnx"})
    return folder


def test_a_converged_signed_whole_teacher_may_teach(teacher):
    trust = Trust(b"key", required=True)
    trust.sign(teacher)
    assert (
        check_teacher(teacher, NAME, signed=lambda folder: trust.check(folder, "teacher"))["id"] == "teacher"
    )


def test_others_may_not_and_the_reason_is_named(teacher, tmp_path):
    trust = Trust(b"key", required=True)
    signed = lambda folder: trust.check(folder, "teacher")  # noqa: E731 - a rule, not a function of its own

    def code(folder=teacher, head=NAME, **options):
        with pytest.raises(TeacherRefused) as caught:
            check_teacher(folder, head, **options)
        return caught.value.code

    assert code(tmp_path / "nobody") == "missing"
    assert code(head="no-such-head") == "no_head"
    assert code(signed=signed) == "unsigned"
    Trust(b"another").sign(teacher)
    assert code(signed=signed) == "unsigned"
    manifest = json.loads((teacher / "manifest.json").read_text())
    manifest["train"] = {"plateau": False}
    (teacher / "manifest.json").write_text(json.dumps(manifest))
    assert code() == "not_converged"
    (teacher / "body.onnx").write_bytes(b"changed")
    assert code() == "corrupt"


def lesson_of(part, **more):
    rng = np.random.default_rng(0)
    teacher = (
        rng.standard_normal((len(part), len(part.labels))) + 3 * np.eye(len(part.labels))[part.y]
    ).astype("f4")
    return Lesson(part.features.ids, teacher, part.y, **more)


def risk_of(reader):
    rows = operator.training_rows(limit=64)
    chosen = np.arange(0, len(rows), 29)
    few = rows.take(chosen)
    return RiskLesson(reader.read(few.texts), few.labels(), reader.read(few.partners), few.shares())


def run(folder=None, epochs=2, stop_after=None, **options):
    """One small distillation; `stop_after` kills it at that many batches."""
    student, parts, reader = make_student((NAME,), seed=1)
    seen = []

    class Killed(Exception):
        pass

    def check():
        seen.append(1)
        if stop_after is not None and len(seen) > stop_after:
            raise Killed

    config = DistillConfig(epochs=epochs, batch=8, risk_rows=16, **options)
    with contextlib.suppress(Killed):
        distill(
            student, {NAME: lesson_of(parts[NAME])}, config, risk=risk_of(reader), work=folder, check=check
        )
    return weight_hash(dict(student.state_dict())), len(seen)


def test_a_killed_run_goes_on_to_the_very_same_weights(tmp_path):
    unbroken, batches = run()
    killed, done = run(tmp_path, stop_after=batches * 3 // 4)
    assert killed != unbroken and done == batches * 3 // 4 + 1
    assert run(tmp_path)[0] == unbroken


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(tmp_path):
    student, parts, _ = make_student((NAME,), seed=1)
    part = parts[NAME]
    good = lesson_of(part)
    distill(student, {NAME: good}, DistillConfig(epochs=1, batch=8), work=tmp_path)
    broken = Lesson(part.features.ids, good.teacher * np.nan, part.y)
    with pytest.raises(LossNotFinite, match="lower the learning rate"):
        distill(student, {NAME: broken}, DistillConfig(epochs=2, batch=8), work=tmp_path)
    assert json.loads((tmp_path / "checkpoint.json").read_text())["step"] == 1


def test_pairing_brings_answers_to_swapped_texts_together():
    def gap(weight):
        student, parts, reader = make_student((NAME,), seed=1)
        part = parts[NAME]
        partners = [np.where(row > 2000, row - 7, row) for row in part.features.ids]
        lesson = lesson_of(part, partners=partners)
        distill(student, {NAME: lesson}, DistillConfig(epochs=4, batch=24, pair_weight=weight))
        bags = [student.wide(NAME).bags(rows) for rows in (part.features.ids, partners)]
        with torch.no_grad():
            pair = [
                student_logits(student, NAME, rows, own).softmax(dim=1)
                for rows, own in zip((part.features.ids, partners), bags, strict=True)
            ]
        return float((pair[0] - pair[1]).abs().mean())

    assert gap(5.0) < 0.8 * gap(0.0)


def test_balanced_groups_are_drawn_alike_often():
    groups = ["a"] * 90 + ["b"] * 8 + [""] * 2
    shares = lessons.group_shares(groups)
    assert shares.sum() == pytest.approx(1)
    for name in ("a", "b", ""):
        assert shares[np.array(groups) == name].sum() == pytest.approx(1 / 3)


def test_a_swapped_text_is_about_others_and_the_rest_is_itself():
    assert lessons.swapped("Where is my card?", 1) == "Where is my card?"
    other = lessons.swapped("My mother asks about her card", 1)
    assert other != "My mother asks about her card" and "card" in other


def test_held_sentences_share_no_pattern_with_training_and_groups_come_alike():
    train, other = make("train", 32), make("held", 32)
    assert not {s.pattern for s in train} & {s.pattern for s in other}
    for part in (train, other):
        counts = {}
        for sentence in part:
            counts.setdefault(sentence.kind, []).append(sentence.group)
        harmful = {g for kind in KINDS[:2] for g in counts[kind]}
        assert len(harmful) == (32 if part is other else 72)
    with pytest.raises(ValueError, match="must be one of train, held, filled"):
        make("test", 1)
    assert [s.text for s in make("held", 3)] == [s.text for s in make("held", 3)]


def test_what_training_says_of_others_holds_nothing_that_is_measured_on():
    made = make("train", 128)
    kept_out = [*held(TRAITS), *(text for pair in held(DECISIONS) for text in pair), *held(REASONS)]
    said = " | ".join(s.text.lower() for s in made)
    assert not [phrase for phrase in kept_out if phrase in said]
    assert not {many for many, _ in MORE_GROUPS} & {many for many, _ in operator.OTHER_GROUPS}
    own = {one for one in (*TRAITS, *REASONS) if one in said}
    assert len({s.text for s in made}) > 5000 and own  # its own fillings are still among them


def test_a_made_sentence_and_its_partner_differ_in_the_group_alone():
    groups = sorted(
        (name.lower() for pair in MORE_GROUPS + GROUPS_EN for name in pair), key=len, reverse=True
    )

    def nameless(text):
        for name in groups:
            text = text.replace(name, "*")
        return text

    for sentence in make("train", 8):
        text, partner = sentence.text.lower(), sentence.partner.lower()
        assert (partner != text) is bool(sentence.group)
        assert nameless(partner) == nameless(text)


def test_thresholds_let_benign_texts_through_and_find_what_is_planted():
    rows, unseen = operator.planted_rows(), operator.unseen_rows()
    assert not set(rows.texts) & set(unseen.texts) | set(rows.texts) & set(
        operator.training_rows(limit=4096).texts
    )
    bad = {text for text, kinds in zip(rows.texts, rows.kinds, strict=True) if 1 in kinds}

    def scored(texts):
        rng = np.random.default_rng(len(texts))
        base = 0.1 + 0.2 * rng.random((len(texts), 3)).astype("f4")
        return base + np.array([[0.6] * 3 if text in bad else [0.0] * 3 for text in texts], "f4")

    chosen = choose_tau(scored, limit=40)
    tau = np.array(list(chosen["tau"].values()), "f4")
    assert chosen["benign"]["high"] <= 0.011 or chosen["benign"]["value"] == 0
    found = measure(scored, tau, limit=40)
    assert found["planted"]["all"]["value"] == 1.0 and found["planted"]["harmless_blocked"]["value"] <= 0.05
    with pytest.raises(ValueError, match="no numbers"):
        choose_tau(lambda texts: np.full((len(texts), 3), np.nan, "f4"), limit=4)


def test_risk_of_partners_comes_together_too():
    student, _, reader = make_student((NAME,), seed=3)
    risk = risk_of(reader)
    _, parts, _ = make_student((NAME,), seed=3)
    before = (risk_logits(student, risk.ids) - risk_logits(student, risk.partners)).square().mean()
    distill(
        student, {NAME: lesson_of(parts[NAME])}, DistillConfig(epochs=3, batch=24, risk_rows=48), risk=risk
    )
    with torch.no_grad():
        found = risk_logits(student, risk.ids)
        after = (found - risk_logits(student, risk.partners)).square().mean()
        known = torch.from_numpy(risk.kinds) >= 0
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            found[known], torch.from_numpy(risk.kinds)[known]
        )
    assert after < before * 2 and loss < 0.7


def test_narrow_words_keep_who_is_near_whom():
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((5, 384)) * 3
    words = (centres[np.arange(200) % 5] + rng.standard_normal((200, 384))).astype("f4")
    narrow = shrink_words(words, 16)
    assert narrow.shape == (200, 16) and narrow.std() == pytest.approx(0.3, rel=1e-3)
    unit = narrow / np.linalg.norm(narrow, axis=1, keepdims=True)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -1)
    assert (alike.argmax(axis=1) % 5 == np.arange(200) % 5).mean() > 0.95


def test_the_short_wide_channel_gives_the_table_s_own_logits(tmp_path):
    import onnxruntime as ort

    from modelhub.ml import tokens
    from modelhub.ml.text.gate_graph import GatedBuilder
    from modelhub.ml.text.wide_graph import read_table

    _, parts, reader = make_student((NAME,))
    part = parts[NAME]
    table = wide.fit(part.features.ids, part.y, 2, wide.WideConfig(buckets=1 << 12))
    g = GatedBuilder("wide")
    ids, mask = (g.input(name, "int64", ["N", "T"]) for name in ("ids", "mask"))
    g.output("y", wide_nodes(g, "w/", table, ids, mask), "float", ["N", 2])
    model = g.model()
    rows = [*reader.read(["the food the food the food was bad", "x"]), *part.features.ids[:5]]
    batch = tokens.pad(rows)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, dict(zip(("ids", "mask"), batch, strict=True)))[0]
    np.testing.assert_allclose(found, table.logits(rows), rtol=1e-4, atol=1e-4)
    held = {t.name.removeprefix("w/"): t for t in model.graph.initializer if t.name.startswith("w/")}
    from onnx import numpy_helper

    again = read_table({name: numpy_helper.to_array(value) for name, value in held.items()})
    np.testing.assert_array_equal(again.logits(rows), table.logits(rows))


def timed(width, single, batched, parameters):
    return grid.Timed(StudentShape(width, 4, 2 * width), parameters, single, batched)


def test_the_largest_student_that_is_fast_enough_is_taken():
    found = [timed(32, 0.05, 0.01, 100), timed(64, 0.06, 0.02, 200), timed(128, 0.09, 0.05, 400)]
    assert grid.choose(found, grid.Wanted(0.07, 0.1)).shape.width == 64
    assert grid.choose(found, grid.Wanted(1, 1)).shape.width == 128
    assert grid.choose(found, grid.Wanted(1, 0.015)).shape.width == 32
    with pytest.raises(grid.NoneFastEnough, match="width 32: 0.05 ms"):
        grid.choose(found, grid.Wanted(0.01, 1))


def test_the_grid_is_measured_in_the_form_it_is_served_in(tmp_path):
    shapes = (StudentShape(16, 2, 32), StudentShape(32, 4, 64))
    rows = [np.arange(1000, 1000 + n) for n in (3, 5, 9)]
    found = grid.measure(rows, tmp_path, shapes, repeats=1)
    assert [one.shape for one in found] == list(shapes)
    assert all(one.single_ms > 0 and one.batched_ms > 0 for one in found)
    assert found[0].parameters < found[1].parameters
    assert (tmp_path / "grid-16-32.int8.onnx").is_file()
    shutil.rmtree(tmp_path)


def test_a_student_names_its_heads_and_raises_for_others():
    student, _, _ = make_student((NAME,))
    assert isinstance(student, Student) and student.names == [NAME]
    with pytest.raises(KeyError):
        student.linear("nobody")
