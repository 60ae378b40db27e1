"""Text classifiers as they are served: token ids, ONNX graphs and numpy; no torch, no Django.

An artifact holds one `body` graph, which makes a text's features, and one small graph per head. The sparse
model's body reads the pretrained trunk's pooled states; the edge student's body reads token ids itself. Heads
that users fine-tune lie in the home beside the model and are loaded when first asked for; where one brought an adapter
inside the body, its rows run with that. A batch may mix heads and adapters: trunk and body run once over all rows, then
each head over its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.ml import tokens
from modelhub.serving.errors import ModelRefused
from modelhub.serving.forms import open_role
from modelhub.serving.runners.adapters import Adapters
from modelhub.serving.runners.heads import Head, HeadMissing, Heads, Operator
from modelhub.serving.runtime import CPU, GraphSession, How, finite

__all__ = ["HeadMissing", "TextClassifier", "TextResult", "softmax"]

BATCH_TOKENS, BATCH_ROWS = 4096, 64
WASTED_TOKENS = 512  # padding a batch may hold before a second run costs less than the padding

Counted = Callable[[str, str, str, np.ndarray, int], None]


@dataclass(frozen=True, slots=True)
class TextResult:
    """Answers for N texts; scores (N, L) float32 are calibrated probabilities in `label_names` order."""

    labels: list[str]
    scores: np.ndarray
    tokens: list[int]
    label_names: list[str]


@dataclass(frozen=True, slots=True)
class TextRow:
    """One answer of a mixed batch: scores (L,) in `label_names` order.

    Where the model's own operator stopped it, `blocked` is set, the label is empty, the scores are zero, and `risk` holds
    what it was judged by.
    """

    label: str
    scores: np.ndarray
    tokens: int
    label_names: list[str]
    blocked: bool = False
    risk: dict[str, float] | None = None


class TextClassifier:
    """A text model loaded from its artifact folder, checked against its manifest. Safe to share by threads.

    `trunk_dir` is the folder that `ensure_trunk` made; when it is needed and not given, it is made in the
    home. `count_every`: of how many batches one has its experts' counts handed to `counted` (0: none).
    Raises ArtifactCorrupt for a file that is not the one its manifest names, ModelRefused for a graph that can't be
    opened.
    """

    def __init__(
        self, directory: Path, *, trunk_dir: Path | None = None, threads: int = 1, providers: list[str] | None = None,
        how: How | None = None, counted: Counted | None = None, count_every: int = 0, trust: Any = None, room: Any = None,
    ) -> None:  # fmt: skip
        self.directory = Path(directory)
        self.manifest = artifacts.verify(self.directory)
        how = how or How(threads, tuple(providers or [CPU]))
        self.how = replace(how, model=self.manifest["id"])
        self._trunk: GraphSession | None = None
        self._embedding: GraphSession | None = (
            None  # for a body that replaces the trunk's blocks with its own
        )
        if "trunk" in self.manifest["requires"]:
            trunk_dir = trunk_dir or _made_trunk()
            self._trunk = GraphSession(trunk_dir / "model.onnx", self.how)
            if self.manifest.get("body_reads") == "embedded":
                self._embedding = GraphSession(trunk_dir / "embed.onnx", self.how)
            tokenizer = trunk_dir / "tokenizer.json"
        else:
            tokenizer = artifacts.file_of(self.directory, self.manifest, "tokenizer")
        self._tokenizer = tokens.load_tokenizer(tokenizer)
        self.chosen = open_role(self.directory, self.manifest, "body", self.how)
        self._body = self.chosen.session
        self._heads = Heads(
            self.directory,
            self.manifest,
            self.how,
            trust=trust,
            room=room,
            tokenizer=artifacts.digest(tokenizer),
        )
        self._operator = self._heads.operator
        self._inside = Adapters(self._body.path, self.manifest, self.how, trust=trust, room=room)
        self._counted, self._count_every, self._batches = counted, count_every, 0
        self._counts = next((name for name in self._body.outputs() if name.startswith("expert_counts")), "")

    # ------------------------------------------------------------------ what it is
    @property
    def heads(self) -> dict[str, dict[str, Any]]:
        """What the manifest says of each shipped head."""
        return dict(self.manifest["heads"])

    @property
    def sessions(self) -> list[GraphSession]:
        """Every graph that is open: trunk, body, heads."""
        return (
            [s for s in (self._trunk, self._embedding, self._body) if s is not None]
            + self._heads.sessions()
            + self._inside.sessions()
        )

    @property
    def providers(self) -> list[str]:
        """Where the sessions really run, best first, as the runtime reports it."""
        return (self._trunk or self._body).get_providers()

    def adapters(self) -> list[str]:
        """Fine-tuned heads in memory, least recently used first."""
        return self._heads.tuned()

    def close(self) -> None:
        """Give back the room of what was loaded beside the model."""
        self._heads.close()
        self._inside.close()

    @property
    def can_embed(self) -> bool:
        return self._trunk is not None

    # ------------------------------------------------------------------ answers
    def classify(self, head: str, texts: list[str]) -> TextResult:
        """Label texts with a head; `support-intent@ft-ab12` names a fine-tuned one. Raises HeadMissing."""
        names = self._heads.of(head).labels
        rows = self.classify_mixed([head] * len(texts), texts)
        scores = np.stack([row.scores for row in rows]) if rows else np.zeros((0, len(names)), np.float32)
        return TextResult([row.label for row in rows], scores, [row.tokens for row in rows], list(names))

    def classify_mixed(self, heads: Sequence[str], texts: Sequence[str]) -> list[TextRow]:
        """Label each text with its own head; the shared graphs run once over all of them.

        Raises HeadMissing, ModelRefused for a head that isn't to be served, NotFinite for a value that is no number.
        """
        chosen = {name: self._heads.of(name) for name in dict.fromkeys(heads)}
        ids = self._encode(list(texts))
        answers: list[TextRow | None] = [None] * len(texts)
        for name in [name for name, head in chosen.items() if head.gated is not None]:
            self._answer_gated(chosen.pop(name), name, heads, ids, answers)
        rest = [i for i in range(len(texts)) if heads[i] in chosen]
        for places in by_padding([len(ids[i]) for i in rest]):
            group = [rest[place] for place in places]
            inside = self._inside.places_of([heads[i] for i in group])
            features, counts, risk = self._features([ids[i] for i in group], inside)
            for name, head in chosen.items():
                mine = [place for place, i in enumerate(group) if heads[i] == name]
                if not mine:
                    continue
                rows = [ids[group[place]] for place in mine]
                feed = dict(zip(("input_ids", "attention_mask"), tokens.pad(rows), strict=True))
                feed["features"] = features[mine]
                logits = finite(head.session.run(["logits"], feed)[0], f"{self.manifest['id']}/{name}")
                own = [group[place] for place in mine]
                self._fill(answers, own, head, logits, ids)
                if self._operator is not None:
                    blocked = self._operator.blocked(risk[mine])
                    self._stop(answers, own, self._operator, blocked, risk[mine][blocked])
            if counts is not None:
                self._tell(counts, [(heads[i], answers[i]) for i in group])
        return [answer for answer in answers if answer is not None]

    def embed(self, texts: list[str]) -> np.ndarray:
        """Sentence embeddings of the trunk, each of length one. Gives (N, 384) float32.

        Raises NotImplementedError for a model without a trunk.
        """
        if self._trunk is None:
            raise NotImplementedError(f"{self.manifest['id']} has no trunk to embed with")
        ids = self._encode(texts)
        pooled = np.zeros((len(texts), self._trunk.width_of(1)), np.float32)
        for group in by_padding([len(row) for row in ids]):
            pooled[group] = finite(self._pool([ids[i] for i in group]), self.manifest["id"])
        return pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)

    def count_tokens(self, texts: list[str]) -> list[int]:
        """How many tokens of each text the model reads."""
        return [len(row) for row in self._encode(texts)]

    def check_head(self, head: str) -> None:
        """Load a head, and its adapter, before anybody waits for it. Raises HeadMissing, ModelRefused, ArtifactCorrupt."""
        self._heads.of(head)
        self._inside.warm(head)

    # ------------------------------------------------------------------ inside
    def _answer_gated(
        self,
        head: Head,
        name: str,
        heads: Sequence[str],
        ids: list[np.ndarray],
        answers: list[TextRow | None],
    ) -> None:
        """Rows of one head of a model whose whole answer, its operator in it, is one graph."""
        assert head.gated is not None
        mine = [i for i in range(len(ids)) if heads[i] == name]
        for places in by_padding([len(ids[i]) for i in mine]):
            group = [mine[place] for place in places]
            found = head.gated.answer(head.name, [ids[i] for i in group])
            if not len(found.risk):
                self._fill(answers, group, head, found.logits, ids)
            else:
                shown = np.where(found.blocked[:, None], np.float32(0), found.logits)
                self._fill(answers, group, head, shown, ids)
                self._stop(answers, group, head.operator or self._operator, found.blocked, found.risk)

    def _fill(
        self,
        answers: list[TextRow | None],
        places: list[int],
        head: Head,
        logits: np.ndarray,
        ids: list[np.ndarray],
    ) -> None:
        """Put answers in their places."""
        scores = softmax(logits / np.float32(head.temperature))
        for i, row, best in zip(places, scores, scores.argmax(axis=1).tolist(), strict=True):
            answers[i] = TextRow(head.labels[best], row, len(ids[i]), head.labels)

    def _stop(
        self,
        answers: list[TextRow | None],
        places: list[int],
        operator: Operator | None,
        blocked: np.ndarray,
        risk: np.ndarray,
    ) -> None:
        """Empty what the operator stopped: neither label nor scores, and what it was judged by. Shapes: (N,), (B, K)."""
        assert operator is not None
        for at, levels in zip(
            np.flatnonzero(blocked), risk.astype(np.float64).round(4).tolist(), strict=True
        ):
            answer = answers[places[at]]
            assert answer is not None
            kinds = dict(zip(operator.kinds, levels, strict=True))
            empty = np.zeros_like(answer.scores)
            answers[places[at]] = replace(answer, label="", scores=empty, blocked=True, risk=kinds)

    def _encode(self, texts: list[str]) -> list[np.ndarray]:
        return tokens.encode(self._tokenizer, texts, self.manifest["wide_tokens"])

    def _features(
        self, rows: list[np.ndarray], inside: list[int]
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Features (N, D), expert counts (L, E) of all rows where this batch is sampled, and risk (N, K).

        `inside`: the place of each row's adapter in the body, 0 for none.
        """
        feed: dict[str, np.ndarray]
        if self._embedding is not None:
            ids, mask = self._short(rows)
            embedded = self._embedding.run(["embedded"], {"input_ids": ids})[0]
            feed = {"embedded": embedded, "attention_mask": mask}
        elif self._trunk is not None:
            feed = {"pooled": self._pool(rows)}
        else:
            feed = dict(zip(("input_ids", "attention_mask"), self._short(rows), strict=True))
        self._batches += 1
        sampled = (
            self._counts and self._counted and self._count_every and self._batches % self._count_every == 0
        )
        if any(inside):
            if (
                self._operator is not None
            ):  # its risk would not be heard: nothing is answered rather than unguarded
                why = "an adapter inside a body with a bias operator can't be served."
                raise ModelRefused(self.manifest["id"], why, code="adapter_of_another_trunk")
            found = self._inside.features(
                ["features", self._counts] if sampled else ["features"], feed, inside
            )
            return found[0], found[1] if sampled else None, np.zeros((len(rows), 0), np.float32)
        if self._operator is not None:
            found = self._body.run(["features", "risk"], feed)
            return found[0], None, found[1]
        found = self._body.run(["features", self._counts] if sampled else ["features"], feed)
        return found[0], found[1] if sampled else None, np.zeros((len(rows), 0), np.float32)

    def _tell(self, counts: np.ndarray, rows: list[tuple[str, TextRow | None]]) -> None:
        """Hand the counts of a batch on: (L, E) of all its rows, under its label where they have one in common."""
        assert self._counted is not None
        answers = [answer for _, answer in rows if answer is not None]
        heads = {head.partition("@")[0] for head, _ in rows}
        if len(heads) > 1 or not answers:
            return  # a sum over several lines of business says nothing of any
        labels = {answer.label for answer in answers}
        label = labels.pop() if len(labels) == 1 else ""
        self._counted(
            self.manifest["id"], heads.pop(), label, counts, sum(answer.tokens for answer in answers)
        )

    def _pool(self, rows: list[np.ndarray]) -> np.ndarray:
        assert self._trunk is not None
        ids, mask = self._short(rows)
        return self._trunk.run(["pooled"], {"input_ids": ids, "attention_mask": mask})[0]

    def _short(self, rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return tokens.pad([row[: self.manifest["max_tokens"]] for row in rows])


def by_padding(lengths: list[int]) -> list[list[int]]:
    """Positions in groups of like length: at most BATCH_ROWS rows, BATCH_TOKENS in all, WASTED_TOKENS of padding."""
    groups: list[list[int]] = []
    current: list[int] = []
    held = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        padded = (len(current) + 1) * lengths[index]
        full = padded > BATCH_TOKENS or len(current) >= BATCH_ROWS
        if current and (full or padded - held - lengths[index] > WASTED_TOKENS):
            groups.append(current)
            current, held = [], 0
        current.append(index)
        held += lengths[index]
    return [*groups, current] if current else groups


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def _made_trunk() -> Path:
    from modelhub.ml.trunk import ensure_trunk

    return ensure_trunk(artifacts.home())
