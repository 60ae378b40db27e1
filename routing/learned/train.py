"""Fits the shipped router on the tables whose licence allows it: `python -m routing.learned.train [--out artifacts]`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.ml import datasets
from modelhub.ml.answer_sheets import Sheet, digest_of
from modelhub.ml.route.token_vectors import narrowed, token_vectors
from routing.learned import card, files, fit, measures, tables
from routing.learned.embedding import MODEL, Reader
from routing.learned.features import MOST_CHARACTERS, VOCABULARY, TokenTable, read

ID, FILE, SHEETS = "router-base", "router.npz", "answers.json"
LEARNT_FROM = ("mmlu", "gsm8k")
TOKEN_WIDTH = 32
FREQUENT = 2_000  # tokens below this number have a vector even where no training prompt has them
RARE = 1e-3  # of smooth inverse frequency
COMMAND = "python -m routing.learned.train"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=artifacts.SHIPPED)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    manifest = make(chosen.out / ID, seed=chosen.seed)
    print(json.dumps(manifest["metrics"], indent=1))


def make(directory: Path, *, seed: int = 0) -> dict[str, Any]:
    """Fit, measure on validation rows, write the artifact. Gives its manifest."""
    began = time.monotonic()
    directory.mkdir(parents=True, exist_ok=True)
    reader = Reader()
    learnt = {name: tables.load(name, "train") for name in LEARNT_FROM}
    table = token_table(reader, [text for part in learnt.values() for text in part.texts])
    joined = together(learnt, reader, table)
    recipe = fit.Recipe()
    unseen, alike = fit.out_of_fold(joined, recipe, seed=seed)
    scorer = fit.fitted(joined, recipe, unseen, alike)
    verdicts = verdicts_of(fit.unseen_chances(joined, recipe, unseen), learnt)
    router = files.Router(scorer, table, {"verdicts": verdicts, "table_of": _table_of(learnt)})
    files.save(directory / FILE, router)
    router = files.load(directory / FILE)  # measured as it will be read
    answers = directory / SHEETS
    artifacts.write_json(answers, shipped_sheets(answers))
    manifest: dict[str, Any] = {
        "id": ID, "kind": "router", "version": "1", "requires": {MODEL: {"tokenizer": reader.tokens}},
        "models": list(scorer.models), "verdicts": verdicts, "metrics": measured(router, reader),
        "licences": {name: tables.SOURCES[name].licence for name in LEARNT_FROM},
        "train": {"command": COMMAND, "seed": seed, "seconds": round(time.monotonic() - began), "rows": len(joined)},
        "created": datetime.now(UTC).date().isoformat(),
    }  # fmt: skip
    manifest = artifacts.write_manifest(directory, manifest, {"router": FILE, "answers": SHEETS})
    card.write(directory, manifest)
    return manifest


def token_table(reader: Reader, texts: list[str]) -> TokenTable:
    """The edge student's vectors of the tokens in these texts and of the most frequent ones; weights by how rare a token is in
    them."""
    seen = np.zeros(VOCABULARY)
    for ids in reader.ids(texts, MOST_CHARACTERS):
        np.add.at(seen, ids[1:-1], 1)
    folder = artifacts.find(MODEL)
    graph = artifacts.file_of(folder, artifacts.load_manifest(folder), "body")
    vectors = narrowed(token_vectors(graph, VOCABULARY), seen, TOKEN_WIDTH)
    known = (seen > 1) | (np.arange(VOCABULARY) < FREQUENT)
    vectors = np.where(known[:, None], vectors, 0).astype(np.float32)
    return TokenTable(vectors, (known * RARE / (RARE + seen / seen.sum())).astype(np.float32))


def together(
    parts: dict[str, tables.Answered], reader: Reader, table: TokenTable, seed: int = 0
) -> fit.Table:
    """Tables of the same models as one."""
    texts = [text for part in parts.values() for text in part.texts]
    domain = np.concatenate([part.domain for part in parts.values()])
    score = np.concatenate([part.score for part in parts.values()])
    models = next(iter(parts.values())).models
    group = np.concatenate([np.full(len(part), name) for name, part in parts.items()])
    return fit.Table(read(texts, reader, table, seed), domain, score, models, group)


def _table_of(parts: dict[str, tables.Answered]) -> dict[str, str]:
    return {str(domain): name for name, part in parts.items() for domain in sorted(set(part.domain.tolist()))}


def verdicts_of(chance: np.ndarray, parts: dict[str, tables.Answered]) -> dict[str, dict[str, Any]]:
    """By table: whether a prompt's own chances beat asking the strong model by lot. `chance` (N, M): of all parts' rows in turn,
    by fits that hadn't seen them.

    `learned` where the interval of APGR lies above 0.5; else `fallback`: the domain's means are used, the same for every prompt.
    """
    found: dict[str, dict[str, Any]] = {}
    start = 0
    for name, part in parts.items():
        rows = np.arange(start, start + len(part))
        start += len(part)
        gain, cheap, strong = chance[rows, 1] - chance[rows, 0], part.score[:, 0], part.score[:, 1]
        interval = interval_of(gain, cheap, strong)
        verdict = "learned" if interval.low > 0.5 else "fallback"
        found[name] = {"verdict": verdict, "apgr": interval.as_dict()}
    return found


def interval_of(
    gain: np.ndarray, cheap: np.ndarray, strong: np.ndarray, draws: int = 400
) -> measures.Interval:
    """APGR with its bootstrap interval. Shapes: (N,) each."""
    return measures.bootstrap(lambda i: measures.apgr(gain[i], cheap[i], strong[i]), len(gain), draws=draws)


def measured(router: files.Router, reader: Reader) -> dict[str, Any]:
    """The router as written, on validation rows (MT-Bench: on rows of a kind it never saw)."""
    found: dict[str, Any] = {}
    for name, split in (("mmlu", "val"), ("gsm8k", "val"), ("mt_bench", "dev")):
        part = tables.load(name, split)
        scored = router.scorer.score(router.read(part.texts, reader))
        chance = scored.chance
        gain, cheap, strong = chance[:, 1] - chance[:, 0], part.score[:, 0], part.score[:, 1]
        found[name] = {
            "apgr": interval_of(gain, cheap, strong).as_dict(), "familiar": round(float(scored.familiar.mean()), 3),
            "cpt_50": round(measures.cpt(gain, cheap, strong, 0.5), 3),
            "cpt_80": round(measures.cpt(gain, cheap, strong, 0.8), 3),
        }  # fmt: skip
        if name != "mt_bench":
            pairs = zip(router.scorer.models, chance.T, part.score.T, strict=True)
            found[name]["calibration_error"] = {
                m: round(measures.calibration_error(c, s), 4) for m, c, s in pairs
            }
    return found


def shipped_sheets(kept: Path) -> dict[str, Any]:
    """The shipped text models on the validation rows of their workloads, answers packed: model → workload → sheet. Models whose
    manifest is the one that `kept` was made from aren't asked again."""
    from modelhub.serving.runners.text import TextClassifier

    before = json.loads(kept.read_text("utf-8")) if kept.is_file() else {}
    found: dict[str, Any] = {}
    for model in ("txt-edge", "txt-base"):
        folder = artifacts.find(model)
        digest = artifacts.digest(folder / artifacts.MANIFEST)
        if before.get(model, {}).get("manifest") == digest:
            found[model] = before[model]
            continue
        classifier = TextClassifier(folder)
        found[model] = {"manifest": digest, "sheets": {}}
        for workload in datasets.TEXT_WORKLOADS:
            rows = datasets.load(workload, "val")
            answers = classifier.classify_mixed([workload] * len(rows), rows.texts)
            right = np.array(
                [answer.label == label for answer, label in zip(answers, rows.labels, strict=True)]
            )
            sure = np.array([float(answer.scores.max()) for answer in answers])
            held = np.array([answer.blocked for answer in answers])
            sheet = Sheet(right, sure, digest_of(rows.texts), held)
            found[model]["sheets"][workload] = sheet.pack()
    return found


if __name__ == "__main__":
    main()
