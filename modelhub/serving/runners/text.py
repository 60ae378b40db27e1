"""Text classifiers as they are served: token ids, ONNX graphs and numpy; no torch, no Django.

An artifact holds one `body` graph, which makes a text's features, and one small graph per head. The sparse
model's body reads the pretrained trunk's pooled states; the edge student's body reads token ids itself. Heads
that users fine-tune lie in the home beside the model and are loaded when first asked for.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from modelhub import artifacts
from modelhub.ml import tokens

BATCH_TOKENS, BATCH_ROWS = 4096, 64


class HeadMissing(KeyError):
    """The model has no head of that name, shipped or fine-tuned."""


@dataclass(frozen=True, slots=True)
class TextResult:
    """Answers for N texts; scores (N, L) float32 are calibrated probabilities in `label_names` order."""

    labels: list[str]
    scores: np.ndarray
    tokens: list[int]
    label_names: list[str]


@dataclass(frozen=True, slots=True)
class _Head:
    session: ort.InferenceSession
    labels: list[str]
    temperature: float


class TextClassifier:
    """A text model loaded from its artifact folder, checked against its manifest. Safe to share by threads.

    `trunk_dir` is the folder that `ensure_trunk` made; when it is needed and not given, it is made in the
    home. Raises ArtifactCorrupt for a file that is not the one its manifest names.
    """

    def __init__(
        self,
        directory: Path,
        *,
        trunk_dir: Path | None = None,
        threads: int = 1,
        providers: list[str] | None = None,
    ) -> None:
        self.directory = Path(directory)
        self.manifest = artifacts.verify(self.directory)
        self._threads, self._wanted = threads, providers or ["CPUExecutionProvider"]
        self._trunk: ort.InferenceSession | None = None
        if "trunk" in self.manifest["requires"]:
            trunk_dir = trunk_dir or _made_trunk()
            self._trunk = self._open(trunk_dir / "model.onnx")
            self._tokenizer = tokens.load_tokenizer(trunk_dir / "tokenizer.json")
        else:
            tokenizer = artifacts.file_of(self.directory, self.manifest, "tokenizer")
            self._tokenizer = tokens.load_tokenizer(tokenizer)
        self._body = self._open(artifacts.file_of(self.directory, self.manifest, "body"))
        self._heads: dict[str, _Head] = {}
        self._lock = threading.Lock()
        for name in self.manifest["heads"]:
            self._heads[name] = self._load_shipped(name)

    @property
    def heads(self) -> dict[str, dict[str, Any]]:
        """What the manifest says of each shipped head."""
        return dict(self.manifest["heads"])

    @property
    def providers(self) -> list[str]:
        """Where the sessions really run, best first, as ONNX Runtime reports it."""
        return (self._trunk or self._body).get_providers()

    def classify(self, head: str, texts: list[str]) -> TextResult:
        """Label texts with a head; `support-intent@ft-ab12` names a fine-tuned one. Raises HeadMissing."""
        chosen = self._head(head)
        ids = self._encode(texts)
        scores = np.zeros((len(texts), len(chosen.labels)), np.float32)
        for group in self._groups(ids):
            rows = [ids[i] for i in group]
            feed = dict(zip(("input_ids", "attention_mask"), tokens.pad(rows), strict=True))
            feed["features"] = self._features(rows)
            logits = chosen.session.run(["logits"], feed)[0]
            scores[group] = softmax(logits / np.float32(chosen.temperature))
        labels = [chosen.labels[best] for best in scores.argmax(axis=1)]
        return TextResult(labels, scores, [len(row) for row in ids], list(chosen.labels))

    def embed(self, texts: list[str]) -> np.ndarray:
        """Sentence embeddings of the trunk, each of length one. Gives (N, 384) float32.

        Raises NotImplementedError for a model without a trunk.
        """
        if self._trunk is None:
            raise NotImplementedError(f"{self.manifest['id']} has no trunk to embed with")
        ids = self._encode(texts)
        pooled = np.zeros((len(texts), self._trunk.get_outputs()[1].shape[-1]), np.float32)
        for group in self._groups(ids):
            pooled[group] = self._pool([ids[i] for i in group])
        return pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)

    def count_tokens(self, texts: list[str]) -> list[int]:
        """How many tokens of each text the model reads."""
        return [len(row) for row in self._encode(texts)]

    def _encode(self, texts: list[str]) -> list[np.ndarray]:
        return tokens.encode(self._tokenizer, texts, self.manifest["wide_tokens"])

    def _groups(self, ids: list[np.ndarray]) -> list[list[int]]:
        return tokens.batches_by_length([len(row) for row in ids], BATCH_TOKENS, BATCH_ROWS)

    def _features(self, rows: list[np.ndarray]) -> np.ndarray:
        if self._trunk is not None:
            return self._body.run(["features"], {"pooled": self._pool(rows)})[0]
        ids, mask = self._short(rows)
        return self._body.run(["features"], {"input_ids": ids, "attention_mask": mask})[0]

    def _pool(self, rows: list[np.ndarray]) -> np.ndarray:
        assert self._trunk is not None
        ids, mask = self._short(rows)
        return self._trunk.run(["pooled"], {"input_ids": ids, "attention_mask": mask})[0]

    def _short(self, rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return tokens.pad([row[: self.manifest["max_tokens"]] for row in rows])

    def _head(self, name: str) -> _Head:
        found = self._heads.get(name)
        if found is not None:
            return found
        with self._lock:
            if name not in self._heads:
                self._heads[name] = self._load_tuned(name)
            return self._heads[name]

    def _load_shipped(self, name: str) -> _Head:
        entry = self.manifest["heads"][name]
        path = artifacts.file_of(self.directory, self.manifest, f"head:{name}")
        return _Head(self._open(path), entry["labels"], float(entry.get("temperature", 1.0)))

    def _load_tuned(self, name: str) -> _Head:
        if "@" not in name:
            raise HeadMissing(f"{self.manifest['id']} has no head {name!r}; it has: {', '.join(self._heads)}")
        try:
            folder = artifacts.find_head(self.manifest["id"], name)
        except artifacts.ArtifactMissing as error:
            raise HeadMissing(str(error)) from error
        manifest = artifacts.verify(folder)
        if manifest["body_sha256"] != self.manifest["files"]["body"]["sha256"]:
            raise artifacts.ArtifactCorrupt(f"head {name!r} was fitted on another body than this model's")
        path = artifacts.file_of(folder, manifest, "head")
        return _Head(self._open(path), manifest["labels"], float(manifest.get("temperature", 1.0)))

    def _open(self, path: Path) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return ort.InferenceSession(str(path), options, providers=self._wanted)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def _made_trunk() -> Path:
    from modelhub.ml.trunk import ensure_trunk

    return ensure_trunk(artifacts.home())
