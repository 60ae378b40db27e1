"""The operator library: fused against unfused, one model from torch eager to its best backend, time by operator."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import numpy as np

from bench.common import FULL, Results
from bench.tools import text_forms
from modelhub.hal import emulation, models, registry, time_shares
from modelhub.hal.operators import OPERATORS
from modelhub.hal.registry import Implementation, Registry

TEXTS = 40
REPEATS = 9 if FULL else 5
EAGER = "torch eager"
SHAPES = {"ffn_gelu": {"D": 384, "F": 1536}, "layernorm_residual": {"D": 384}}  # those of the text trunk
TOKENS = (1, 64, 1024)
FUSED_AT_LEAST, MEDIAN_AT_MOST, SIGMA_AT_MOST = 1.2, 0.35, 0.45


def main() -> None:
    results = Results("operators")
    rows(results)
    results.write()


def rows(results: Results) -> None:
    """Everything, with torch and the runtimes on one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        held = registry.load()
        for operator in SHAPES:
            fusion_rows(results, held, operator)
        dispatch_rows(results)
    finally:
        torch.set_num_threads(threads)


# --- fusion ---------------------------------------------------------------------------------------------------------


def fusion_rows(results: Results, held: Registry, operator: str) -> None:
    """Median time of the unfused chain over that of the fused form, in turns; the geometric mean of the token counts."""
    ratios: dict[str, dict[int, list[float]]] = {}
    for tokens in TOKENS:
        forms = torch_forms(held, operator, {**SHAPES[operator], "T": tokens})
        for _ in range(REPEATS):
            took = in_turns(operator, {**SHAPES[operator], "T": tokens}, forms)
            for against in took.keys() - {"fused"}:
                ratios.setdefault(against, {}).setdefault(tokens, []).append(took[against] / took["fused"])
    sizes = ", ".join(f"{letter}={size}" for letter, size in SHAPES[operator].items())
    how = (
        f"torch float32, one thread, {sizes}: median time of one kernel a step over that of the fused form, taken in turns; "
        f"geometric mean of {', '.join(map(str, TOKENS))} tokens"
    )
    results.add(f"fusion_speedup_{operator}", means(ratios["steps"]), "×", how, at_least=FUSED_AT_LEAST)
    for tokens, found in ratios["steps"].items():
        results.add(
            f"fusion_speedup_{operator}_{tokens}", found, "×", f"the same at {tokens} tokens", control=True
        )
    if "library" in ratios:
        how = "the same against torch's own library calls (linear, gelu, linear), which are fused in part themselves"
        over = f"fusion_speedup_{operator}_over_library_calls"
        results.add(over, means(ratios["library"]), "×", how, control=True)


def torch_forms(held: Registry, operator: str, dims: dict[str, int]) -> dict[str, Implementation]:
    found = held.candidates(operator, dims, dtypes=["float32"], fused=None)
    names = {(True, ""): "fused", (False, ""): "steps", (False, "library"): "library"}
    return {names[i.fused, i.variant]: i for i in found if i.backend == "torch"}


def in_turns(operator: str, dims: dict[str, int], forms: dict[str, Implementation]) -> dict[str, float]:
    """Form → median seconds of a call; the forms alternate call by call."""
    op = OPERATORS[operator]
    sample = op.sample(dims)
    ready = {}
    for name, form in forms.items():
        # weights of its own: shared ones would come warm to the second reader
        own = {n: sample[n].copy() for n in op.constants}
        prepared = form.prepare(own, op.attributes, dims)
        ready[name] = (prepared, [prepared.load(sample[n]) for n in op.activations])
    took: dict[str, list[float]] = {name: [] for name in ready}
    calls = 300 if dims["T"] <= 64 else 30
    for turn in range(calls + 5):
        for name, (prepared, loaded) in ready.items():
            began = time.perf_counter()
            prepared.run(*loaded)
            if turn >= 5:
                took[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in took.items()}


def means(ratios: dict[int, list[float]]) -> list[float]:
    """Geometric mean over token counts, repeat by repeat."""
    return [float(np.exp(np.mean(np.log(each)))) for each in zip(*ratios.values(), strict=True)]


# --- dispatch -------------------------------------------------------------------------------------------------------


