"""Scorers fitted on training parts and judged on validation parts, by seed; what was read of prompts is kept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from modelhub import artifacts
from modelhub.ml import datasets
from routing.learned import costs, features, fit, measures, tables, train
from routing.learned.embedding import Reader
from routing.learned.files import Router
from routing.learned.scorer import PARTS, Scorer

SEEDS = (0, 1, 2)
STRANGERS = 200  # texts of each workload
KEPT = (1.0, 0.99)  # of the best single model's accuracy


@dataclass(frozen=True, slots=True)
class Judged:
    """A validation part with each model's chance (N, M) beside what it then scored."""

    chance: np.ndarray
    score: np.ndarray
    domain: np.ndarray
    models: tuple[str, ...]
    cost: np.ndarray | None = None  # (N, M) dollars, known afterwards
    expected: np.ndarray | None = None  # (N, M) dollars, as foreseen from training rows
    train_score: np.ndarray | None = None
    train_cost: np.ndarray | None = None
    lam: np.ndarray | None = None
    chosen: dict[float, float] = field(
        default_factory=dict
    )  # share of the best single model's accuracy → λ, by training rows
    out_of_fold: dict[float, float] = field(
        default_factory=dict
    )  # the same share → cost over its cost, on training rows

    @property
    def gain(self) -> np.ndarray:
        return self.chance[:, 1] - self.chance[:, 0]


class Cache:
    """Reads prompts once: ids, means and marks lie in the home; terms are hashed anew by seed."""

    def __init__(self, reader: Reader, table: features.TokenTable) -> None:
        self.reader, self.table = reader, table
        self.folder = artifacts.home() / "bench" / "routing"
        self.folder.mkdir(parents=True, exist_ok=True)

    def table_of(self, name: str, split: str, seed: int) -> tuple[fit.Table, tables.Answered]:
        part = tables.load(name, split)
        ids, means, marks = self._read(name, split, part.texts)
        rows = features.Read([features.terms(row, seed) for row in ids], means, marks)
        return fit.Table(rows, part.domain, part.score, part.models), part

    def _read(
        self, name: str, split: str, texts: list[str]
    ) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        path = self.folder / f"{name}-{split}-{self.reader.tokens[:12]}-{self._table_digest()}.npz"
        if not path.is_file():
            whole = self.reader.ids(texts, features.MOST_CHARACTERS)
            found = features.read(texts, self.reader, self.table)
            flat = [row[1:-1][: features.MOST_TOKENS] for row in whole]
            lengths = np.array([len(row) for row in flat])
            with path.with_suffix(".part").open("wb") as stream:
                np.savez(
                    stream, ids=np.concatenate(flat), lengths=lengths, means=found.means, marks=found.marks
                )
            path.with_suffix(".part").replace(path)
        with np.load(path, allow_pickle=False) as kept:
            ids = np.split(kept["ids"], np.cumsum(kept["lengths"])[:-1])
            return ids, kept["means"], kept["marks"]

    def _table_digest(self) -> str:
        import hashlib

        return hashlib.sha256(self.table.vectors.tobytes() + self.table.weight.tobytes()).hexdigest()[:12]


def _joined(read: Cache, seed: int) -> fit.Table:
    first, second = (read.table_of(name, "train", seed)[0] for name in train.LEARNT_FROM)
    rows = features.Read(
        first.rows.terms + second.rows.terms, np.concatenate([first.rows.means, second.rows.means]),
        np.concatenate([first.rows.marks, second.rows.marks]),
    )  # fmt: skip
    domain = np.concatenate([first.domain, second.domain])
    group = np.repeat(train.LEARNT_FROM, [len(first), len(second)])
    return fit.Table(rows, domain, np.concatenate([first.score, second.score]), first.models, group)


def pair_scorers(read: Cache) -> list[tuple[int, Scorer]]:
    """The shipped recipe on its tables: folds and hashing differ by seed."""
    return [(seed, fit.fit(_joined(read, seed), seed=seed)) for seed in SEEDS]


def judge_pair(scorer: Scorer, read: Cache, name: str, seed: int) -> Judged:
    table, part = read.table_of(name, "dev" if name == "mt_bench" else "val", seed)
    return Judged(scorer.score(table.rows).chance, part.score, part.domain, part.models)


def trials(read: Cache) -> dict[str, float]:
    """APGR on MMLU's validation rows: each part alone, and the mix with what the edge student's whole graph makes of a prompt."""
    table, held = read.table_of("mmlu", "train", 0)[0], read.table_of("mmlu", "val", 0)[0]
    cheap, strong = held.score[:, 0], held.score[:, 1]
    recipe = fit.Recipe()
    unseen, _ = fit.out_of_fold(table, recipe)
    parts = fit.parts_of(table, recipe).predict(held.rows)[0]

    def reached(parts: np.ndarray, unseen: np.ndarray, recipe: fit.Recipe) -> float:
        chance = fit.mixed(unseen, table.score, recipe).chances(parts)
        return measures.apgr(chance[:, 1] - chance[:, 0], cheap, strong)

    found = {f"{name}_alone": reached(parts, unseen, replace(recipe, parts=(name,))) for name in PARTS}
    wide = [_with_embedding(read, part, split) for part, split in ((table, "train"), (held, "val"))]
    other, _ = fit.out_of_fold(wide[0], recipe)
    found["with_embedding"] = reached(fit.parts_of(wide[0], recipe).predict(wide[1].rows)[0], other, recipe)
    return found


