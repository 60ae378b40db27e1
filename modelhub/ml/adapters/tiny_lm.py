"""LoRA on the demonstration language model, without peft: terms on attention's weights, served folded into a copy of its graph.

The torch form is read back from the file that ships (`lm.export.load_reference`). Terms sit on the weights themselves (W + B·A),
for latent attention multiplies some of them in parts. Training is that of `causal.train`, with this `with_lora` in place of
peft's: resumable, one checkpoint a step, the base's hash before and after. A fine-tune leaves a folder that a server opens as a
model of its own: the graph (9 MB) with the terms folded in, and the terms alone beside it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from modelhub import artifacts
from modelhub.ml.adapters.causal import IGNORED, CausalOptions, learnable
from modelhub.ml.lm import graph
from modelhub.ml.lm.config import LmConfig
from modelhub.ml.lm.export import load_reference, round_to_half
from modelhub.ml.lm.model import TinyDeepseek

ATTENTION = ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj")
SCALE, RATE, KIND = 2.0, 3e-3, "causal-lm"
ADAPTER, GRAPH = "adapter_model.safetensors", "serving.onnx"


class LowRank(nn.Module):
    """W -> W + s·B·A. Shapes: down (r, in), up (out, r), zero at first."""

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.down = nn.Parameter(
            torch.randn(rank, weight.size(1), generator=generator) * weight.size(1) ** -0.5
        )
        self.up = nn.Parameter(torch.zeros(weight.size(0), rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + SCALE * (self.up @ self.down)


@dataclass(slots=True)
class Said:
    """What `causal.train` reads of an answer."""

    loss: Tensor


class TunedLm(nn.Module):
    """The base, frozen, with its terms; called as transformers' models are."""

    def __init__(self, base: TinyDeepseek, options: CausalOptions) -> None:
        super().__init__()
        self.base, self.options = base, options
        for parameter in base.parameters():
            parameter.requires_grad_(False)
        generator = torch.Generator().manual_seed(options.seed)
        for layer in base.model.layers:
            for name in ATTENTION:
                linear = getattr(layer.self_attn, name)
                parametrize.register_parametrization(
                    linear, "weight", LowRank(linear.weight, options.rank, generator)
                )

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> Said:
        """Mean loss of the labelled tokens, each foretold from those before. Shapes: (B, T); filling stands at the end, where
        nothing before it looks."""
        logits = self.base(input_ids).logits[:, :-1]
        return Said(F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED))

    def folded(self) -> TinyDeepseek:
        """The base anew with the terms in its weights, rounded as files hold them."""
        whole, mark = TinyDeepseek(self.base.cfg), ".parametrizations.weight."
        held = {name: value for name, value in self.base.state_dict().items() if mark not in name}
        for name, module in self.base.named_modules():
            if parametrize.is_parametrized(module):
                held[f"{name}.weight"] = module.weight.detach()
        whole.load_state_dict(held)
        round_to_half(whole)
        return whole.cpu().eval()

    def save_pretrained(self, folder: str, safe_serialization: bool = True) -> None:
        """The terms, and the graph that serves them."""
        out = Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        own = {
            name: value.detach().contiguous()
            for name, value in self.named_parameters()
            if value.requires_grad
        }
        save_file(own, str(out / ADAPTER), metadata={"options": json.dumps(asdict(self.options))})
        graph.save(self.folded(), out / GRAPH)


def is_tiny(base: Path) -> bool:
    """Whether this folder is a model of ours that takes such terms."""
    try:
        return bool(artifacts.load_manifest(base)["kind"] == KIND)
    except artifacts.ArtifactCorrupt:
        return False


def builder(base: Path) -> Callable[[], TinyDeepseek]:
    """What makes the base's torch form again and again. Raises ArtifactCorrupt for files that aren't the manifest's."""
    manifest = artifacts.verify(base)
    config = json.loads(artifacts.file_of(base, manifest, "config").read_text("utf-8"))

    def build() -> TinyDeepseek:
        model = TinyDeepseek(LmConfig.from_dict(config))
        load_reference(artifacts.file_of(base, manifest, "model"), model)
        return model.eval()

    return build


def with_lora(build: Callable[[], TinyDeepseek], options: CausalOptions) -> TunedLm:
    """As `causal.with_lora`."""
    return TunedLm(build(), options)


def rows_of(chats: Sequence[Sequence[dict[str, str]]], base: Path, most: int) -> list[Any]:
    """(ids, labels) of each conversation as the served model reads it; only what the assistant said is learned.

    Cut and refused as `learnable` does; an unknown role is a ValueError too.
    """
    from tokenizers import Tokenizer

    from modelhub.serving.runners.lm import ROLE_MARKS

    tokenizer = Tokenizer.from_file(str(artifacts.file_of(base, artifacts.load_manifest(base), "tokenizer")))
    tokenizer.encode_special_tokens = True  # marks typed by a user stay text
    mark = {name: tokenizer.token_to_id(name) for name in ("<|bos|>", "<|end|>", *ROLE_MARKS.values())}
    spelt = []
    for chat in chats:
        ids, labels = [mark["<|bos|>"]], [IGNORED]
        for turn in chat:
            if turn["role"] not in ROLE_MARKS:
                raise ValueError(f"role {turn['role']!r} is unknown: expected one of {sorted(ROLE_MARKS)}")
            said = [*tokenizer.encode(turn["content"] or "", add_special_tokens=False).ids, mark["<|end|>"]]
            ids += [mark[ROLE_MARKS[turn["role"]]], *said]
            labels += [IGNORED, *(said if turn["role"] == "assistant" else [IGNORED] * len(said))]
        spelt.append((ids, labels))
    return learnable(spelt, most)


def finish(place: Path, base: Path, told: dict[str, Any]) -> dict[str, Any]:
    """Make what training wrote to `place` a model that a server opens: tokenizer, configuration, manifest. Gives the manifest."""
    manifest = artifacts.load_manifest(base)
    for role in ("tokenizer", "config"):
        source = artifacts.file_of(base, manifest, role)
        shutil.copyfile(source, place / source.name)
    kept = ("version", "sparse", "precision", "max_tokens")
    body = {name: manifest[name] for name in kept if name in manifest} | {
        "kind": KIND, "requires": {}, "heads": {told["head"]: {"labels": [], "output": "logits"}},
        "base_sha256": artifacts.digest(base / artifacts.MANIFEST),
    }  # fmt: skip
    files = {"model": GRAPH, "adapter": ADAPTER, "tokenizer": "tokenizer.json", "config": "config.json"}
    return artifacts.write_manifest(place, body | told, files)