def dispatch_rows(results: Results) -> None:
    """The shipped text model: torch eager against the backend that measurement chooses, one text at a time."""
    model = text_forms.load(TEXTS)
    eager = model.forms[0].open()
    answers = [eager(each) for each in model.inputs]
    found = models.measure_repeats(model.forms, model.inputs, answers, model.label, repeats=REPEATS)
    chosen = models.quickest(found[0]).name
    same = models.quickest(found[0], ["float32"]).name
    for name, suffix in ((chosen, ""), (same, "_same_precision")):
        medians, sigmas = ratios_of(found, name)
        how = f"{text_forms.MODEL}, {TEXTS} texts one at a time, one thread: {name} over torch eager, {{}} of latency, in turns"
        for word, values, limit in (("median", medians, MEDIAN_AT_MOST), ("sigma", sigmas, SIGMA_AT_MOST)):
            metric = f"dispatch_latency_{word}_ratio{suffix}"
            results.add(metric, values, "ratio", how.format(word), at_most=None if suffix else limit)
    for each in found[0]:
        form_controls(results, [of(repeat, each.name) for repeat in found])
    share_rows(results, model)
    emulated_rows(results, model)


def of(found: Sequence[models.Measured], name: str) -> models.Measured:
    return next(m for m in found if m.name == name)


def ratios_of(found: Sequence[Sequence[models.Measured]], name: str) -> tuple[list[float], list[float]]:
    pairs = [(of(repeat, name), of(repeat, EAGER)) for repeat in found]
    return [a.median_ms / b.median_ms for a, b in pairs], [a.sigma_ms / b.sigma_ms for a, b in pairs]


def form_controls(results: Results, repeats: Sequence[models.Measured]) -> None:
    """Each form's own milliseconds and how well it agrees; a form that was refused says why."""
    first, metric = repeats[0], "_".join(repeats[0].name.split())
    if not first.times_ms:
        results.not_run(f"dispatch_ms_{metric}", "ms", first.why)
        results.controls.append(results.rows.pop())
        return
    agreed = f"error {first.error:.1e}, {first.agreement:.1%} of labels agree with torch float32"
    how = f"{first.name}: median of {TEXTS} texts; {agreed}"
    results.add(f"dispatch_ms_{metric}", [m.median_ms for m in repeats], "ms", how, control=True)
    how = f"{first.name}: standard deviation over the same texts"
    results.add(f"dispatch_sigma_ms_{metric}", [m.sigma_ms for m in repeats], "ms", how, control=True)


def share_rows(results: Results, model: text_forms.TextModel) -> None:
    """Share of the text model's time by operator, trunk and gating network together, under ONNX Runtime."""
    from modelhub.hal import sessions

    encoder = sessions.open_session(model.trunk)
    feeds = [{"pooled": encoder.run(["pooled"], each)[0]} for each in model.inputs]
    repeats = [
        time_shares.shares(
            time_shares.by_operator(model.trunk, model.inputs), time_shares.by_operator(model.body, feeds)
        )
        for _ in range(3)
    ]
    for name in list(repeats[0])[:8]:
        how = f"share of {text_forms.MODEL}'s time in {name}, ONNX Runtime's profile, {TEXTS} texts"
        results.add(
            f"time_share_{name}", [each.get(name, 0.0) for each in repeats], "share", how, control=True
        )


def emulated_rows(results: Results, model: text_forms.TextModel) -> None:
    """Labels that stay when every product's inputs are rounded as another device would: numbers, never speed."""
    plain = text_forms.graph_form("onnxruntime", model.trunk, model.body)
    labels = np.concatenate([model.label(plain(each)) for each in model.inputs])
    for dtype in ("tf32", "float16", "bfloat16"):
        rounded = text_forms.graph_form(
            "onnxruntime", emulation.emulate(model.trunk, dtype), emulation.emulate(model.body, dtype)
        )
        found = np.concatenate([model.label(rounded(each)) for each in model.inputs])
        how = f"emulated {dtype}: share of {len(labels)} texts of {text_forms.HEAD} labelled as in float32"
        results.add(
            f"emulated_agreement_{dtype}", [float((found == labels).mean())], "share", how, control=True
        )


if __name__ == "__main__":
    main()