def _with_embedding(read: Cache, table: fit.Table, split: str) -> fit.Table:
    drawn = read.reader.embed(read.reader.ids(tables.load("mmlu", split).texts, features.MOST_CHARACTERS))
    rows = features.Read(
        table.rows.terms, table.rows.means, np.concatenate([table.rows.marks, drawn], axis=1)
    )
    return fit.Table(rows, table.domain, table.score, table.models)


def tfidf() -> dict[str, list[float]]:
    """APGR on MMLU of TF-IDF with a logistic regression for the cheap model alone, and for the difference of both."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    fitted, held = tables.load("mmlu", "train"), tables.load("mmlu", "val")
    reads = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    seen, new = reads.fit_transform(fitted.texts), reads.transform(held.texts)
    chance = [
        LogisticRegression(max_iter=300).fit(seen, fitted.score[:, m]).predict_proba(new)[:, 1]
        for m in (0, 1)
    ]
    cheap, strong = held.score[:, 0], held.score[:, 1]
    return {
        "apgr_mmlu_cheap_alone": [measures.apgr(-chance[0], cheap, strong)],
        "apgr_mmlu_difference": [measures.apgr(chance[1] - chance[0], cheap, strong)],
    }


# --- many models --------------------------------------------------------------------------------------------------------


def judge_many(read: Cache, name: str, seed: int) -> Judged:
    """A scorer of every model of a table; where it has prices, the λ that keep the best single model's accuracy, or nearly,
    on training rows out of fold."""
    table, part = read.table_of(name, "train", seed)
    table = replace(table, group=table.domain)  # calibrated by set
    held, answered = read.table_of(name, "val", seed)
    recipe = fit.Recipe()
    unseen, alike = fit.out_of_fold(table, recipe, seed=seed)
    scorer = fit.fitted(table, recipe, unseen, alike)
    scored = scorer.score(held.rows)
    chance = scored.chance
    if part.cost_usd is None or answered.cost_usd is None:
        return Judged(chance, answered.score, answered.domain, part.models, train_score=part.score)
    expected_train = foreseen(part, np.searchsorted(scorer.domains, part.domain), scorer)
    lam = costs.lambdas(part.cost_usd)
    points = costs.curve(
        fit.unseen_chances(table, recipe, unseen), part.cost_usd, part.score, lam, expected_train
    )
    best = costs.best_single(part.cost_usd, part.score)
    accuracy, paid = float(part.score[:, best].mean()), float(part.cost_usd[:, best].mean())
    chosen, ratio = {}, {}
    for kept in KEPT:
        good = np.flatnonzero(points.score >= kept * accuracy)
        chosen[kept] = float(lam[good[points.cost_usd[good].argmin()]]) if len(good) else 0.0
        ratio[kept] = min(1.0, costs.cheapest_at(points, kept * accuracy) / paid)
    return Judged(
        chance, answered.score, answered.domain, part.models, answered.cost_usd,
        foreseen(part, scored.domain, scorer), part.score, part.cost_usd, lam, chosen, ratio,
    )  # fmt: skip


def foreseen(fitted: tables.Answered, domain: np.ndarray, scorer: Scorer) -> np.ndarray:
    """What each model is expected to cost for each prompt (N, M): its mean in the prompt's domain (N,), on training rows."""
    assert fitted.cost_usd is not None
    means = np.array([fitted.cost_usd[fitted.domain == d].mean(axis=0) for d in scorer.domains])
    return means[domain]


def chosen_before(judged: Judged, best: int, kept: float) -> tuple[float, float]:
    """(cost, accuracy) over the best single model's, at the λ that training rows chose to keep a share of its accuracy."""
    assert judged.cost is not None and judged.expected is not None
    points = costs.curve(
        judged.chance, judged.cost, judged.score, np.array([judged.chosen[kept]]), judged.expected
    )
    cost, score = judged.cost[:, best].mean(), judged.score[:, best].mean()
    return float(points.cost_usd[0] / cost), float(points.score[0] / score)


def strangers(router: Router, reader: Reader) -> float:
    """Per cent of the workloads' texts that the shipped router takes for prompts like its own."""
    texts = [t for w in datasets.TEXT_WORKLOADS for t in datasets.load(w, "val").texts[:STRANGERS]]
    return 100 * float(router.scorer.score(router.read(texts, reader)).familiar.mean())
