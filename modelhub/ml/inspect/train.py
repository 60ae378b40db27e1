"""`python -m modelhub.ml.inspect.train`: fit `inspect-text` (names, attempts, instructions), choose its thresholds, write it.

Fitted on own sentences and the `fit` part of the data, thresholds from the `choose` part; `report` is read by bench/policy only.
Two minutes on one core. The names of the sentences are Faker's, a test requirement.
"""

from __future__ import annotations

import argparse
import random
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelhub import artifacts
from modelhub.ml.inspect import attempts, card, fit, frames, splits
from modelhub.ml.inspect.model import InspectionModel, Loudness, Threshold, load, loudness, save
from modelhub.ml.inspect.reading import Lists

SEED = 5
SENTENCES = 9_000
Texts = list[tuple[str, list[tuple[int, int]]]]
_SMALL = re.compile(r"(?<![\w'])[a-zà-öø-ÿ]{2,20}(?![\w'])")
_LARGE = re.compile(r"\b[A-Z]\w+")


def names_model(seed: int, parts: Sequence[str] = ("fit",)) -> tuple[dict[str, float], float, Lists]:
    """(weights, bias, lists)."""
    given, family = (frozenset(n for n in names if " " not in n) for names in frames.gazetteer())
    texts = _everyday()
    counts = Counter(word for text in texts for word in _SMALL.findall(text))
    # A word that everybody writes small is no name, unless it is a given name and rare (`mark`, `will` stay words).
    common = frozenset(w for w, n in counts.items() if n >= 3 and not (w in given and n < 40))
    rows: Texts = [(row["full_text"], _people(row)) for part in parts for row in splits.pii_rows(part)]
    rows = [
        *rows,
        *rows,
        *(frames.renamed(text, spans, i) for i, (text, spans) in enumerate(rows * 2) if spans),
    ]
    rows += frames.sentences(SENTENCES, seed)
    # Reviews and contracts name real people: a text with a known name in capitals would teach that it is none.
    known = (given | family) - common
    rows += [(text, []) for text in texts if known.isdisjoint(w.lower() for w in _LARGE.findall(text))]
    lists = Lists.of(given, family, common)
    features, labels = fit.name_rows(rows, lists, lambda name: zlib.crc32(name.encode()) % 3 != 0)
    weights, bias = fit.linear(features, labels, c=0.5, least=3)
    return weights, bias, lists


def _everyday() -> list[str]:
    limits = {"banking77": 4_000, "clinc150": 8_000, "cuad": 1_000}
    return [text for name in splits.BENIGN for text in splits.benign(name, "fit")[: limits.get(name)]]


def _people(row: dict[str, Any]) -> list[tuple[int, int]]:
    return [(s["start_position"], s["end_position"]) for s in row["spans"] if s["entity_type"] == "PERSON"]


def attempt_model(seed: int) -> Loudness:
    """Attempts in what a person or an application writes."""
    bad = [a.text for a in splits.attacks("fit") if not a.kind.startswith("indirect")] * 3
    bad += attempts.made(1_500, seed, attempts.DIRECT)
    good = [*_everyday(), *splits.chinese("fit", 1_500), *attempts.BENIGN * 12, *attempts.MAIL * 4]
    return loudness(*fit.by_window(bad, good, c=1.0))


def instruction_model(seed: int) -> Loudness:
    """Instructions inside what is only to be read."""
    draw = random.Random(seed)
    told = [a.text for a in splits.attacks("fit") if a.kind.startswith("indirect")] * 5
    told += attempts.made(2_500, seed + 1, attempts.DOCUMENT)
    good = [text for name in splits.DOCUMENTS for text in splits.benign(name, "fit")[:1_300]]
    good += splits.chinese("fit", 1_500) + list(attempts.MAIL) * 12 + splits.contexts("fit") * 5
    good += list(attempts.TOOLS) * 16 + splits.library_code(900)
    good += [" ".join(draw.sample(attempts.MAIL, 3)) for _ in range(600)]
    return loudness(*fit.by_window([_between(text, draw) for text in told], good, c=1.0))


def _between(text: str, draw: random.Random) -> str:
    """As it is, or before or after an everyday sentence of a mail."""
    place = draw.random()
    if place < 0.4:
        return text
    mail = draw.choice(attempts.MAIL)
    return f"{mail}\n{text}" if place < 0.7 else f"{text}\n{mail}"


