"""Learned routing on tables of who answered what right, and cascades on the text workloads, beside what they must beat.

Everything is fitted on training parts and judged on validation parts, three seeds each; intervals are bootstraps of validation
rows. What was read of the prompts is kept in $SWITCHYARD_HOME/bench/routing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from bench.common import Results, Row
from bench.tools import routing_cascades, routing_tables
from bench.tools.routing_tables import SEEDS, Judged
from modelhub import artifacts
from routing.learned import costs, measures, tables, train
from routing.learned.embedding import Reader
from routing.learned.files import Router, load
from routing.learned.live import ENOUGH_CHARACTERS

LEAST_APGR, MOST_COST, MOST_MS = 0.65, 0.85, 1.0
ENOUGH_ROWS = 1_000


def main() -> None:
    results = Results("routing")
    reader = Reader()
    router = load(artifacts.find(train.ID) / train.FILE)
    read = routing_tables.Cache(reader, router.table)
    pairs = routing_tables.pair_scorers(read)
    for name in ("mmlu", "gsm8k", "mt_bench"):
        pair_rows(
            results, name, [routing_tables.judge_pair(scorer, read, name, seed) for seed, scorer in pairs]
        )
    parts_rows(results, read)
    tfidf_rows(results)
    try:
        many_rows(results, read)
    except FileNotFoundError as error:
        for metric in ("cost_at_equal_accuracy_routerbench", "score_above_mixing_open_7b"):
            results.not_run(metric, "", f"the table isn't here ({error.filename}); set SWITCHYARD_DATA")
    shipped_rows(results, router, reader)
    time_row(results, router, reader)
    routing_cascades.rows(results)
    results.write()


def interval_row(
    results: Results, metric: str, values: list[float], interval: measures.Interval, unit: str, how: str, *,
    target: str | None = None, met: bool | None = None, control: bool = False,
) -> None:  # fmt: skip
    """The median of three seeds with the interval over rows of the first."""
    value = float(statistics.median(values))
    seeds = ", ".join(f"{v:.4g}" for v in values)
    words = f"{how}; by seed {seeds}; low and high: 95 % interval over {interval.n:,} rows (bootstrap, first seed)"
    row = Row(
        metric,
        _short(value),
        unit,
        _short(interval.low),
        _short(interval.high),
        interval.n,
        words,
        target,
        met,
    )
    results.put(row, control=control)


def _short(value: float) -> float:
    return float(f"{value:.4g}")


# --- two models: cheap and strong ---------------------------------------------------------------------------------------


def pair_rows(results: Results, name: str, judged: list[Judged]) -> None:
    """APGR, CPT, what knowing the subject alone gives, calibration, cost at the strong model's accuracy."""
    first = judged[0]
    cheap, strong, n = first.score[:, 0], first.score[:, 1], len(first.score)
    gains = [j.gain for j in judged]
    interval = train.interval_of(gains[0], cheap, strong)
    of = f"{name}, {n:,} validation rows, fitted on MMLU and GSM8K training rows"
    values = [measures.apgr(gain, cheap, strong) for gain in gains]
    if name == "mmlu":
        met = statistics.median(values) >= LEAST_APGR
        interval_row(
            results,
            "apgr_mmlu",
            values,
            interval,
            "",
            f"{of}; random 0.5",
            target=f">= {LEAST_APGR:g}",
            met=met,
        )
    else:
        interval_row(
            results, f"apgr_{name}", values, interval, "", f"{of}; random 0.5; under 1,000 rows: no target"
        )
    above = interval.low > 0.5
    results.put(
        Row(
            f"above_random_{name}",
            _short(interval.low - 0.5),
            "",
            None,
            None,
            n,
            "lower bound of APGR less random's 0.5",
            "> 0" if n >= ENOUGH_ROWS else None,
            above if n >= ENOUGH_ROWS else None,
        )  # fmt: skip
    )
    for share in (0.5, 0.8):
        _interval_of(
            results, f"cpt_{share * 100:.0f}_{name}", gains, n,
            lambda i, gain, share=share: measures.cpt(gain[i], cheap[i], strong[i], share), "",
            f"{of}: share of strong calls that recovers {share:.0%} of the gap; random {share:g}",
        )  # fmt: skip
    oracle = measures.apgr(strong - cheap, cheap, strong)
    best = np.maximum(cheap, strong).mean()
    results.add(f"apgr_oracle_{name}", [oracle], "", f"{of}: who knows each outcome; right {best:.1%}, the strong model "
                f"{strong.mean():.1%}, the cheap one {cheap.mean():.1%}", control=True)  # fmt: skip
    if name == "mmlu":
        within_rows(results, judged, of)
    if name != "mt_bench":
        errors = [
            max(measures.calibration_error(j.chance[:, m], j.score[:, m]) for m in (0, 1)) for j in judged
        ]
        noise = max(measures.calibration_noise(first.chance[:, m]) for m in (0, 1))
        results.add(f"calibration_error_{name}", errors, "", f"{of}: the worse of both models, ten equal bins; perfectly "
                    f"calibrated chances show {noise:.3f} on as many rows", control=True)  # fmt: skip


