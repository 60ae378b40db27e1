"""How prompts are read: the edge student's tokenizer, and for sketches its body's 96 numbers; one thread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modelhub import artifacts

MODEL = "txt-edge"
MOST_EMBEDDED = 64  # tokens: a prompt's opening
BATCH = 32
WIDTH = 96


class OtherEdge(ValueError):
    """The edge student isn't one that can be read with: other tokens than the router was fitted with, or an embedding of another
    width."""


class Reader:
    """Tokenizer and body of the edge student. The router needs the tokenizer alone, so another student with the same one changes
    nothing for it. Raises ArtifactMissing, ArtifactCorrupt, OtherEdge."""

    def __init__(self, directory: Path | None = None, *, tokenizer: str = "") -> None:
        import onnxruntime  # only where a policy asks for chances

        from modelhub.ml import tokens

        self._pad = tokens.pad
        directory = directory or artifacts.find(MODEL)
        manifest = artifacts.verify(directory)
        self.body = str(manifest["files"]["body"]["sha256"])
        self.tokens = str(manifest["files"]["tokenizer"]["sha256"])
        if tokenizer and tokenizer != self.tokens:
            raise OtherEdge(
                f"the router was fitted with the tokenizer {tokenizer[:12]}…, {MODEL} has {self.tokens[:12]}…: fit it anew "
                "(python -m routing.learned.train)"
            )
        self.tokenizer = tokens.load_tokenizer(artifacts.file_of(directory, manifest, "tokenizer"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = artifacts.file_of(directory, manifest, "body")
        self._session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        self._width = next(o.shape[1] for o in self._session.get_outputs() if o.name == "features")

    def ids(self, texts: Sequence[str], most_characters: int) -> list[np.ndarray]:
        """Token ids with the opening and closing marks."""
        found = self.tokenizer.ids([text[:most_characters] for text in texts])
        return [np.asarray(ids, np.int64) for ids in found]

    def embed(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        """(N, 96) float32 of N rows of ids. Raises OtherEdge where the student gives another number of them."""
        if self._width != WIDTH:
            raise OtherEdge(f"{MODEL} gives {self._width} numbers a text, sketches hold {WIDTH}")
        found = np.zeros((len(rows), WIDTH), np.float32)
        cut = [
            row if len(row) <= MOST_EMBEDDED else np.append(row[: MOST_EMBEDDED - 1], row[-1]) for row in rows
        ]
        order = sorted(range(len(cut)), key=lambda i: len(cut[i]))
        for start in range(0, len(order), BATCH):
            group = order[start : start + BATCH]
            ids, mask = self._pad([cut[i] for i in group])
            found[group] = self._session.run(["features"], {"input_ids": ids, "attention_mask": mask})[0]
        return found
