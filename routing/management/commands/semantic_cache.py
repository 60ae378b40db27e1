"""`manage.py semantic_cache measure`: how often the nearest question's answer would be right; `show`: the verdict in force."""

from __future__ import annotations

import csv
import gzip
import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.core.management.base import BaseCommand

from modelhub import artifacts
from modelhub.serving.runners.text import TextClassifier
from routing.caching.paraphrases import judge, simulate
from routing.caching.verdict import MEASURED, verdict_of

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "data" / "banking77"
ENCODER = "txt-base"
BATCH, SEED = 256, 7
Questions = tuple[list[str], list[str], np.ndarray]


class Command(BaseCommand):
    help = "Measure whether the semantic cache may be switched on, on real customers' questions (Banking77)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("what", choices=("measure", "show"))
        parser.add_argument(
            "--questions", type=int, default=0, help="Of the training ones, drawn; all when left out."
        )
        parser.add_argument(
            "--out", type=Path, help="Where the verdict goes; $SWITCHYARD_HOME when left out."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        home = Path(settings.HOME)
        if options["what"] == "measure":
            told = self._measure(options["questions"])
            path = options["out"] or home / MEASURED
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
            self.stdout.write(f"Written to {path}.")
        else:
            told = verdict_of(home)
        for row in told.get("table", ()):
            self.stdout.write(
                f"{row['threshold']:.3f}\tserved {row['served']} of {row['asked']}\tright {row['precision']:.1%} "
                f"(at least {row['lower']:.1%})\tsame intent {row['same_intent_precision']:.1%}"
            )
        self.stdout.write(f"{told['verdict']}: {told['why']}")

    def _measure(self, most: int) -> dict[str, Any]:
        """Chosen on halves of the training questions, confirmed with validation questions against all of those."""
        model = TextClassifier(artifacts.find(ENCODER))
        train, val = self._questions("train", model, most), self._questions("val", model)
        order = np.random.default_rng(SEED).permutation(len(train[0]))
        half = len(order) // 2
        chosen = simulate(_part(train, order[:half]), _part(train, order[half:]))
        confirmed = simulate(train, val)
        data = f"Banking77 train {len(train[0])}, val {len(val[0])} questions"
        encoder = str(model.manifest["requires"]["trunk"])
        return judge(chosen, confirmed, encoder=f"{ENCODER}: {encoder}", data=data).as_json()

    def _questions(self, part: str, model: TextClassifier, most: int = 0) -> Questions:
        with gzip.open(DATA / f"{part}.csv.gz", "rt", encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        if 0 < most < len(rows):
            rows = [rows[i] for i in sorted(np.random.default_rng(SEED).permutation(len(rows))[:most])]
        texts = [row["text"] for row in rows]
        vectors = np.concatenate([model.embed(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)])
        return texts, [row["intent"] for row in rows], vectors


def _part(questions: Questions, places: np.ndarray) -> Questions:
    texts, intents, vectors = questions
    return [texts[i] for i in places], [intents[i] for i in places], vectors[places]