def within_rows(results: Results, judged: list[Judged], of: str) -> None:
    """The subject's share of it: the router's own mean of each subject, and what is left inside subjects."""
    first = judged[0]
    cheap, strong, subject = first.score[:, 0], first.score[:, 1], first.domain
    means = [measures.group_means(j.gain, subject) for j in judged]
    rest = [j.gain - mean for j, mean in zip(judged, means, strict=True)]
    for metric, gains, words in (
        (
            "apgr_mmlu_subject_means",
            means,
            "the router's mean of each true subject, the same for all of its prompts",
        ),
        (
            "apgr_mmlu_within_subjects",
            rest,
            "what is left of its score once each subject's mean is taken away",
        ),
    ):
        interval = train.interval_of(gains[0], cheap, strong)
        values = [measures.apgr(gain, cheap, strong) for gain in gains]
        interval_row(results, metric, values, interval, "", f"{of}: {words}; random 0.5", control=True)
    helped = (strong > cheap).astype(int)
    wrong = (cheap < 1).astype(int)
    for metric, positive, scores, words in (
        ("auc_within_subject_gain", helped, [j.gain for j in judged], "the strong model alone is right"),
        (
            "auc_within_subject_difficulty",
            wrong,
            [1 - j.chance[:, 0] for j in judged],
            "the cheap model is wrong",
        ),
    ):
        _interval_of(
            results, metric, scores, len(helped),
            lambda i, s, p=positive: measures.auc_within(s[i], p[i], subject[i]), "",
            f"{of}: pairs of prompts of one subject, one where {words} and one where not; 0.5 = the subject is all it knows",
            control=True, draws=200,
        )  # fmt: skip


def _interval_of(
    results: Results, metric: str, scores: list[np.ndarray], n: int, measure: Callable[..., float], unit: str, how: str, *,
    control: bool = False, draws: int = 400,
) -> None:  # fmt: skip
    interval = measures.bootstrap(lambda i: measure(i, scores[0]), n, draws=draws)
    values = [measure(np.arange(n), score) for score in scores]
    interval_row(results, metric, values, interval, unit, how, control=control)


def parts_rows(results: Results, read: routing_tables.Cache) -> None:
    """Each part alone and the mix without it, by APGR on MMLU's validation rows (one seed)."""
    for label, found in routing_tables.trials(read).items():
        results.add(
            f"apgr_mmlu_{label}",
            [found],
            "",
            "MMLU validation rows, one seed: what a part is worth",
            control=True,
        )


