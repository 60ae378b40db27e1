"""A frozen vector a token: the trunk's pooled state of the token alone, on the directions along which tokens differ most."""

from __future__ import annotations

from pathlib import Path

import numpy as np

OPEN, CLOSE, BATCH = 101, 102, 512


def token_vectors(trunk: Path, width: int) -> np.ndarray:
    """(vocabulary, width) float32, centred. `trunk`: the folder that `ensure_trunk` made.

    One pass over the vocabulary, a minute or two of one core; an average of such vectors is what is left of a sentence embedding
    when nothing may be computed per prompt (Minish Lab's model2vec does the same).
    """
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(trunk / "model.onnx"), options)
    size = Tokenizer.from_file(str(trunk / "tokenizer.json")).get_vocab_size()
    pooled = []
    for start in range(0, size, BATCH):
        ids = np.arange(start, min(size, start + BATCH), dtype=np.int64)
        rows = np.stack([np.full_like(ids, OPEN), ids, np.full_like(ids, CLOSE)], axis=1)
        pooled.append(session.run(["pooled"], {"input_ids": rows, "attention_mask": np.ones_like(rows)})[0])
    return narrowed(np.concatenate(pooled), width)


def narrowed(pooled: np.ndarray, width: int) -> np.ndarray:
    """Shapes: (V, 384) -> (V, width), by principal components."""
    centred = (pooled - pooled.mean(axis=0)).astype(np.float64)
    _, directions = np.linalg.eigh(centred.T @ centred)
    return (centred @ directions[:, ::-1][:, :width]).astype(np.float32)
