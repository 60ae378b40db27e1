"""`python -m modelhub.ml.inspect.train`: fit `inspect-text` (names, attempts, instructions), choose its thresholds, write it.

Thresholds come from rows that the model before them had not seen: names from sentences of other templates, across folds of `fit`
and `choose`; attempts and instructions from `choose`. Then names and instructions are fitted on both parts, and nothing is
chosen after that. `report` is read by bench/policy only. Five minutes on one core. Most names of the own sentences are Faker's, a
test requirement.
"""

from __future__ import annotations

import argparse
import random
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from modelhub import artifacts
from modelhub.ml.inspect import attempts, card, fit, frames, splits
from modelhub.ml.inspect.model import InspectionModel, Loudness, Threshold, load, loudness, save
from modelhub.ml.inspect.reading import Lists

SEED = 5
SENTENCES = 14_000
SPOKEN = 3_000  # sentences in which a pronoun has become a name
FOLDS = 5
NAMES_KEPT = 0.93
GRID = tuple(i / 4 for i in range(-12, 25))
Texts = list[tuple[str, list[tuple[int, int]]]]
_SMALL = re.compile(r"(?<![\w'])[a-zà-öø-ÿ]{2,20}(?![\w'])")
_LARGE = re.compile(r"\b[A-Z]\w+")


def names_model(seed: int, told: Sequence[dict[str, Any]]) -> tuple[dict[str, float], float, Lists]:
    """(weights, bias, lists). `told`: rows of pii_synthetic to learn from beside own sentences."""
    given, family = (frozenset(n for n in names if " " not in n) for names in frames.gazetteer())
    texts = _everyday()
    counts = Counter(word for text in texts for word in _SMALL.findall(text))
    # A word that everybody writes small is no name, unless it is a given name and rare (`mark`, `will` stay words).
    common = frozenset(w for w, n in counts.items() if n >= 3 and not (w in given and n < 40))
    rows: Texts = [(row["full_text"], people(row)) for row in told]
    rows = [
        *rows,
        *rows,
        *(frames.renamed(text, spans, i) for i, (text, spans) in enumerate(rows * 2) if spans),
    ]
    rows += frames.sentences(SENTENCES, seed)
    spoken = [
        text for name in ("mts_dialog", "reviews_en", "clinc150") for text in splits.benign(name, "fit")
    ]
    rows += frames.spoken_of(spoken, SPOKEN, seed)
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


def people(row: dict[str, Any]) -> list[tuple[int, int]]:
    return [(s["start_position"], s["end_position"]) for s in row["spans"] if s["entity_type"] == "PERSON"]


def attempt_model(seed: int) -> Loudness:
    """Attempts in what a person or an application writes."""
    bad = [a.text for a in splits.attacks("fit") if not a.kind.startswith("indirect")] * 3
    bad += attempts.made(1_500, seed, attempts.DIRECT)
    good = [*_everyday(), *splits.chinese("fit", 1_500), *attempts.BENIGN * 12, *attempts.MAIL * 4]
    good += splits.library_code("fit")
    return loudness(*fit.by_window(bad, good, c=1.0))


def instruction_model(seed: int, parts: Sequence[str] = ("fit",)) -> Loudness:
    """Instructions inside what is only to be read."""
    draw = random.Random(seed)
    attacks = [attack for part in parts for attack in splits.attacks(part)]
    told = [a.text for a in attacks if a.kind.startswith("indirect")] * 5
    told += attempts.made(2_500, seed + 1, attempts.DOCUMENT)
    good = [text for name in splits.DOCUMENTS for text in splits.benign(name, "fit")[:1_300]]
    good += splits.chinese("fit", 1_500) + list(attempts.MAIL) * 12
    good += [text for part in parts for text in splits.contexts(part)] * 5
    good += list(attempts.TOOLS) * 16 + splits.library_code("fit")
    good += [" ".join(draw.sample(attempts.MAIL, 3)) for _ in range(600)]
    return loudness(*fit.by_window([_between(text, draw) for text in told], good, c=1.0))


def _between(text: str, draw: random.Random) -> str:
    """As it is, or before or after an everyday sentence of a mail."""
    place = draw.random()
    if place < 0.4:
        return text
    mail = draw.choice(attempts.MAIL)
    return f"{mail}\n{text}" if place < 0.7 else f"{text}\n{mail}"


