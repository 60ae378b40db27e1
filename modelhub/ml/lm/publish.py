"""From a training folder to an artifact: ONNX, tokenizer, configuration, manifest and card.

`python -m modelhub.ml.lm.publish --work DIR --out DIR` exports what a running training has saved so far.
"""

from __future__ import annotations

import argparse
import datetime
import math
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modelhub import artifacts
from modelhub.ml.lm import checkpoint, graph
from modelhub.ml.lm.export import export_onnx, parity
from modelhub.ml.lm.loop import Plan, validate
from modelhub.ml.lm.model import TinyDeepseek, count_parameters
from modelhub.ml.moe.flops import language_flops

LOOKS_AT = 512  # tokens before a token whose FLOPs the card tells
USEFUL = 0.5  # share of HumanEval below which nobody should write code with a model


def bits_per_byte(model: TinyDeepseek, work: Path, plan: Plan) -> dict[str, Any]:
    """Validation loss as bits per byte of text, with a bootstrap interval over windows."""
    with np.load(work / "corpus.npz", allow_pickle=False) as saved:
        val, size = saved["val"], int(saved["val_bytes"])
    losses = validate(model, val, plan)
    scale = len(val) / size / math.log(2)
    rng = np.random.default_rng(0)
    means = [rng.choice(losses, len(losses)).mean() * scale for _ in range(1000)]
    low, high = np.percentile(means, [2.5, 97.5])
    return {
        "metric": "bits_per_byte",
        "value": round(float(losses.mean() * scale), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "n": len(losses),
        "unit_of_n": f"windows of {min(2 * plan.sequence, len(val) - 1)} held-back tokens",
        "method": "validation",
    }


def code_assist(out: Path, limit: int | None = None) -> dict[str, Any] | None:
    """HumanEval pass@1 of the exported file, greedy, or None where the problems are not at hand."""
    from modelhub.sandbox.humaneval import load_problems, measure
    from modelhub.serving.runners.lm import CausalLM

    problems = load_problems()[:limit]
    if not problems:
        return None
    model = CausalLM(out)

    def complete(prompt: str) -> str:
        ids = model.text_prompt(prompt)
        return "".join(text for text, _ in model.stream(ids, max_tokens=200, temperature=0.0))

    result = measure(complete, problems)
    return {
        "metric": "humaneval_pass_at_1",
        "value": result.rate,
        "low": result.low,
        "high": result.high,
        "n": result.n,
        "passed": result.passed,
        "method": "validation",
        "verdict": "pass" if result.low >= USEFUL else "fail",
        "note": "demonstration model: connect your own",
    }


def publish(work: Path, out: Path, plan: Plan, problems: int | None = None) -> dict[str, Any]:
    """Export the checkpoint in `work` to `out`, measure it and describe it. Gives the manifest.

    `problems` limits HumanEval: 0 leaves it out, None takes all of it.
    """
    weights, cfg = checkpoint.load_weights(work / "state.safetensors")
    state = checkpoint.read_state(work / "state.safetensors")
    model = TinyDeepseek(cfg)
    model.load_state_dict(weights)
    out.mkdir(parents=True, exist_ok=True)
    partial = out / "model.partial.onnx"
    export_onnx(model, partial)
    difference = parity(model, partial)
    os.replace(partial, out / "model.onnx")
    shared = graph.save(model, out / "serving.onnx")
    shutil.copyfile(work / "tokenizer.json", out / "tokenizer.json")
    artifacts.write_json(out / "config.json", cfg.to_dict())
    facts = {
        "id": "lm-tiny",
        "kind": "causal-lm",
        "version": "1",
        "sparse": True,
        "precision": "fp16",
        "requires": {},
        "heads": {"code-assist": {"labels": [], "output": "logits"}},
        "max_tokens": cfg.max_position_embeddings,
        "title": "Demonstration language model: connect your own",
        "parameters": count_parameters(cfg) | {"flops_per_token": round(language_flops(cfg, LOOKS_AT))},
        "train": {
            "command": "python -m modelhub.ml.lm.train",
            "seed": state["seed"],
            "seconds": round(state["seconds"]),
            "steps": state["step"],
            "tokens": state["tokens"],
            "machine": "1 CPU core",
            "python": sys.version.split()[0],
        },
        "parity": {
            "max_logit_difference": float(f"{max(difference, shared):.2e}"),
            "against": "torch, float32",
        },
        "forms": {"model": ["serving", "model"]},
        "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    files = {
        "serving": "serving.onnx",
        "model": "model.onnx",
        "tokenizer": "tokenizer.json",
        "config": "config.json",
    }
    metrics: dict[str, Any] = {"language-model": bits_per_byte(model, work, plan)}
    artifacts.write_manifest(out, {**facts, "metrics": metrics}, files)
    if problems != 0 and (result := code_assist(out, problems)):
        metrics["code-assist"] = result
    (out / "card.md").write_text(card(facts, metrics), encoding="utf-8")
    return artifacts.write_manifest(out, {**facts, "metrics": metrics}, {**files, "card": "card.md"})


def card(facts: dict[str, Any], metrics: dict[str, Any]) -> str:
    """The model card, every figure from the manifest's own facts."""
    size, train, loss = facts["parameters"], facts["train"], metrics["language-model"]
    judged = metrics.get("code-assist")
    line = "HumanEval has not been run for this version."
    if judged:
        line = (
            f"HumanEval pass@1, greedy, in the sandbox: **{judged['value']:.1%}** "
            f"({judged['passed']} of {judged['n']}; 95 % interval {judged['low']:.1%} to {judged['high']:.1%}, Wilson)."
        )
    return f"""# lm-tiny, the demonstration language model

It shows the chat path, streaming and metering with a real model. It does not write useful code:
connect your own model for that.

- Shape: DeepSeek-V3 (latent attention, {size["total"]:,} parameters with the embedding, {size["active"]:,} touched
  per token; {size["active_share"]:.1%} of the non-embedding parameters), weights in float16, arithmetic in float32.
- {size["flops_per_token"] / 1e6:.1f} MFLOP a token that looks at {LOOKS_AT}, the vocabulary's head included.
- Reads {facts["max_tokens"]} tokens at most; trained on sequences of up to 512.
- Trained from scratch on {train["tokens"]:,} tokens in {train["seconds"] / 60:.0f} minutes on {train["machine"]}
  (seed {train["seed"]}, `{train["command"]}`): the source of Python {train["python"]}'s standard library without its
  tests (PSF licence), and the training rows of Banking77, CLINC150, CUAD, UNFAIR-ToS, MTS-Dialog and Sentiment
  Labelled Sentences (CC BY; notices in `data/`). Python's version changes the corpus a little.
- Validation: {loss["value"]:.3f} bits per byte ({loss["low"]:.3f} to {loss["high"]:.3f}, {loss["n"]} {loss["unit_of_n"]}).
- {line}
- ONNX against torch: largest difference in the logits {facts["parity"]["max_logit_difference"]:.1e}.

Limits: it repeats phrases of its small corpus, knows no facts, and has no safety training. What it says is a
demonstration, not advice.
"""


def main(argv: list[str] | None = None) -> int:
    """Command line: export a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--no-humaneval", action="store_true")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    manifest = publish(args.work, args.out, Plan(), problems=0 if args.no_humaneval else None)
    print(manifest["metrics"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