def choose(model: InspectionModel) -> Threshold:
    """Thresholds from the `choose` part: names at the highest that keeps 93 % of the names whole, attempts at the lowest that
    finds none in 999 of 1,000 everyday texts, instructions at the lowest that finds one in 100 documents."""
    direct = [model.attempt(t) for name in splits.BENIGN for t in splits.benign(name, "choose")]
    direct += [model.attempt(t) for t in splits.chinese("choose", 600)]
    documents = [model.instruction(t) for name in splits.DOCUMENTS for t in splits.benign(name, "choose")]
    grid = [i / 4 for i in range(-12, 25)]
    names = max((t for t in grid if name_recall(with_names(model, t)) >= 0.93), default=grid[0])
    return Threshold(names, max(0.5, _lowest(grid, direct, 0.001)), max(0.0, _lowest(grid, documents, 0.01)))


def _lowest(grid: Sequence[float], scores: Sequence[float], share: float) -> float:
    return next((t for t in grid if sum(s >= t for s in scores) <= share * len(scores)), grid[-1])


def with_names(model: InspectionModel, threshold: float) -> InspectionModel:
    return _replaced(model, Threshold(threshold, 99.0, 99.0))


def _replaced(model: InspectionModel, threshold: Threshold) -> InspectionModel:
    return replace(model, threshold=threshold)


def name_recall(model: InspectionModel, part: str = "choose") -> float:
    """Share of the names that a span covers whole."""
    found = total = 0
    for row in splits.pii_rows(part):
        spans = list(model.names_in(row["full_text"]))
        for start, end in _people(row):
            total += 1
            found += any(a <= start and b >= end for a, b in spans)
    return found / total


def figures(model: InspectionModel) -> dict[str, Any]:
    """What the thresholds were chosen by; the reported figures are bench/results/policy.json's."""
    attacks = splits.attacks("choose")
    direct = [a for a in attacks if not a.kind.startswith("indirect")]
    mixed = list(splits.injected("choose"))

    def share(found: Callable[[str], bool], texts: Sequence[str]) -> float:
        return round(sum(map(found, texts)) / max(1, len(texts)), 4)

    everyday = {name: share(model.is_injection, splits.benign(name, "choose")) for name in splits.BENIGN} | {
        "cold_zh": share(model.is_injection, splits.chinese("choose", 600))
    }
    documents = {
        name: share(lambda t: model.is_injection(t, document=True), splits.benign(name, "choose"))
        for name in splits.DOCUMENTS
    }
    return {
        "part": "choose", "names_recall": round(name_recall(model), 4),
        "attempts_recall": share(model.is_injection, [a.text for a in direct]), "attempts_n": len(direct),
        "instructions_recall": share(lambda t: model.is_injection(t, document=True), [t for _, t in mixed]),
        "instructions_n": len(mixed), "everyday_found": everyday, "documents_found": documents,
    }  # fmt: skip


def make(out: Path, seed: int = SEED) -> dict[str, Any]:
    """Fit, choose, write. Gives the manifest."""
    names, bias, lists = names_model(seed)
    model = InspectionModel(
        names, bias, lists, attempt_model(seed), instruction_model(seed), Threshold(0, 0, 0)
    )
    model = _replaced(model, choose(model))
    told = figures(model)
    # What thresholds were chosen by is then learnt from as well; nothing is chosen after it.
    names, bias, lists = names_model(seed, ("fit", "choose"))
    model = replace(model, names=names, names_bias=bias, lists=lists)
    out.mkdir(parents=True, exist_ok=True)
    save(model, out / "weights.npz")
    model = load(out / "weights.npz")  # as it is served: weights of 16 bits
    threshold = model.threshold
    manifest = {
        "id": "inspect-text", "kind": "inspection", "version": "1", "sparse": False, "precision": "fp16", "requires": {},
        "heads": {},
        "thresholds": {"names": threshold.names, "direct": threshold.direct, "document": threshold.document},
        "metrics": told, "sizes": {"names": len(names), "direct": len(model.direct.words) + len(model.direct.pairs),
                  "document": len(model.document.words) + len(model.document.pairs)},
        "train": {"command": "python -m modelhub.ml.inspect.train", "seed": seed},
        "data": ["pii_synthetic (fit, then choose)", "injection (fit)", "Python\'s library",
                 *(f"{name} (train)" for name in (*splits.BENIGN, "cold_zh")),
                 "Faker's names"],
    }  # fmt: skip
    card.write(out, manifest)
    return artifacts.write_manifest(out, manifest, {"weights": "weights.npz"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=artifacts.SHIPPED / "inspect-text")
    parser.add_argument("--seed", type=int, default=SEED)
    chosen = parser.parse_args()
    made = make(chosen.out, chosen.seed)
    print(made["thresholds"], made["metrics"])
