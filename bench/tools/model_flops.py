"""FLOPs per token: the formula that stands on a model's card beside torch's own counter, and the share of the dense network.

`python -m bench.tools.model_flops` prints the rows. Nothing here is timed: these figures are the same on a busy machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.common import Results
from modelhub import artifacts
from modelhub.ml.kb.facts import ATTRIBUTES, generate
from modelhub.ml.kb.model import KnowledgeConfig, KnowledgeNet
from modelhub.ml.kb.model import tensors as fact_tensors
from modelhub.ml.lm.config import LmConfig
from modelhub.ml.lm.model import TinyDeepseek
from modelhub.ml.moe import flops
from modelhub.ml.moe.gate import Routing
from modelhub.ml.moe.model import GatingConfig, build, mean_experts_used
from modelhub.ml.text.encoder import flops_per_token
from modelhub.ml.text.torch_form import open_encoder

MOST_SHARE, MOST_GAP = 30.0, 5.0
TOKENS, TEXTS = 32, 16
SEEDS = 3


def rows(results: Results) -> None:
    """The network of the benchmark's shape, then the sparse models that ship."""
    with torch.no_grad():
        classifier_rows(results)
        text_rows(results)
        knowledge_rows(results)
        language_rows(results)


def counted(run: Callable[..., Any], *given: Any) -> tuple[float, Any]:
    """FLOPs by torch's counter and what the call gave; attention as plain products, for fused ones aren't counted on a CPU."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        found = run(*given)
    return float(counter.get_total_flops()), found


def chosen_of(routings: list[Routing]) -> float:
    return float(torch.stack([routing.chosen.float().mean() for routing in routings]).mean())


def add(
    results: Results, name: str, shares: list[float], gaps: list[float], how: str, gate: bool = True
) -> None:
    """One model's two rows; a share without a gate is a control."""
    results.add(
        f"flops_share{name}", shares, "%", f"{how}: counted FLOPs per token of the dense network's",
        at_most=MOST_SHARE if gate else None, control=not gate,
    )  # fmt: skip
    told = f"{how}: the card's formula against torch's counter"
    results.add(f"flops_formula_gap{name}", gaps, "%", told, at_most=MOST_GAP)


def classifier_rows(results: Results) -> None:
    """The default classifier, its gate untrained."""
    torch.manual_seed(0)
    config, head = GatingConfig(), 77
    model = build(config, {"labels": head}).eval()
    dense = flops.dense_total_flops(config, head)
    shares, gaps = [], []
    for seed in range(SEEDS):
        pooled = torch.randn(512, config.width, generator=torch.Generator().manual_seed(seed))
        each = counted(model, pooled, "labels")[0] / len(pooled)
        formula = flops.network_flops(config, head, mean_experts_used(model, pooled)).total
        gaps.append(100 * abs(formula - each) / each)
        shares.append(100 * each / dense)
    how = f"d={config.width}, {config.layers} layers, E={config.experts}, f={config.hidden}, one shared, untrained gate"
    add(results, "", shares, gaps, how)
    most = flops.network_flops(config, head, float(config.k_max)).total / dense
    told = f"{how}: every token at k={config.k_max}"
    results.add("flops_share_at_most", [100 * most], "%", told, control=True)


def text_rows(results: Results) -> None:
    """txt-base's encoder as it ships, on texts of 32 tokens drawn by chance, heads left out."""
    directory = artifacts.find("txt-base")
    model = open_encoder(artifacts.file_of(directory, artifacts.verify(directory), "body"))
    segment = torch.arange(TEXTS)[:, None].expand(TEXTS, TOKENS).contiguous()
    dense = flops_per_token(model.config.dense(model.config.total_hidden), 0, TOKENS)
    shares, gaps = [], []
    for seed in range(SEEDS):
        x = torch.randn(TEXTS, TOKENS, 384, generator=torch.Generator().manual_seed(seed))
        total, (_, routings) = counted(model, x, segment, TEXTS)
        each = total / (TEXTS * TOKENS)
        formula = flops_per_token(model.config, chosen_of(routings), TOKENS)
        gaps.append(100 * abs(formula - each) / each)
        shares.append(100 * each / dense)
    how = f"txt-base as shipped, {TEXTS} texts of {TOKENS} tokens drawn by chance, attention counted, heads left out"
    add(results, "_txt_base", shares, gaps, how)


def knowledge_rows(results: Results) -> None:
    """code-kb as it ships, on its own facts."""
    directory, shape = artifacts.find("code-kb"), KnowledgeConfig()
    model = KnowledgeNet(shape).eval()
    weights = load_file(str(artifacts.file_of(directory, artifacts.verify(directory), "weights")))
    model.load_state_dict({name: value.float() for name, value in weights.items()})
    answers = sum(ATTRIBUTES.values())
    dense = (
        flops.knowledge_flops(shape, answers, shape.experts) - shape.layers * 2 * shape.width * shape.experts
    )
    shares, gaps = [], []
    for seed in range(SEEDS):
        equipment, code, _ = fact_tensors(generate(codes=20, seed=seed + 1), "cpu")
        total, (_, routings) = counted(model, equipment, code)
        each = total / len(code)
        formula = flops.knowledge_flops(shape, answers, chosen_of(routings))
        gaps.append(100 * abs(formula - each) / each)
        shares.append(100 * each / dense)
    add(results, "_code_kb", shares, gaps, "code-kb as shipped, embeddings looked up, all answers of a fact")


def language_rows(results: Results) -> None:
    """lm-tiny's shape; a demonstration model, so its share is told and not judged."""
    directory = artifacts.find("lm-tiny")
    config = artifacts.file_of(directory, artifacts.verify(directory), "config")
    cfg = LmConfig.from_dict(json.loads(config.read_text("utf-8")))
    model = TinyDeepseek(cfg).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    ids: Tensor = torch.randint(3, cfg.vocab_size, (1, 128), generator=torch.Generator().manual_seed(1))
    each = counted(model, ids)[0] / ids.numel()
    formula = flops.language_flops(cfg, ids.size(1))
    gates = (cfg.num_hidden_layers - cfg.first_k_dense_replace) * 2 * cfg.hidden_size * cfg.n_routed_experts
    dense = flops.language_flops(cfg, ids.size(1), float(cfg.n_routed_experts)) - gates
    how = "lm-tiny's shape, 128 tokens, the vocabulary's head included"
    add(results, "_lm_tiny", [100 * each / dense], [100 * abs(formula - each) / each], how, gate=False)


def main() -> None:
    """Print the rows."""
    torch.set_num_threads(1)
    rows(Results("model_flops"))


if __name__ == "__main__":
    main()
