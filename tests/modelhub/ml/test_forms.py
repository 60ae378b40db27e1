"""One set of weights, three forms: what trains, what is exported for any runtime, what serves."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from modelhub.ml import export, features
from modelhub.ml.graph import GraphBuilder
from modelhub.ml.moe import body, expert_graph, gate_graph, int8, runtime
from modelhub.ml.moe.layer import SharedExpertMoE
from modelhub.ml.moe.model import GatingClassifier, GatingConfig, build

CONFIG = GatingConfig(width=32, layers=2, experts=32, hidden=32, declared_share=0.5)


@pytest.fixture(scope="module")
def model() -> GatingClassifier:
    torch.manual_seed(0)
    made = build(CONFIG, {"a": 3}).eval()
    for layer in made.blocks:
        layer.gate.selection_bias.normal_(0, 0.01)
        layer.bank.w2.data *= 10  # so that the experts matter beside the residual
    export.round_to_half(made)
    return made


@pytest.fixture(scope="module")
def paths(model, tmp_path_factory):
    folder, state = tmp_path_factory.mktemp("forms"), export.state_arrays(model)
    for form in expert_graph.FORMS:
        target = folder / f"{form}.onnx"
        body.write_body(state, target, layers=2, mass=CONFIG.mass, form=form, counts=True)
    return {form: folder / f"{form}.onnx" for form in expert_graph.FORMS}


def pooled_of(tokens: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(tokens, CONFIG.width, generator=torch.Generator().manual_seed(seed))


def answer(path, pooled: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    return tuple(features.open_session(path).run(["features", body.COUNTS], {"pooled": pooled.numpy()}))


def expected(model, pooled: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        found, routings = model.features(pooled)
    counts = [torch.bincount(r.experts[r.weights > 0], minlength=CONFIG.experts) for r in routings]
    return found.numpy(), torch.stack(counts).numpy()


@pytest.mark.parametrize("form", ["unrolled", "moe"])
@pytest.mark.parametrize("tokens", [0, 1, 40])
def test_export_and_serving_agree_with_training_to_a_ten_thousandth(model, paths, form, tokens):
    pooled = pooled_of(tokens)
    (found, _), (wanted, _) = answer(paths[form], pooled), expected(model, pooled)
    assert found.shape == (tokens, CONFIG.width)
    assert np.allclose(found, wanted, atol=1e-4)


def test_ten_thousand_tokens_give_the_same_in_both_float_forms_and_in_training(model, paths):
    pooled = pooled_of(10_000)
    wanted, counts = expected(model, pooled)
    assert counts.sum() > 2 * 2 * 10_000  # some tokens use more than two experts
    for form in ("unrolled", "moe"):
        found, counted = answer(paths[form], pooled)
        # a score within rounding of the next, or of the mass, may choose otherwise in another library
        agree = np.abs(found - wanted).max(axis=1) < 1e-4
        assert agree.mean() > 0.999
        assert np.abs(counted - counts).sum() <= 4 * (~agree).sum()


@pytest.mark.parametrize("form", expert_graph.FORMS)
def test_the_number_of_experts_varies_by_token_and_is_the_same_in_every_form(model, paths, form):
    pooled = pooled_of(300)
    with torch.no_grad():
        chosen = torch.stack([r.chosen for r in model.features(pooled)[1]])
    assert set(chosen.unique().tolist()) >= {2, 3}
    _, counts = answer(paths[form], pooled)
    assert counts.shape == (2, CONFIG.experts)
    assert counts[0].tolist() == expected(model, pooled)[1][0].tolist()
    assert counts[0].sum() == chosen[0].sum()


@pytest.mark.parametrize("form", expert_graph.EIGHT_BITS)
def test_eight_bits_answer_nearly_as_sixteen_do(model, paths, form):
    pooled = pooled_of(2_000)
    (found, _), (wanted, _) = answer(paths[form], pooled), expected(model, pooled)
    with torch.no_grad():
        labels = model.head("a")(torch.from_numpy(wanted)).argmax(1)
        same = model.head("a")(torch.from_numpy(found)).argmax(1) == labels
    assert float(same.float().mean()) > 0.97  # random, untrained heads: margins are as small as they get
    # 8 bits were really used, and where rounding moved no choice of experts it moved little else
    assert 1e-4 < np.median(np.abs(found - wanted)) < 0.02


def test_eight_bit_experts_are_a_quarter_of_the_size(model, tmp_path):
    state = export.state_arrays(model)
    for form in ("moe", *expert_graph.EIGHT_BITS):
        body.write_body(state, tmp_path / form, layers=2, mass=CONFIG.mass, form=form, half=False)
    for (
        form
    ) in expert_graph.EIGHT_BITS:  # of a network this small, names and nodes are a part worth mentioning
        assert (tmp_path / form).stat().st_size < 0.45 * (tmp_path / "moe").stat().st_size


@pytest.mark.parametrize("form", expert_graph.FORMS)
def test_an_answer_does_not_depend_on_who_shares_the_batch(paths, form):
    pooled = pooled_of(9)
    alone = answer(paths[form], pooled[4:5])[0][0]
    pooled[7] *= 1e6  # a neighbour whose numbers would stretch a scale kept for the whole batch
    assert np.allclose(answer(paths[form], pooled)[0][4], alone, atol=1e-5)


@pytest.mark.parametrize("form", expert_graph.FORMS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_token_that_is_not_a_number_answers_so_and_spoils_no_other(paths, form, bad):
    pooled = pooled_of(6)
    clean, counts = answer(paths[form], pooled)
    without, _ = answer(paths[form], pooled[[0, 1, 3, 4, 5]])
    pooled[2, 5] = bad
    found, counted = answer(paths[form], pooled)
    assert np.isnan(found[2]).all()
    assert np.allclose(np.delete(found, 2, 0), np.delete(clean, 2, 0), atol=1e-5)
    assert np.allclose(np.delete(found, 2, 0), without, atol=1e-5)
    assert (counted <= counts).all() and counted[0].sum() < counts[0].sum()  # it is counted nowhere


@pytest.mark.parametrize("form", expert_graph.FORMS)
def test_a_gate_whose_keys_are_spoilt_never_answers_an_ordinary_number(model, tmp_path, form):
    state = export.state_arrays(model)
    state["layers.1.gate.keys"] = np.full_like(state["layers.1.gate.keys"], np.nan)
    body.write_body(state, tmp_path / "bad.onnx", layers=2, mass=CONFIG.mass, form=form)
    found = features.open_session(tmp_path / "bad.onnx").run(None, {"pooled": pooled_of(3).numpy()})[0]
    assert np.isnan(found).all()


@pytest.mark.parametrize("form", expert_graph.FORMS)
def test_tokens_that_fit_all_experts_alike_take_the_lowest_numbered_everywhere(form, tmp_path):
    torch.manual_seed(0)
    made = build(CONFIG, {"a": 3}).eval()
    pooled = torch.zeros(3, CONFIG.width)  # every score is equal
    body.write_body(
        export.state_arrays(made), tmp_path / "f.onnx", layers=2, mass=0.4, form=form, counts=True, half=False
    )
    found, counts = answer(tmp_path / "f.onnx", pooled)
    wanted, in_torch = expected(made, pooled)
    assert counts.tolist() == in_torch.tolist()
    assert counts[0, :4].tolist() == [3, 3, 3, 3] and counts[0, 4:].sum() == 0
    assert np.allclose(found, wanted, atol=0.05 if form in expert_graph.EIGHT_BITS else 1e-4)


ROUTINGS = [
    {"norm_topk_prob": True, "routed_scaling_factor": 2.5},
    {"norm_topk_prob": False, "routed_scaling_factor": 1.0},
    {"n_group": 4, "topk_group": 2, "norm_topk_prob": True, "routed_scaling_factor": 1.5},
]


@pytest.mark.parametrize("options", ROUTINGS)
@pytest.mark.parametrize("form", expert_graph.FORMS)
def test_the_sigmoid_variant_with_shared_swiglu_experts_has_the_three_forms_too(options, form, tmp_path):
    torch.manual_seed(0)
    layer = SharedExpertMoE(32, experts=16, hidden=32, top_k=3, shared=2, **options)
    layer.gate.selection_bias.normal_(0, 0.1)
    g = GraphBuilder("sigmoid")
    x = g.input("x", "float", ["T", 32])
    gate = layer.gate
    terms = gate_graph.SigmoidTerms(
        gate.weight.detach().numpy(), gate.selection_bias.numpy(), k=3, **{"n_group": 1, "topk_group": 1} | options
    )  # fmt: skip
    state = export.state_arrays(layer)
    y, _ = body.sparse_nodes(g, state, "", x, terms, activation="swiglu", form=form, half=False)
    g.output("y", y, "float", ["T", 32])
    g.save(tmp_path / "layer.onnx")
    session = features.open_session(tmp_path / "layer.onnx")
    for tokens in (0, 1, 50):
        batch = torch.randn(tokens, 32)
        wanted = layer(batch)[0].detach().numpy()
        found = session.run(None, {"x": batch.numpy()})[0]
        assert found.shape == wanted.shape
        assert np.allclose(found, wanted, atol=0.05 if form in expert_graph.EIGHT_BITS else 1e-4)
    batch[7, 0] = float("inf")
    assert np.isnan(session.run(None, {"x": batch.numpy()})[0][7]).all()


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu", "swiglu", "geglu"])
def test_every_activation_can_be_exported_and_the_contrib_form_says_what_it_lacks(activation, tmp_path):
    torch.manual_seed(0)
    config = GatingConfig(
        width=32, layers=1, experts=32, hidden=16, activation=activation, declared_share=0.6
    )
    made = build(config, {"a": 3}).eval()
    made.blocks[0].bank.w2.data *= 10
    state, pooled = export.state_arrays(made), pooled_of(20)
    wanted = made.features(pooled)[0].detach().numpy()
    for form in ("unrolled", "moe"):
        options = {"layers": 1, "mass": 0.4, "activation": activation, "form": form, "half": False}
        if form == "moe" and activation in ("gelu", "geglu"):
            with pytest.raises(expert_graph.FormUnsupported, match="use the unrolled form"):
                body.write_body(state, tmp_path / "f.onnx", **options)
            continue
        body.write_body(state, tmp_path / "f.onnx", **options)
        export.check_parity(tmp_path / "f.onnx", {"pooled": pooled.numpy()}, wanted)


@pytest.mark.parametrize("form", ["unrolled", "unrolled_int8"])
def test_the_unrolled_graphs_are_made_of_standard_operators_alone(paths, form):
    held = onnx.load(str(paths[form]))
    assert {node.domain for node in held.graph.node} == {""}
    assert [entry.domain for entry in held.opset_import] == [""]


def test_a_runtime_without_the_contrib_operator_falls_back_to_the_unrolled_graph(model, paths, tmp_path):
    broken = {}
    for form, name in (("qmoe", "QMoE"), ("moe", "MoE")):
        held = onnx.load(str(paths[form]))
        for node in held.graph.node:
            if node.op_type == name:
                node.op_type = f"{name}OfTomorrow"
        broken[form] = tmp_path / f"{form}.onnx"
        onnx.save(held, str(broken[form]))
    pooled = pooled_of(5)
    form, session = runtime.open_best({**broken, "unrolled": paths["unrolled"]})
    assert form == "unrolled"
    assert np.allclose(
        session.run(["features"], {"pooled": pooled.numpy()})[0], expected(model, pooled)[0], atol=1e-4
    )
    assert runtime.open_best({"qmoe": broken["qmoe"], "moe": paths["moe"]})[0] == "moe"
    assert runtime.open_best(paths)[0] == "qmoe"
    with pytest.raises(runtime.NoFormRuns, match="QMoEOfTomorrow"):
        runtime.open_best({"qmoe": broken["qmoe"]})


def test_the_quickest_form_is_kept_and_those_that_cannot_run_are_passed_over(paths, tmp_path):
    now = [0.0]

    class Timed:
        """A session by whose clock a call takes as long as it was told."""

        def __init__(self, path, seconds):
            self.inner, self.seconds = features.open_session(path), seconds

        def run(self, *arguments):
            now[0] += self.seconds
            return self.inner.run(*arguments)

    options = {
        "clock": lambda: now[0],
        "open_session": lambda path: Timed(path, {"moe": 0.05, "unrolled": 0.01}.get(path.stem, 0.0)),
    }
    spoilt = tmp_path / "spoilt.onnx"
    spoilt.write_bytes(b"no graph")
    feed = {"pooled": pooled_of(2).numpy()}
    files = {"moe": paths["moe"], "spoilt": spoilt, "unrolled": paths["unrolled"]}
    assert runtime.open_fastest(files, feed, **options)[0] == "unrolled"
    assert runtime.open_fastest({"moe": paths["moe"], "spoilt": spoilt}, feed, calls=1)[0] == "moe"
    with pytest.raises(runtime.NoFormRuns, match="spoilt"):
        runtime.open_fastest({"spoilt": spoilt}, feed)
    with pytest.raises(runtime.NoFormRuns, match="no file"):
        runtime.open_fastest({}, feed)


def test_opening_a_model_needs_onnxruntime_alone():
    heavy = "{'torch', 'onnx', 'transformers'} & set(sys.modules)"
    code = f"import modelhub.ml.moe.runtime, sys; sys.exit(str({heavy}) if {heavy} else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_session_that_is_asked_for_features_alone_skips_the_counting(paths):
    session, options = features.open_session(paths["moe"]), ort.RunOptions()
    options.only_execute_path_to_fetches = True
    pooled = pooled_of(4)
    only = session.run(["features"], {"pooled": pooled.numpy()}, options)[0]
    assert np.array_equal(only, answer(paths["moe"], pooled)[0])


def test_eight_bits_refuse_what_they_cannot_hold():
    with pytest.raises(expert_graph.FormUnsupported, match="multiples of 16"):
        narrow = build(GatingConfig(width=24, layers=1, experts=32, hidden=8, declared_share=0.6), {"a": 2})
        body.write_body(export.state_arrays(narrow), None, layers=1, mass=0.4, form="qmoe")
    with pytest.raises(ValueError, match="must divide"):
        int8.quantise(np.ones((2, 20), np.float32), 16)
    with pytest.raises(ValueError, match="NaN or infinity"):
        int8.quantise(np.full((2, 32), np.nan, np.float32), 16)


def test_eight_bits_round_to_half_a_step():
    weight = np.random.default_rng(0).normal(size=(3, 5, 64)).astype(np.float32)
    held = int8.quantise(weight, 32)
    step = np.repeat(held.scales, 32, axis=-1).reshape(weight.shape)
    assert (np.abs(int8.widen(held) - weight) <= 0.5001 * step).all()
    assert held.values.min() >= 1  # symmetric: minus 128 is not used
