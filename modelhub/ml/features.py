"""What the frozen trunk says of each text, computed once and kept on disk: training never runs the trunk."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from modelhub.ml import tokens, trunk

WIDE_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Features:
    """Per text: the trunk's pooled states (N, 384) float32 and its token ids (up to 512)."""

    pooled: np.ndarray
    ids: list[np.ndarray]

    def take(self, indices: np.ndarray) -> Features:
        """The rows at these positions."""
        return Features(self.pooled[indices], [self.ids[i] for i in indices])


def cache_folder() -> Path:
    """Where features are kept: `SWITCHYARD_FEATURES`, or a folder among the temporary files."""
    configured = os.environ.get("SWITCHYARD_FEATURES")
    folder = Path(configured) if configured else Path(tempfile.gettempdir()) / "switchyard-features"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def open_session(path: Path, threads: int = 1) -> ort.InferenceSession:
    """An ONNX Runtime session on the CPU that keeps to `threads` threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def compute(
    texts: list[str], trunk_dir: Path, *, threads: int = 1, progress: Callable[[int, int], None] | None = None
) -> Features:
    """Tokenize and run the trunk over all texts, sorted by length, in batches of at most 2,048 tokens."""
    tokenizer = tokens.load_tokenizer(trunk_dir / "tokenizer.json")
    session = open_session(trunk_dir / "model.onnx", threads)
    ids = tokens.encode(tokenizer, texts, WIDE_TOKENS)
    short = [cut(row) for row in ids]
    pooled = np.zeros((len(texts), trunk.WIDTH), np.float32)
    done = 0
    for group in tokens.batches_by_length([len(row) for row in short], 2048, 64):
        batch, mask = tokens.pad([short[i] for i in group])
        pooled[group] = session.run(["pooled"], {"input_ids": batch, "attention_mask": mask})[0]
        done += len(group)
        if progress is not None:
            progress(done, len(texts))
    return Features(pooled, ids)


def cut(row: np.ndarray) -> np.ndarray:
    """The part of a token row that the trunk reads: its first 256 tokens."""
    return row[: trunk.MAX_TOKENS]


def cached(
    texts: list[str], trunk_dir: Path, *, threads: int = 1, progress: Callable[[int, int], None] | None = None
) -> Features:
    """Like `compute`, from the disk when these very texts went through this very trunk before."""
    key = hashlib.sha256(f"1:{trunk.WEIGHTS_SHA256}:{trunk.MAX_TOKENS}:{WIDE_TOKENS}".encode())
    for text in texts:
        key.update(text.encode())
        key.update(b"\0")
    path = cache_folder() / f"{key.hexdigest()[:32]}.npz"
    if path.is_file():
        with np.load(path) as stored:
            flat = stored["ids"]
            rows = np.split(flat.astype(np.int64), np.cumsum(stored["lengths"])[:-1])
            return Features(stored["pooled"], rows if len(stored["lengths"]) else [])
    made = compute(texts, trunk_dir, threads=threads, progress=progress)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    flat = np.concatenate(made.ids) if made.ids else np.zeros(0, np.int64)
    lengths = np.array([len(row) for row in made.ids], np.int64)
    np.savez(temporary, pooled=made.pooled, ids=flat.astype(np.int32), lengths=lengths)
    os.replace(temporary, path)
    return made
