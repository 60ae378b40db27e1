"""A text artifact's frozen part, for work that starts from it: features of texts, weights of its heads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.ml import features, tokens, trunk
from modelhub.ml.moe.body import COUNTS
from modelhub.ml.text.graphs import HeadWeights, read_head


class FrozenBody:
    """Features that an artifact's heads read, from its own graphs. Raises ArtifactCorrupt on a wrong digest."""

    def __init__(self, directory: Path, trunk_dir: Path | None = None) -> None:
        self.directory = Path(directory)
        self.manifest = artifacts.verify(self.directory)
        self._body = features.open_session(artifacts.file_of(self.directory, self.manifest, "body"))
        self._trunk_dir: Path | None = None
        if "trunk" in self.manifest["requires"]:
            self._trunk_dir = trunk_dir or trunk.ensure_trunk(artifacts.home())
        self._embed = None
        if self.manifest.get("body_reads") == "embedded" and self._trunk_dir is not None:
            self._embed = features.open_session(self._trunk_dir / "embed.onnx")

    def features(
        self, texts: list[str], progress: Callable[[int, int], None] | None = None
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Gives (N, D) float32 and the token ids of every text. The trunk's part is kept on disk."""
        if self._embed is None and self._trunk_dir is not None:
            rows = features.cached(texts, self._trunk_dir, progress=progress)
            return self._body.run(["features"], {"pooled": rows.pooled})[0], rows.ids
        ids = self.token_ids(texts)
        return self.features_of(ids, progress=progress), ids

    def token_ids(self, texts: list[str]) -> list[np.ndarray]:
        """Token ids of every text, as many as the wide channel reads."""
        tokenizer = tokens.load_tokenizer(
            self._trunk_dir / "tokenizer.json"
            if self._trunk_dir is not None
            else artifacts.file_of(self.directory, self.manifest, "tokenizer")
        )
        return tokens.encode(tokenizer, texts, self.manifest["wide_tokens"])

    @property
    def counts_experts(self) -> bool:
        """Whether the body reads tokens and tells which experts they woke."""
        reads_tokens = self._embed is not None or self._trunk_dir is None
        return reads_tokens and any(output.name == COUNTS for output in self._body.get_outputs())

    def expert_counts(self, ids: list[np.ndarray]) -> np.ndarray:
        """Tokens that each expert saw of these texts together. Gives (layers, E) int64."""
        return self._body.run([COUNTS], self._feed(ids))[0]

    def features_of(
        self, ids: list[np.ndarray], *, budget: int = 4096, most: int = 64, progress: Callable[[int, int], None] | None = None
    ) -> np.ndarray:  # fmt: skip
        """Features of tokenized texts, for a body that reads tokens and not the trunk's pooled states. Gives (N, D).

        `budget` and `most`: padded tokens and texts of one batch. `progress` is told after each how many texts are done.
        """
        found, done = np.zeros((len(ids), self._body.get_outputs()[0].shape[1]), np.float32), 0
        for group in tokens.batches_by_length([len(row) for row in ids], budget, most):
            found[group] = self._body.run(["features"], self._feed([ids[i] for i in group]))[0]
            done += len(group)
            if progress is not None:
                progress(done, len(ids))
        return found

    def _feed(self, ids: list[np.ndarray]) -> dict[str, np.ndarray]:
        batch, mask = tokens.pad([features.cut(row) for row in ids])
        if self._embed is None:
            return {"input_ids": batch, "attention_mask": mask}
        embedded = self._embed.run(["embedded"], {"input_ids": batch})[0]
        return {"embedded": embedded, "attention_mask": mask}

    def head(self, name: str) -> HeadWeights:
        """Weights of a shipped head. Raises KeyError."""
        if name not in self.manifest["heads"]:
            raise KeyError(f"{self.manifest['id']} has no head {name!r}")
        return shipped_head(self.directory, self.manifest, name)


def shipped_head(directory: Path, manifest: dict[str, Any], name: str) -> HeadWeights:
    """Weights of a head from a file of its own, or out of the one file of a gated student. Raises KeyError."""
    if f"head:{name}" in manifest["files"]:
        return read_head(artifacts.file_of(directory, manifest, f"head:{name}"))
    from modelhub.ml.text.edge_graph import read_gated_head

    found = read_gated_head(artifacts.file_of(directory, manifest, "body"), name)
    return HeadWeights(found.weight, found.bias, found.table, 1.0)
