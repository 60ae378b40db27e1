"""What the served graph says once is what torch would say each time, and an expert in the topmost block trains on it."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from modelhub.ml.adapters import seen as seen_module
from modelhub.ml.adapters.inject import AdaptedEncoder, Adapter, AdapterShape
from modelhub.ml.adapters.inner import Examples, Settings, Tuned, train_inner
from modelhub.ml.adapters.seen import TopExpert, see_once
from modelhub.ml.text.adapted_graph import NotAdaptable
from modelhub.ml.train.checkpoint import weight_hash
from tests.modelhub.adapters.small import WIDTH, below, encoder, learned, segments, write

torch.set_num_threads(1)  # a hash is compared: sums in one order
VOCABULARY, LABELS = 50, 3
TABLE = np.random.default_rng(0).standard_normal((VOCABULARY, WIDTH)).astype(np.float32)


def texts(count, seed):
    rng = np.random.default_rng(seed)
    return [rng.integers(VOCABULARY, size=size) for size in rng.integers(3, 9, count)]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A body in float32, the graph of its embeddings, and the torch module that both were written from."""
    folder = tmp_path_factory.mktemp("seen")
    model = encoder()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    node = helper.make_node("Gather", ["words", "input_ids"], ["embedded"])
    graph = helper.make_graph(
        [node], "embed",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["B", "T"])],
        [helper.make_tensor_value_info("embedded", TensorProto.FLOAT, ["B", "T", WIDTH])],
        [numpy_helper.from_array(TABLE, "words")],
    )  # fmt: skip
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10),
        folder / "embed.onnx",
    )
    return write(model, folder / "body.onnx", form="moe"), folder / "embed.onnx", model


def padded(ids):
    mask = np.zeros((len(ids), max(map(len, ids))), np.int64)
    embedded = np.zeros((*mask.shape, WIDTH), np.float32)
    for row, own in enumerate(ids):
        mask[row, : len(own)], embedded[row, : len(own)] = 1, TABLE[own]
    return torch.from_numpy(embedded), segments(mask)


def by_torch(model, adapter, ids):
    x, segment = padded(ids)
    adapted = AdaptedEncoder(model, adapter)
    with torch.no_grad():
        return adapted(below(model, x, segment, adapted.first), segment, len(ids)).numpy()


@pytest.mark.parametrize("first", [0, 1])
def test_one_run_gives_the_features_and_the_states_that_torch_gives(places, first):
    body, embed, model = places
    ids = texts(7, 1)
    found = see_once(body, embed, ids, first)
    x, segment = padded(ids)
    wanted = below(model, x, segment, first).numpy()
    for row, own in enumerate(ids):
        held = found.entering.table[found.entering.start[row] : found.entering.start[row + 1]]
        assert np.abs(held.astype(np.float32) - wanted[row, : len(own)]).max() < 5e-3  # half precision
    nothing = Adapter(AdapterShape("lora", 1), WIDTH)
    assert np.abs(found.features - by_torch(model, nothing, ids)).max() < 1e-4


def test_an_expert_on_kept_states_answers_as_the_same_expert_inside_the_encoder(places):
    body, embed, model = places
    ids, adapter = texts(6, 2), learned("expert", 1, 3)
    states = see_once(body, embed, ids, 1).top
    which = np.array([4, 0, 5, 2])
    x, batch = states.batch(which)
    with torch.no_grad():
        ours = states.encoder(model, adapter)(x, batch.segment, batch.texts).numpy()
    theirs = by_torch(model, adapter, [ids[i] for i in which])
    bare = by_torch(model, Adapter(AdapterShape("expert", 1), WIDTH), [ids[i] for i in which])
    assert np.abs(ours - theirs).max() < 1e-2 < np.abs(theirs - bare).max()


def test_tables_that_are_large_lie_in_files_and_say_the_same(places, tmp_path, monkeypatch):
    body, embed, _ = places
    ids = texts(5, 4)
    held = see_once(body, embed, ids, 1)
    monkeypatch.setattr(seen_module, "HELD_BYTES", 100)
    filed = see_once(body, embed, ids, 1, kept=tmp_path / "work" / "train.states")
    assert sorted(p.name for p in (tmp_path / "work").iterdir()) == [
        "train.states.attended", "train.states.entering", "train.states.summed",
    ]  # fmt: skip
    assert np.array_equal(held.top.summed, filed.top.summed)
    assert np.array_equal(held.entering.table, filed.entering.table)


def examples(places, count, seed):
    """Texts whose label is told by their first token."""
    body, embed, _ = places
    ids = texts(count, seed)
    y = np.array([own[0] % LABELS for own in ids])
    return Examples(see_once(body, embed, ids, 1).top, np.zeros((count, LABELS), np.float32), y)


def test_it_learns_stops_and_goes_on_to_the_same_weights_and_leaves_the_trunk_alone(places, tmp_path):
    model = places[2]
    parts = examples(places, 120, 5), examples(places, 60, 6)
    before = weight_hash(model.state_dict())

    def run(folder, **options):
        tuned = Tuned(
            Adapter(AdapterShape("expert", 1, hidden=16), WIDTH),
            np.zeros((LABELS, WIDTH), np.float32), np.zeros(LABELS, np.float32),
        )  # fmt: skip
        return train_inner(model, tuned, *parts, Settings(epochs=6, batch=16), folder=folder, **options)

    whole = run(tmp_path / "whole")
    assert whole.curve[-1]["loss"] < 0.8 * whole.curve[0]["loss"]
    told: list[dict] = []
    cut = run(tmp_path / "cut", progress=told.append, should_stop=lambda: len(told) == 2)
    assert cut.stopped
    assert run(tmp_path / "cut").hash == whole.hash
    assert weight_hash(model.state_dict()) == before


def test_what_it_can_t_read_is_refused_by_name(places, tmp_path):
    body, embed, model = places
    with pytest.raises(ValueError, match=r"0\.\.1"):
        see_once(body, embed, texts(2, 7), 2)
    with pytest.raises(NotAdaptable, match=r"embed\.onnx"):
        see_once(embed, embed, texts(2, 7), 1)
    with pytest.raises(ValueError, match="topmost"):
        TopExpert(model, learned("lora", 1, 1))
