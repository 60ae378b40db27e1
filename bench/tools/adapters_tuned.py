"""What a fine-tune does with a new line's rows, step by step with its clock: the curve of the product's own recipe."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from modelhub.ml.adapters.finetune import BLOCKS
from modelhub.ml.adapters.head import train_head
from modelhub.ml.adapters.inject import Adapter, AdapterShape
from modelhub.ml.adapters.inner import SEEN_ROWS, Examples, Settings, Tuned, held_point, train_inner
from modelhub.ml.adapters.inside import TOP_HIDDEN, TOP_SEEN
from modelhub.ml.adapters.rows import WIDE
from modelhub.ml.adapters.seen import Seen, see_once
from modelhub.ml.text import wide
from modelhub.ml.text.encoder import SparseEncoder
from modelhub.ml.text.graphs import HeadWeights
from modelhub.ml.text.torch_form import open_encoder
from modelhub.ml.train.checkpoint import weight_hash

HELD = 4  # a fourth of the rows is held back to stop by
Rows = tuple[list[np.ndarray], np.ndarray]  # token ids of each text, labels
Part = tuple[Seen, np.ndarray]


@dataclass(slots=True)
class Curve:
    """Points of a run: processor seconds so far, and the accuracy then."""

    spent: float
    points: list[dict[str, float]] = field(default_factory=list)

    def add(self, seconds: float, value: float) -> None:
        self.spent += seconds
        self.points.append({"cpu_s": round(self.spent, 2), "value": round(value, 4)})


def tuned(body: Path, trunk_dir: Path, new: Rows, val: Rows, labels: int, seed: int) -> dict[str, Any]:
    """{"curve", "equal"}: the steps of `finetune`'s usual method one after the other, and whether the trunk kept its hash.

    The curve counts all of them, and no looks at the validation rows.
    """
    began = time.process_time()
    encoder = open_encoder(body)
    before = weight_hash(encoder.state_dict())
    embed, first = trunk_dir / "embed.onnx", encoder.config.layers - BLOCKS
    own = len(new[1]) - len(new[1]) // HELD
    train, held = (
        (see_once(body, embed, ids, first), y)
        for ids, y in ((new[0][:own], new[1][:own]), (new[0][own:], new[1][own:]))
    )
    channel = wide.fit(new[0][:own], new[1][:own], labels, WIDE)
    curve = Curve(time.process_time() - began)
    judged = see_once(body, embed, val[0], first), val[1]
    width = encoder.config.width
    start = HeadWeights(np.zeros((labels, width), np.float32), np.zeros(labels, np.float32), channel, 0.0)
    _head(curve, start, (train, held, judged), seed)
    for shape in (AdapterShape("expert", 1, hidden=TOP_HIDDEN), AdapterShape("lora", BLOCKS)):
        _inside(
            curve,
            encoder,
            Tuned(Adapter(shape, width, seed), start.weight, start.bias),
            (train, judged),
            seed,
        )
    return {"curve": curve.points, "equal": weight_hash(encoder.state_dict()) == before}


def _head(curve: Curve, start: HeadWeights, parts: tuple[Part, Part, Part], seed: int) -> None:
    """The head alone: a point of the curve when it is fitted."""
    train, held, judged = parts

    def numbers(part: Part) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return part[0].features, np.zeros((len(part[1]), len(start.bias)), np.float32), part[1]

    made = train_head(
        start, (numbers(train), numbers(held)), epochs=0, seed=seed, folder=None, progress=lambda told: None,
        should_stop=lambda: False,
    )  # fmt: skip
    given = (judged[0].features @ made["weight"].T + made["bias"]).argmax(axis=1)
    curve.add(made["cpu_s"], float((given == judged[1]).mean()))


def _inside(curve: Curve, encoder: SparseEncoder, model: Tuned, parts: tuple[Part, Part], seed: int) -> None:
    """An adapter by the product's own loop, for as many epochs as it would choose: a point at each of its looks."""
    top = model.adapter.shape.method == "expert"
    train, judged = (
        Examples(seen.top if top else seen.entering, np.zeros((len(y), len(model.bias)), np.float32), y)
        for seen, y in parts
    )
    adapted = train.states.encoder(encoder, model.adapter)
    settings = Settings(seed=seed, seen=TOP_SEEN if top else SEEN_ROWS)
    settings = replace(settings, epochs=settings.planned(len(train.y)))
    few = Examples(
        judged.states, judged.offset[:8], judged.y[:8]
    )  # the loop's own look costs next to nothing
    last = time.process_time()

    def look(told: dict[str, Any]) -> None:
        nonlocal last
        spent = time.process_time() - last
        curve.add(spent, held_point(adapted, model, judged)["accuracy"])
        last = time.process_time()

    train_inner(encoder, model, train, few, settings, progress=look)
