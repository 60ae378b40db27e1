"""Eight bits: ranges by hand, graphs that compute what they did, and the loop that gives nodes back."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from modelhub.ml.graph import GraphBuilder
from modelhub.ml.quantize import calibrate, choose, static
from modelhub.ml.quantize.calibrate import CALIBRATORS, Histogram
from modelhub.ml.quantize.equalise import equalise

RNG = np.random.default_rng(0)


def network(path, *, spread=0.0, seed=0):
    """x (N, 16) → norm → product → SiLU → product → y (N, 6); `spread` makes channels of unequal width."""
    rng = np.random.default_rng(seed)
    g = GraphBuilder("net")
    x = g.input("x", "float", ["N", 16])
    gain = np.exp(spread * rng.standard_normal(16)).astype(np.float32)
    y = g.op("LayerNormalization", x, g.const(gain), g.const(np.zeros(16, np.float32)), axis=-1)
    y = g.op(
        "MatMul", y, g.const((rng.standard_normal((16, 24)) / gain[:, None] / 4).astype(np.float32), "first")
    )
    y = g.op("Mul", y, g.op("Sigmoid", y))
    y = g.op("MatMul", y, g.const((rng.standard_normal((24, 6)) / 5).astype(np.float32), "second"))
    g.output("y", y, "float", ["N", 6])
    g.save(path)
    return path


def ask(path, x):
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(["y"], {"x": x})[0]


@pytest.mark.parametrize("name", CALIBRATORS)
def test_every_calibrator_stays_inside_of_what_was_seen_and_covers_the_bulk(name):
    values = RNG.standard_normal(20_000)
    low, high = CALIBRATORS[name](Histogram.of(values))
    assert values.min() - 1e-9 <= low < -1.5 and 1.5 < high <= values.max() + 1e-9


def test_min_max_keeps_an_outlier_that_percentile_and_entropy_give_up():
    values = np.concatenate([RNG.uniform(-1, 1, 50_000), [400.0]])
    seen = Histogram.of(values)
    assert calibrate.minmax(seen) == (values.min(), 400.0)
    for name in ("percentile", "entropy"):
        assert CALIBRATORS[name](seen)[1] < 250, name


def test_least_squares_finds_the_better_of_two_ranges_worked_out_by_hand():
    # 10,000 values over [0, 1) and one at 10. The whole range rounds by (10/255)²/12 = 1.28e-4 a value, 1.28 in all;
    # a range to 1 rounds by 1.28e-6, 0.013 in all, and clips the one by 9² = 81: keeping it is better by far.
    kept = calibrate.equalised(
        Histogram.of(np.concatenate([np.linspace(0, 1, 10_000, endpoint=False), [10.0]]))
    )
    assert kept[1] > 9
    # With two million small values the same clip costs 81 against 257: letting it go is better.
    many = Histogram(0.0, 10.0, np.zeros(calibrate.BINS))
    many.counts[: calibrate.BINS // 10] = 2e6 / (calibrate.BINS // 10)
    many.counts[-1] = 1
    assert calibrate.equalised(many)[1] < 4


def test_histograms_of_parts_are_the_histogram_of_the_whole_within_a_bin():
    a, b = RNG.normal(0, 1, 5000), RNG.normal(3, 2, 5000)
    both, whole = Histogram.of(a).add(b), Histogram.of(np.concatenate([a, b]))
    assert (both.low, both.high) == (whole.low, whole.high)
    assert np.abs(np.cumsum(both.counts) - np.cumsum(whole.counts)).max() <= 60
    for wrong in ([], [np.nan], [1.0, np.inf]):
        with pytest.raises(ValueError, match="no numbers"):
            Histogram.of(np.array(wrong))


def test_zero_is_a_level_of_every_range():
    for span in ((-1.0, 3.0), (0.5, 2.0), (-4.0, -1.0), (0.0, 0.0)):
        scale, zero = static.affine(span)
        assert 0 <= zero <= 255 and scale > 0
        assert (np.float32(int(zero)) - zero) * scale == 0


def test_static_int8_answers_almost_as_float_does_and_is_smaller(tmp_path):
    source = network(tmp_path / "float.onnx")
    x = RNG.standard_normal((64, 16)).astype(np.float32)
    names = [product.activation for product in static.products(source)]
    assert [product.kind for product in static.products(source)] == ["MatMul", "MatMul"]
    seen, _ = calibrate.observe(source, names, [{"x": x}])
    target = tmp_path / "int8.onnx"
    static.quantise_static(source, target, {name: calibrate.minmax(seen[name]) for name in names})
    wanted, found = ask(source, x), ask(target, x)
    assert 0 < np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()
    held = {tensor.name: tensor for tensor in onnx.load(target).graph.initializer}
    assert not [name for name in held if name.startswith(("first", "second"))]  # the float weights are gone
    static.quantise_static(source, target, {}, frozenset(product.node for product in static.products(source)))
    np.testing.assert_array_equal(ask(target, x), wanted)
    with pytest.raises(KeyError):
        static.quantise_static(source, target, {})


def test_evening_out_channels_changes_no_answer_and_helps_eight_bits(tmp_path):
    source = network(tmp_path / "float.onnx", spread=2.0)
    x = RNG.standard_normal((256, 16)).astype(np.float32)
    names = [product.activation for product in static.products(source)]
    _, largest = calibrate.observe(source, names, [{"x": x}])
    even = tmp_path / "even.onnx"
    assert equalise(source, even, largest) == names[:1]  # what comes out of SiLU can't be scaled for free
    np.testing.assert_allclose(ask(even, x), ask(source, x), rtol=1e-4, atol=1e-5)
    errors = []
    for graph in (source, even):
        seen, _ = calibrate.observe(graph, names, [{"x": x}])
        static.quantise_static(graph, tmp_path / "q.onnx", {n: calibrate.minmax(seen[n]) for n in names})
        errors.append(np.abs(ask(tmp_path / "q.onnx", x) - ask(source, x)).mean())
    assert errors[1] < errors[0] / 2


def judge_of(source, x, y=None):
    return choose.Judge(
        lambda path: ask(path, x), ask(source, x).argmax(1) if y is None else y, np.arange(len(x)) % 2 == 0
    )


def test_the_best_of_five_ways_is_kept_and_all_are_reported(tmp_path):
    source = network(tmp_path / "float.onnx", spread=1.0)
    x = RNG.standard_normal((400, 16)).astype(np.float32)
    found = choose.quantise(
        source, tmp_path / "int8.onnx", judge_of(source, x), [{"x": x[:64]}], work=tmp_path / "w",
        bound=choose.Bound(50.0, 0.5),
    )  # fmt: skip
    assert set(found.report["methods"]) == set(choose.METHODS) and found.holds and not found.keep_float
    best = max(row["chosen_by"]["agreement"] for row in found.report["methods"].values())
    assert found.report["methods"][found.method]["chosen_by"]["agreement"] == best
    assert found.report["n"] == 200  # the rows that chose give no figures
    with pytest.raises(ValueError, match="unknown methods"):
        choose.quantise(
            source, tmp_path / "q.onnx", judge_of(source, x), [], work=tmp_path, methods=("magic",)
        )
    with pytest.raises(ValueError, match="calibration needs rows"):
        choose.quantise(
            source, tmp_path / "q.onnx", judge_of(source, x), [], work=tmp_path / "v", methods=("min-max",)
        )


def test_nodes_go_back_to_float_until_the_bound_holds(tmp_path):
    source = network(tmp_path / "float.onnx", spread=3.0)
    x = RNG.standard_normal((300, 16)).astype(np.float32)
    strict = choose.Bound(0.5, 1.0)
    found = choose.quantise(
        source, tmp_path / "int8.onnx", judge_of(source, x), [{"x": x[:4] * 0.05}], work=tmp_path / "w", bound=strict,
        methods=("min-max",),
    )  # fmt: skip
    assert found.keep_float and found.report["steps"][0]["back_to_float"] == found.keep_float[0]
    agreements = [step["agreement"] for step in found.report["steps"]]
    assert agreements == sorted(agreements) and agreements[-1] == 1.0


def test_a_bound_that_no_form_holds_gives_the_best_found_and_says_so(tmp_path):
    source = network(tmp_path / "float.onnx")
    x = RNG.standard_normal((80, 16)).astype(np.float32)
    wrong = (ask(source, x).argmax(1) + 1) % 6  # the float form is always wrong, so nothing can be lost
    found = choose.quantise(
        source, tmp_path / "int8.onnx", judge_of(source, x, wrong), [{"x": x}], work=tmp_path / "w",
        bound=choose.Bound(-1.0, 1.1), methods=("dynamic",),
    )  # fmt: skip
    assert not found.holds and len(found.keep_float) == 2 and (tmp_path / "int8.onnx").is_file()


def test_weights_of_experts_are_found_where_sixteen_bits_are_widened(tmp_path):
    g = GraphBuilder("experts")
    x = g.input("x", "float", ["N", 16])
    parts = []
    for expert in range(3):
        rows = g.op("Gather", x, g.const(np.array([expert, expert + 1])), axis=0)
        wide = g.op("Cast", g.const(RNG.standard_normal((16, 8)).astype(np.float16), f"expert{expert}"), to=1)
        parts.append(g.op("MatMul", rows, wide))
    g.output("y", g.op("Sum", *parts), "float", ["M", 8])
    g.save(tmp_path / "experts.onnx")
    found = static.products(tmp_path / "experts.onnx")
    assert [product.kind for product in found] == ["MatMul"] * 3
    names = [product.activation for product in found]
    x = RNG.standard_normal((5, 16)).astype(np.float32)
    seen, _ = calibrate.observe(tmp_path / "experts.onnx", names, [{"x": x}])
    static.quantise_static(
        tmp_path / "experts.onnx", tmp_path / "q.onnx", {n: calibrate.minmax(seen[n]) for n in names}
    )
    kinds = [node.op_type for node in onnx.load(tmp_path / "q.onnx").graph.node]
    assert "Cast" not in kinds and kinds.count("DequantizeLinear") >= 4
    np.testing.assert_allclose(ask(tmp_path / "q.onnx", x), ask(tmp_path / "experts.onnx", x), atol=0.4)
