"""Adapters inside an encoder: torch and graph agree, rows don't touch each other, the trunk stays as it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from modelhub.ml import features
from modelhub.ml.adapters.inject import AdaptedEncoder, Adapter, AdapterShape
from modelhub.ml.moe.encoder_graph import write_encoder
from modelhub.ml.moe.int8 import quantise, widen
from modelhub.ml.text.adapted_graph import NotAdaptable, with_adapters, write_adapted
from modelhub.ml.text.encoder import SparseEncoder
from modelhub.ml.text.torch_form import NotOurForm, open_encoder, read_encoder
from modelhub.ml.train.checkpoint import weight_hash
from tests.modelhub.adapters.small import (
    CONFIG,
    WIDTH,
    batch,
    below,
    encoder,
    learned,
    segments,
    stacks,
    write,
)


def by_torch(model, adapter, embedded, mask):
    adapted, segment = AdaptedEncoder(model, adapter), segments(mask)
    with torch.no_grad():
        x = below(model, torch.from_numpy(embedded), segment, adapted.first)
        return adapted(x, segment, len(mask)).numpy()


def by_graph(path, embedded, mask, places, feed):
    session = features.open_session(path)
    whole = {"embedded": embedded, "attention_mask": mask, "adapter": np.asarray(places, np.int64), **feed}
    return session.run(["features"], whole)[0]


@pytest.fixture(scope="module")
def model():
    return encoder()


def test_the_torch_form_holds_exactly_the_weights_that_the_graphs_bytes_stand_for(model, tmp_path):
    state, config = read_encoder(write(model, tmp_path / "body.onnx"))
    assert (config.layers, config.attention_heads, config.experts) == (2, 4, 6)
    assert (config.k_min, config.k_max, config.mass) == (2, 4, 0.4)
    own = {name: value.numpy() for name, value in model.state_dict().items()}
    assert set(state) == set(own)
    for layer in range(2):
        name = f"layers.{layer}.experts.w1"
        assert np.array_equal(state[name], widen(quantise(own[name], 32)))
        bias = f"layers.{layer}.experts.gate.selection_bias"
        assert np.array_equal(state[bias], own[bias])
        for part in ("qkv.bias", "out.bias", "experts.bias", "fed.weight"):
            assert np.allclose(state[f"layers.{layer}.{part}"], own[f"layers.{layer}.{part}"], atol=1e-6)
        step = np.abs(own[f"layers.{layer}.qkv.weight"]).max() / 127
        assert np.abs(state[f"layers.{layer}.qkv.weight"] - own[f"layers.{layer}.qkv.weight"]).max() <= step


def test_a_graph_whose_k_is_fixed_asks_for_no_mass_and_is_read_back_so(model, tmp_path):
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    for form in ("qmoe", "unrolled"):
        write_encoder(
            state, tmp_path / f"{form}.onnx", layers=2, attention_heads=4, k_min=3, k_max=3, form=form, half=False
        )  # fmt: skip
    _, config = read_encoder(tmp_path / "qmoe.onnx")
    assert (config.k_min, config.k_max) == (3, 3)
    fixed = SparseEncoder(replace(CONFIG, k_min=3, k_max=3), {}).eval()
    fixed.load_state_dict(model.state_dict())
    embedded, mask = batch()
    with torch.no_grad():
        pooled, routings = fixed(torch.from_numpy(embedded), segments(mask), len(mask))
        wanted = fixed.features(pooled).numpy()
    assert all(bool((routing.chosen == 3).all()) for routing in routings)
    found = features.open_session(tmp_path / "unrolled.onnx").run(
        ["features"], {"embedded": embedded, "attention_mask": mask}
    )[0]
    assert np.allclose(found, wanted, atol=1e-4)


def test_the_torch_form_answers_nearly_as_the_8_bit_graph_does(model, tmp_path):
    path = write(model, tmp_path / "body.onnx")
    embedded, mask = batch()
    served = features.open_session(path).run(["features"], {"embedded": embedded, "attention_mask": mask})[0]
    held = open_encoder(path)
    assert not held.training and not any(p.requires_grad for p in held.parameters())
    ours = by_torch(held, Adapter(AdapterShape("lora", 1), WIDTH), embedded, mask)
    cosine = (ours * served).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(served, axis=1)
    assert cosine.min() > 0.99


def test_a_graph_that_is_no_encoder_is_refused_by_name(model, tmp_path):
    path = write(model, tmp_path / "unrolled.onnx", form="unrolled")
    with pytest.raises(NotOurForm, match="nothing to fine-tune inside"):
        read_encoder(path)
    with pytest.raises(NotAdaptable, match="no adapter inside"):
        with_adapters(path, ["lora"], 1)
    with pytest.raises(ValueError, match=r"1\.\.2"):
        with_adapters(write(model, tmp_path / "body.onnx"), ["lora"], 3)
    with pytest.raises(ValueError, match="lora"):
        with_adapters(tmp_path / "body.onnx", ["nonsense"], 1)


@pytest.mark.parametrize("blocks", [1, 2])
def test_one_batch_of_many_adapters_answers_as_each_row_does_alone(model, tmp_path, blocks):
    """In float32, where nothing is rounded: to 1e-5, and so does a row without an adapter as by the body alone."""
    body = write(model, tmp_path / "body.onnx", form="moe")
    path = write_adapted(body, tmp_path / "adapted.onnx", ["lora", "expert"], blocks)
    adapters = [learned("lora", blocks, 1), learned("expert", blocks, 2), learned("lora", blocks, 3)]
    feed, (embedded, mask) = stacks(adapters, blocks), batch(8)
    places = [0, 1, 2, 3, 0, 3, 2, 1]
    mixed = by_graph(path, embedded, mask, places, feed)
    alone = np.concatenate(
        [by_graph(path, embedded[i : i + 1], mask[i : i + 1], places[i : i + 1], feed) for i in range(8)]
    )
    assert np.abs(mixed - alone).max() < 1e-5
    plain = features.open_session(body).run(["features"], {"embedded": embedded, "attention_mask": mask})[0]
    bare = [i for i, place in enumerate(places) if not place]
    assert np.abs(mixed[bare] - plain[bare]).max() < 1e-5
    for place, adapter in enumerate(adapters, start=1):
        mine = [i for i, own in enumerate(places) if own == place]
        assert np.abs(mixed[mine] - plain[mine]).max() > 0.01  # it does change something
        assert np.abs(by_torch(model, adapter, embedded[mine], mask[mine]) - mixed[mine]).max() < 1e-5


def test_in_8_bits_rows_of_others_change_nothing_in_a_batch_of_the_same_shape(model, tmp_path):
    path = write_adapted(
        write(model, tmp_path / "body.onnx"), tmp_path / "adapted.onnx", ["lora", "expert"], 2
    )
    feed, (embedded, mask) = stacks([learned("lora", 2, 1), learned("expert", 2, 2)], 2), batch(6)
    places = np.array([0, 1, 2, 0, 1, 2])
    mixed = by_graph(path, embedded, mask, places, feed)
    for place in range(3):
        same = by_graph(path, embedded, mask, np.full(6, place), feed)
        assert np.array_equal(same[places == place], mixed[places == place])


def test_an_adapter_that_has_learned_nothing_changes_nothing(model):
    embedded, mask = batch()
    for method in ("lora", "expert"):
        found = by_torch(model, Adapter(AdapterShape(method, 2), WIDTH), embedded, mask)
        with torch.no_grad():
            pooled, _ = model(torch.from_numpy(embedded), segments(mask), len(mask))
            assert np.abs(model.features(pooled).numpy() - found).max() < 1e-5


def test_training_moves_the_adapter_and_neither_parameter_nor_buffer_of_the_trunk(model):
    before = weight_hash(model.state_dict())
    adapter = Adapter(AdapterShape("lora", 2), WIDTH)
    adapted = AdaptedEncoder(model, adapter)
    adapted.train()
    assert adapter.training and not model.training  # in train() a gate's selection bias could drift
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    optimizer = torch.optim.SGD(adapter.parameters(), lr=0.1)
    embedded, mask = batch()
    for _ in range(3):
        optimizer.zero_grad()
        adapted(torch.from_numpy(embedded), segments(mask), len(mask)).square().mean().backward()
        optimizer.step()
    assert adapter.qkv_up.abs().max() > 0
    assert weight_hash(model.state_dict()) == before
    assert not list(adapted.state_dict()) or all(name.startswith("adapter.") for name in adapted.state_dict())


def test_shapes_that_do_not_fit_are_refused():
    for shape, words in (
        (AdapterShape("lora", 3), "blocks=3"),
        (AdapterShape("lora", 0), "blocks=0"),
        (AdapterShape("lora", 1, rank=0), "rank=0"),
        (AdapterShape("other", 1), "other"),
    ):
        with pytest.raises(ValueError, match=words):
            shape.check(CONFIG.layers, WIDTH)