def tfidf_rows(results: Results) -> None:
    """The plain baselines: TF-IDF and logistic regression."""
    for label, values in routing_tables.tfidf().items():
        results.add(
            f"tfidf_{label}",
            values,
            "",
            "TF-IDF (words, pairs) and a logistic regression a model",
            control=True,
        )


# --- many models --------------------------------------------------------------------------------------------------------


def many_rows(results: Results, read: routing_tables.Cache) -> None:
    """RouterBench (prices) and seven open models (no prices): measured only, nothing of them is shipped."""
    judged = [routing_tables.judge_many(read, "routerbench", seed) for seed in SEEDS]
    first = judged[0]
    assert first.cost is not None and first.train_cost is not None and first.train_score is not None
    n = len(first.score)
    best = costs.best_single(first.train_cost, first.train_score)
    of = f"RouterBench, {n} validation rows, 11 models; best single model on training rows: {first.models[best]}"

    def ratio(rows: np.ndarray, j: Judged) -> float:
        """Cost at the best single model's accuracy, over its cost; the threshold was chosen on training rows."""
        score, cost = j.score[rows], j.cost[rows]
        points = costs.curve(j.chance[rows], cost, score, j.lam, j.expected[rows])
        return costs.cheapest_at(points, float(score[:, best].mean())) / float(cost[:, best].mean())

    swept = [ratio(np.arange(n), j) for j in judged]
    interval = measures.bootstrap(lambda i: ratio(i, first), n, draws=200)
    interval_row(
        results, "cost_at_equal_accuracy_routerbench", swept, interval, "x",
        f"{of}; least cost along the router's curve at its accuracy, over its cost", target=f"<= {MOST_COST:g}",
        met=statistics.median(swept) <= MOST_COST,
    )  # fmt: skip
    for kept in routing_tables.KEPT:
        told = f"{of}; λ chosen on training rows out of fold to keep {kept:.0%} of its accuracy, and not touched since"
        for metric, at in (("cost_share", 0), ("accuracy_share", 1)):
            values = [routing_tables.chosen_before(j, best, kept)[at] for j in judged]
            name = f"routerbench_threshold_{kept * 100:.0f}_from_training_{metric}"
            results.add(name, values, "x", told, control=True)
    words = "on the 1,916 training rows, out of fold: 1 where accuracy can't be kept for less and the best single model is used"
    ratios = [j.out_of_fold[1.0] for j in judged]
    results.add("routerbench_cost_at_equal_accuracy_out_of_fold", ratios, "x", words, control=True)
    ratios = [j.out_of_fold[0.99] for j in judged]
    results.add(
        "routerbench_cost_at_99_accuracy_out_of_fold",
        ratios,
        "x",
        f"{words}; at 99 % of its accuracy",
        control=True,
    )
    mean_cost, mean_score = first.cost.mean(axis=0), first.score.mean(axis=0)
    oracle = costs.curve(first.score, first.cost, first.score, first.lam)
    share = costs.cheapest_at(oracle, float(mean_score[best])) / float(mean_cost[best])
    results.add("routerbench_oracle_cost", [share], "x", f"{of}: who knows each outcome", control=True)
    mixing = costs.hull_cost(mean_cost, mean_score, float(mean_score[best])) / float(mean_cost[best])
    results.add(
        "routerbench_random_mixing_cost", [mixing], "x", f"{of}: single models mixed by lot", control=True
    )
    above_rows(results, "routerbench", judged)
    open_rows(results, [routing_tables.judge_many(read, "open_7b", seed) for seed in SEEDS])