def choose(model: InspectionModel, names: Sequence[tuple[float, float]]) -> Threshold:
    """Names at the highest threshold that keeps 93 % of them whole, by `names`: (threshold, recall on templates not seen).
    Attempts at the lowest that finds none in 999 of 1,000 everyday texts of `choose`, instructions at the lowest that finds one
    in 100 of its documents and programs."""
    direct = [model.attempt(t) for name in splits.BENIGN for t in splits.benign(name, "choose")]
    direct += [model.attempt(t) for t in splits.chinese("choose", 600)]
    documents = [model.instruction(t) for name in splits.DOCUMENTS for t in splits.benign(name, "choose")]
    documents += [model.instruction(t) for t in splits.library_code("choose")]
    kept = max((t for t, recall in names if recall >= NAMES_KEPT), default=GRID[0])
    return Threshold(kept, max(0.5, _lowest(direct, 0.001)), _lowest(documents, 0.01))


def _lowest(scores: Sequence[float], share: float) -> float:
    return next((t for t in GRID if sum(s >= t for s in scores) <= share * len(scores)), GRID[-1])


def names_unseen(seed: int) -> list[tuple[float, float]]:
    """(threshold, share of names covered whole) for each threshold, every template by a model that hadn't seen it."""
    rows = [row for part in ("fit", "choose") for row in splits.pii_rows(part)]
    fold = [zlib.crc32(f"fold:{row['template_id']}".encode()) % FOLDS for row in rows]
    whole = dict.fromkeys(GRID, 0)
    for held in range(FOLDS):
        weights, bias, lists = names_model(seed, [r for r, f in zip(rows, fold, strict=True) if f != held])
        for threshold in GRID:
            spans = partial(_spans, weights, bias, lists, threshold)
            whole[threshold] += sum(
                _whole(row, spans) for row, f in zip(rows, fold, strict=True) if f == held
            )
    total = sum(len(people(row)) for row in rows)
    return [(threshold, count / total) for threshold, count in whole.items()]


def _spans(
    weights: dict[str, float], bias: float, lists: Lists, threshold: float, text: str
) -> list[tuple[int, int]]:
    silent = Loudness({}, {}, 0.0)
    model = InspectionModel(weights, bias, lists, silent, silent, Threshold(threshold, 99.0, 99.0))
    return list(model.names_in(text))


def _whole(row: dict[str, Any], spans: Callable[[str], list[tuple[int, int]]]) -> int:
    """How many of a row's names one span covers."""
    found = spans(row["full_text"])
    return sum(any(a <= start and b >= end for a, b in found) for start, end in people(row))


def figures(model: InspectionModel, names_recall: float) -> dict[str, Any]:
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
    } | {"library": share(lambda t: model.is_injection(t, document=True), splits.library_code("choose"))}
    return {
        "part": "choose", "names_recall": round(names_recall, 4),
        "attempts_recall": share(model.is_injection, [a.text for a in direct]), "attempts_n": len(direct),
        "instructions_recall": share(lambda t: model.is_injection(t, document=True), [t for _, t in mixed]),
        "instructions_n": len(mixed), "everyday_found": everyday, "documents_found": documents,
    }  # fmt: skip


def make(out: Path, seed: int = SEED) -> dict[str, Any]:
    """Fit, choose, write. Gives the manifest."""
    both = ("fit", "choose")
    unseen = names_unseen(seed)
    rows = [row for part in both for row in splits.pii_rows(part)]
    names, bias, lists = names_model(seed, rows)
    model = InspectionModel(
        names, bias, lists, attempt_model(seed), instruction_model(seed), Threshold(0, 0, 0)
    )
    model = replace(model, threshold=choose(model, unseen))
    told = figures(model, dict(unseen)[model.threshold.names])
    # What the threshold was chosen by is then learnt from as well (`choose` has no attempt that was not found); nothing is
    # chosen after it.
    model = replace(model, document=instruction_model(seed, both))
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
        "data": ["pii_synthetic (fit, choose)", "injection (fit, instructions then choose)", "Python\'s library",
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
