"""How requests of each kind become batches: one lane a model, whatever head its rows ask for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from modelhub.ml.tabular.schema import RecordError
from modelhub.serving.batching import Device, Lane
from modelhub.serving.engine import Engine
from modelhub.serving.metrics import Metrics
from modelhub.serving.sessions import Loaded, ModelPool

TABULAR_ROWS = 1024  # a row of a tree takes microseconds: portions may be long
Shadow = Callable[[Loaded, list[Any], list[Any]], None]


class Work:
    """Lanes and engines of the models in memory; a version that was replaced keeps its own until it is done."""

    def __init__(
        self, pool: ModelPool, device: Device, metrics: Metrics, counted: Any = None, count_every: int = 0
    ) -> None:
        self.pool, self.device, self.metrics = pool, device, metrics
        self.shadow: Shadow | None = None
        self._counted, self._count_every = counted, count_every
        self._lanes: dict[str, Lane] = {}
        self._engines: dict[str, Engine] = {}
        pool.dropped = self.forget

    def forget(self, model: Loaded) -> None:
        """A model left memory: its lanes go with it, once empty."""
        for lanes in (self._lanes, self._engines):
            for name in [name for name in lanes if name.partition("#")[0] == model.key]:
                del lanes[name]  # type: ignore[attr-defined]

    # ------------------------------------------------------------------ text
    async def classify(
        self, model: Loaded, head: str, texts: list[str], deadline: float | None
    ) -> tuple[list[Any], int]:
        """Rows with label, scores, tokens and label_names, in order, and this caller's nanoseconds."""

        def compute(items: list[Any]) -> list[Any]:
            rows = self.pool.grown(
                model, sum(len(text) for _, text in items), lambda: text_rows(model.runner, items)
            )
            if self.shadow is not None:
                self.shadow(model, items, rows)
            return rows

        lane = self._lane(model, "text", compute)
        return await lane.submit(
            [(head, text) for text in texts], [max(1, len(text)) for text in texts], deadline=deadline
        )

    async def embed(self, model: Loaded, texts: list[str], deadline: float | None) -> tuple[list[Any], int]:
        """(vector, tokens) of each text."""

        def compute(items: list[str]) -> list[Any]:
            return list(zip(model.runner.embed(items), model.runner.count_tokens(items), strict=True))

        lane = self._lane(model, "embed", compute)
        return await lane.submit(texts, [max(1, len(text)) for text in texts], deadline=deadline)

    # ------------------------------------------------------------------ tables
    async def predict(
        self, model: Loaded, head: str, records: list[dict[str, Any]], deadline: float | None
    ) -> tuple[list[Any], int]:
        """Items of each record. Raises RecordError with the place in this caller's own records."""

        def compute(items: list[Any]) -> list[Any]:
            rows = record_rows(model.runner, items)
            if self.shadow is not None:
                self.shadow(model, items, rows)
            return rows

        lane = self._lane(model, "table", compute, TABULAR_ROWS)
        items = [(head, record, place) for place, record in enumerate(records)]
        return await lane.submit(items, [1] * len(items), deadline=deadline)

    # ------------------------------------------------------------------ language
    def engine(self, model: Loaded) -> Engine | None:
        """The model's continuous batch; None for a runner that writes one answer at a time."""
        if not hasattr(model.runner, "new_batch"):
            return None
        if model.key not in self._engines:
            self._engines[model.key] = Engine(
                model.id, model.runner, device=self.device, clock=model.clock,
                changed=lambda running, waiting: self.metrics.sequences(model.id, running, waiting),
                counted=self._count_rows(model) if self._counted else None, count_every=self._count_every,
            )  # fmt: skip
        return self._engines[model.key]

    def _count_rows(self, model: Loaded) -> Callable[[list[Any], Any], None]:
        def counted(rows: list[Any], counts: Any) -> None:
            """Rows of one step write under one label: the sum is what a heat map of a language model shows."""
            base, _, tuned = model.id.partition("/")
            self._counted(
                base, tuned or next(iter(model.manifest["heads"]), ""), "", counts.sum(0), len(rows)
            )

        return counted

    def _lane(
        self, model: Loaded, what: str, compute: Callable[[list[Any]], list[Any]], max_rows: int = 64
    ) -> Lane:
        name = f"{model.key}#{what}"
        if name not in self._lanes:
            self._lanes[name] = Lane(
                f"{model.id}#{what}", compute, device=self.device, clock=model.clock, max_rows=max_rows
            )
        return self._lanes[name]


def text_rows(runner: Any, items: Sequence[tuple[str, str]]) -> list[Any]:
    """Answers to (head, text) of mixed heads; a runner that can't mix them is asked head by head."""
    heads, texts = [head for head, _ in items], [text for _, text in items]
    if hasattr(runner, "classify_mixed"):
        return runner.classify_mixed(heads, texts)
    answers: list[Any] = [None] * len(items)
    for head in dict.fromkeys(heads):
        places = [place for place, own in enumerate(heads) if own == head]
        found = runner.classify(head, [texts[place] for place in places])
        for at, place in enumerate(places):
            answers[place] = PlainRow(
                found.labels[at], found.scores[at], int(found.tokens[at]), found.label_names
            )
    return answers


def record_rows(runner: Any, items: Sequence[tuple[str, dict[str, Any], int]]) -> list[Any]:
    """Predictions for (head, record, place in its caller's list); a bad record is named by that place."""
    answers: list[Any] = [None] * len(items)
    for head in dict.fromkeys(item[0] for item in items):
        places = [place for place, item in enumerate(items) if item[0] == head]
        try:
            found = runner.predict(head, [items[place][1] for place in places])
        except RecordError as error:
            own = items[places[error.index]][2]
            raise RecordError(own, error.column, error.message) from None
        for place, answer in zip(places, found, strict=True):
            answers[place] = answer
    return answers


class PlainRow:
    """An answer of a runner that answers one head at a time."""

    __slots__ = ("label", "label_names", "scores", "tokens")

    def __init__(self, label: str, scores: Any, tokens: int, label_names: list[str]) -> None:
        self.label, self.scores, self.tokens, self.label_names = label, scores, tokens, label_names


def deadline_in(seconds: float) -> float:
    """On the monotonic clock."""
    return time.monotonic() + seconds