def above_rows(results: Results, name: str, judged: list[Judged]) -> None:
    """Mean score above random mixing of single models at equal cost, over the whole range of costs."""

    def above(rows: np.ndarray, j: Judged) -> float:
        assert j.cost is not None
        score, cost = j.score[rows], j.cost[rows]
        points = costs.curve(j.chance[rows], cost, score, j.lam[::4], j.expected[rows])
        return 100 * costs.area_over_mixing(points, cost.mean(axis=0), score.mean(axis=0))

    n = len(judged[0].score)
    interval = measures.bootstrap(lambda i: above(i, judged[0]), n, draws=200)
    values = [above(np.arange(n), j) for j in judged]
    interval_row(results, f"score_above_mixing_{name}", values, interval, "pt", f"{name}, {n} rows: score above random "
                 "mixing at equal cost, mean over costs", target="> 0 with its interval", met=interval.low > 0)  # fmt: skip


def open_rows(results: Results, judged: list[Judged]) -> None:
    """No prices: the likeliest model of each prompt against the best single one, and by set."""

    def gained(rows: np.ndarray, j: Judged) -> float:
        single = int(j.train_score.mean(axis=0).argmax())
        picks = j.chance[rows].argmax(axis=1)
        return 100 * float((j.score[rows, picks] - j.score[rows, single]).mean())

    n = len(judged[0].score)
    interval = measures.bootstrap(lambda i: gained(i, judged[0]), n, draws=400)
    values = [gained(np.arange(n), j) for j in judged]
    first = judged[0]
    best, mean = first.score.max(axis=1).mean(), first.score.mean()
    interval_row(
        results, "score_above_mixing_open_7b", values, interval, "pt",
        f"seven open models, {n:,} validation rows: the likeliest model's score above the best single one's; one drawn by lot "
        f"{100 * mean:.1f}, best single {100 * first.score[:, int(first.train_score.mean(axis=0).argmax())].mean():.1f}, oracle "
        f"{100 * best:.1f}", target="> 0 with its interval", met=interval.low > 0,
    )  # fmt: skip
    for domain in np.unique(first.domain):
        rows = np.flatnonzero(first.domain == domain)
        results.add(f"score_above_single_open_7b_{domain}", [gained(rows, j) for j in judged], "pt", f"{len(rows)} rows of "
                    f"{domain}", control=True)  # fmt: skip


# --- what is shipped ----------------------------------------------------------------------------------------------------


def shipped_rows(results: Results, router: Router, reader: Reader) -> None:
    """The artifact as it is read: its verdicts, and how many strangers it takes for familiar."""
    manifest = artifacts.load_manifest(artifacts.find(train.ID))
    for name, found in manifest["verdicts"].items():
        apgr = found["apgr"]
        results.add(f"shipped_apgr_out_of_fold_{name}", [apgr["value"]], "", f"read from the manifest: {found['verdict']} "
                    f"({apgr['low']:.3f}–{apgr['high']:.3f}, {apgr['n']:,} training rows)", control=True)  # fmt: skip
    strangers = routing_tables.strangers(router, reader)
    results.add("shipped_strangers_taken_for_familiar_pct", [strangers], "%", "texts of the six "
                "workloads, on which it should say nothing", control=True)  # fmt: skip


def time_row(results: Results, router: Router, reader: Reader) -> None:
    """Reading and scoring one prompt, one at a time; the median of prompts, three rounds. CPU time, since the web process's one
    thread pays it; the wall clock stands beside it."""
    texts = tables.load("mmlu", "val").texts[:400]
    rounds, walls = [], []
    for _ in range(3):
        cpu, wall = [], []
        for text in texts:
            began, told = time.process_time(), time.perf_counter()
            router.scorer.score(router.read([text[:ENOUGH_CHARACTERS]], reader))
            cpu.append((time.process_time() - began) * 1e3)
            wall.append((time.perf_counter() - told) * 1e3)
        rounds.append(statistics.median(cpu))
        walls.append(statistics.median(wall))
    how = "MMLU prompts, one at a time, reading included; median of 400"
    results.add("router_ms", rounds, "ms", f"CPU time, {how}", at_most=MOST_MS)
    results.add("router_wall_ms", walls, "ms", f"wall clock, {how}", control=True)


if __name__ == "__main__":
    main()
