"""A small encoder, as torch module and as the graphs that would serve it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from modelhub.ml.adapters.inject import Adapter, AdapterShape
from modelhub.ml.moe.encoder_graph import write_encoder
from modelhub.ml.text.adapted_graph import input_names
from modelhub.ml.text.encoder import EMBEDDING_WIDTH, EncoderConfig, SparseEncoder

CONFIG = EncoderConfig(layers=2, attention_heads=4, experts=6, hidden=32, shared=32, dropout=0.0)
WIDTH = EMBEDDING_WIDTH


def encoder(seed: int = 0) -> SparseEncoder:
    torch.manual_seed(seed)
    model = SparseEncoder(CONFIG, {})
    with torch.no_grad():
        for block in model.blocks:
            block.experts.gate.selection_bias.normal_(0, 0.01)
    return model.eval()


def write(model: SparseEncoder, path: Path, form: str = "qmoe") -> Path:
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    write_encoder(
        state, path, layers=CONFIG.layers, attention_heads=CONFIG.attention_heads, form=form, half=False
    )
    return path


def batch(texts: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embedded tokens (B, T, D) and mask (B, T) of texts of unequal length."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((texts, 9), np.int64)
    for row, length in enumerate(rng.integers(2, 10, texts)):
        mask[row, :length] = 1
    return rng.standard_normal((texts, 9, WIDTH)).astype(np.float32), mask


def segments(mask: np.ndarray) -> torch.Tensor:
    return torch.where(torch.from_numpy(mask) > 0, torch.arange(len(mask))[:, None], torch.tensor(-1))


def learned(method: str, blocks: int, seed: int) -> Adapter:
    """An adapter that changes something."""
    adapter = Adapter(AdapterShape(method, blocks, rank=4, hidden=8), WIDTH, seed)
    with torch.no_grad():
        for name, value in adapter.named_parameters():
            if name in ("qkv_up", "out_up", "w2"):
                value.normal_(0, 0.05, generator=torch.Generator().manual_seed(seed))
    return adapter


def stacks(adapters: list[Adapter], blocks: int) -> dict[str, np.ndarray]:
    """Inputs of the adapted graph: place 0 empty, then each adapter."""
    shapes = {"qkv_down": (WIDTH, 4), "qkv_up": (4, 3 * WIDTH), "out_down": (WIDTH, 4), "out_up": (4, WIDTH),
              "w1": (WIDTH, 8), "w2": (8, WIDTH)}  # fmt: skip
    first, feed = CONFIG.layers - blocks, {}
    for name in input_names(["expert", "lora"], range(first, CONFIG.layers)):
        part, _, layer = name.partition(".")
        feed[name] = np.zeros((len(adapters) + 1, *shapes[part]), np.float32)
        for place, adapter in enumerate(adapters, start=1):
            if part in (arrays := adapter.arrays()):
                feed[name][place] = arrays[part][int(layer) - first]
    return feed


@torch.no_grad()
def below(trunk: SparseEncoder, x: torch.Tensor, segment: torch.Tensor, first: int) -> torch.Tensor:
    """The states that enter block `first`, by torch: the reference. Shapes: (S, T, D) -> (S, T, D)."""
    keep = segment[:, None, :, None] == segment[:, None, None, :]
    x = trunk.enter(x)
    for block in trunk.blocks[:first]:
        x, _ = block(x, keep)
    return x
