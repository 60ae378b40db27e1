"""What the edge student makes of a prompt: 96 numbers from the body of `txt-edge`, its tokenizer, one thread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modelhub import artifacts

MODEL = "txt-edge"
MOST_EMBEDDED = 64  # tokens: a prompt's opening; the rest is left to terms and token means
BATCH = 32
WIDTH = 96


class OtherEdge(ValueError):
    """The edge student isn't the one that the router was fitted with."""


class Reader:
    """Tokenizer and body of the edge student. Raises ArtifactMissing, ArtifactCorrupt, OtherEdge."""

    def __init__(self, directory: Path | None = None, *, body: str = "") -> None:
        import onnxruntime  # only where a policy asks for chances

        from modelhub.ml import tokens

        self._pad = tokens.pad
        directory = directory or artifacts.find(MODEL)
        manifest = artifacts.verify(directory)
        self.body = str(manifest["files"]["body"]["sha256"])
        if body and body != self.body:
            raise OtherEdge(
                f"the router was fitted with {MODEL} {body[:12]}…, here is {self.body[:12]}…: fit it anew "
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
        found = next(output.shape[1] for output in self._session.get_outputs() if output.name == "features")
        if found != WIDTH:
            raise OtherEdge(
                f"{MODEL} gives {found} numbers a text, {WIDTH} are expected: fit the router anew"
            )

    def ids(self, texts: Sequence[str], most_characters: int) -> list[np.ndarray]:
        """Token ids with the opening and closing marks."""
        found = self.tokenizer.ids([text[:most_characters] for text in texts])
        return [np.asarray(ids, np.int64) for ids in found]

    def embed(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        """(N, 96) float32 of N rows of ids."""
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
