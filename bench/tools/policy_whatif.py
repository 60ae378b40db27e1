"""Rows of policy.json on foresight and publishing: what-ifs held against the truth over planted changes of policy and mix, how
fast they replay, and how soon every process is on a new version.

The truth is known: public tables tell for every prompt what each model would have answered and cost (`$SWITCHYARD_DATA`, else the
made world). Each change is a company's fortnight under one policy and a week under another, with volumes and shares moved.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np

from bench.common import FULL, ROOT, Results
from bench.tools import planted_policies as planted
from bench.tools.publishing import watched

CHANGES = 20
SEED = 20_261
PER_DAY = 900
OLD_DAYS, NEW_DAYS = 14, 7
RECORDS = 1_000_000 if FULL else 300_000
LEAST_ROWS_PER_S = 1_000_000 / 60
PROCESSES, ROUNDS = 3, 9
METRICS = (
    "whatif_cost_error_pct",
    "whatif_interval_coverage",
    "whatif_rows_per_s",
    "publish_to_all_s",
    "publish_errors",
)


@dataclass(frozen=True)
class Change:
    """One planted change. Errors of the next period on its own mix, and of the same requests under the new policy."""

    cost_error_pct: float
    accuracy_error: float  # points
    cost_held: bool
    accuracy_held: bool
    same_cost_error_pct: float
    same_accuracy_error: float
    mix_pct: float  # what the mix alone did to the cost of a request
    crossings: int


def rows(results: Results) -> None:
    _foresight(results)
    _speed(results)
    _publishing(results)


def _world() -> tuple[planted.World, str]:
    folder = Path(os.environ.get("SWITCHYARD_DATA", ""))
    if os.environ.get("SWITCHYARD_DATA") and (folder / "routing").is_dir():
        return planted.table_world(folder), "RouterBench's three sets, MMLU and GSM8K"
    return planted.made_world(), "made prompts"


def _foresight(results: Results) -> None:
    world, source = _world()
    found = [planted_change(world, number) for number in range(CHANGES)]
    how = (
        f"{CHANGES} planted changes of policy and mix on {source}: {OLD_DAYS} days of {PER_DAY} requests a day under one policy "
        f"foretell {NEW_DAYS} days under another; feedback on {planted.FEEDBACK_SHARE:.0%}, {planted.EVALUATED} evaluated rows"
    )
    cost = [c.cost_error_pct for c in found]
    _mean(
        results,
        "whatif_cost_error_pct",
        [abs(c) for c in cost],
        "%",
        f"mean |expected − true| ÷ true cost a request; {how}",
        at_most=5,
    )
    held = [float(c.cost_held) for c in found] + [float(c.accuracy_held) for c in found]
    share = 100 * sum(held) / len(held)
    results.add(
        "whatif_interval_coverage", [share], "%",
        f"90 % intervals of cost and accuracy that held the truth, {len(held)} of them, to be 85 to 95; {how}",
        at_least=85,
    )  # fmt: skip
    _mean(results, "whatif_accuracy_error_points", [abs(c.accuracy_error) for c in found], "points",
          f"mean |expected − true| share of right answers; {how}", at_most=1)  # fmt: skip
    controls = {
        "whatif_cost_bias_pct": ("%", cost, "the same with its sign: systematic if far from 0"),
        "whatif_same_requests_cost_error_pct": ("%", [abs(c.same_cost_error_pct) for c in found],
                                                "the fortnight's own requests, had the other policy decided them"),
        "whatif_same_requests_accuracy_error_points": (
            "points", [abs(c.same_accuracy_error) for c in found], "the same for right answers"
        ),
        "whatif_mix_effect_pct": ("%", [abs(c.mix_pct) for c in found], "what another mix alone did to the cost of a request"),
        "whatif_cost_coverage": ("%", [100 * float(np.mean([c.cost_held for c in found]))], "of the cost's intervals alone"),
        "whatif_accuracy_coverage": ("%", [100 * float(np.mean([c.accuracy_held for c in found]))], "of accuracy's alone"),
        "whatif_crossings": ("requests", [float(sum(c.crossings for c in found))], "hops an invariant forbids, over all changes"),
    }  # fmt: skip
    for name, (unit, values, words) in controls.items():
        _mean(results, name, values, unit, f"mean over the changes: {words}", control=True)


def _mean(
    results: Results, metric: str, values: list[float], unit: str, how: str, *, at_most: float | None = None,
    control: bool = False,
) -> None:  # fmt: skip
    """One figure over the changes: their mean, with the range between changes in words."""
    said = f"{how}; single changes {min(values):.2f} to {max(values):.2f}, median {np.median(values):.2f}"
    results.add(metric, [float(np.mean(values))], unit, said, at_most=at_most, control=control)


def planted_change(world: planted.World, number: int, *, per_day: int = PER_DAY) -> Change:
    """Seeded: the same number is the same change."""
    from routing.whatif.movers import crossings
    from routing.whatif.replay import replay
    from routing.whatif.truth import hold_against

    random = np.random.default_rng([SEED, number])
    old_rules = planted.drawn_rules(world, random)
    before, after = (
        planted.policy_text(old_rules),
        planted.policy_text(planted.changed_rules(world, old_rules, random)),
    )
    question = planted.question_of(world, before, after, random)
    mix = planted.usual_mix(world, per_day, random)
    old = planted.live_period(world, planted.compiled(before), mix, first_day=0, days=OLD_DAYS, random=random)
    new = planted.live_period(
        world,
        planted.compiled(after),
        planted.moved_mix(mix, random),
        first_day=OLD_DAYS,
        days=NEW_DAYS,
        random=random,
    )
    judged = old.judged | new.judged
    boundary = planted.START + timedelta(days=OLD_DAYS)
    reader = question.reader(since=planted.START, until=boundary, judged=lambda pk: judged.get(pk, (0, 0)))
    reader.read(old.rows)
    found = replay(question, reader.traffic())
    totals = {name: float(values[0].sum()) for name, values in found.after.estimate.totals.items()}
    true_cost, true_accuracy = planted.counterfactual(
        world, planted.compiled(after), old, [row[1] for row in old.rows]
    )
    both = question.reader(since=planted.START, until=boundary, judged=lambda pk: judged.get(pk, (0, 0)))
    both.read(old.rows)
    both.go_on(boundary, first=OLD_DAYS, blocks=NEW_DAYS)
    both.read(new.rows)
    means = hold_against(question, both.traffic(), OLD_DAYS).measures["", ""]
    cost, accuracy = means["cost"], means["accuracy"]
    return Change(
        cost_error_pct=100 * (float(cost.expected[0]) - new.mean_cost) / new.mean_cost,
        accuracy_error=100 * (float(accuracy.expected[0]) - new.accuracy),
        cost_held=bool(cost.held), accuracy_held=bool(accuracy.held),
        same_cost_error_pct=100 * (totals["cost"] / totals["n"] - true_cost) / true_cost,
        same_accuracy_error=100 * (totals["right"] / totals["judgeable"] - true_accuracy),
        mix_pct=100 * float(cost.expected[0] - cost.predicted[0]) / float(cost.predicted[0]),
        crossings=crossings(found)["requests"],
    )  # fmt: skip


def _speed(results: Results) -> None:
    with tempfile.TemporaryDirectory(prefix="sy-whatif-", dir="/tmp") as home:
        env = os.environ | {
            "SWITCHYARD_HOME": home, "DJANGO_SETTINGS_MODULE": "switchyard.settings.dev", "OMP_NUM_THREADS": "1",
            "SWITCHYARD_UPSTREAM_CIDRS": "127.0.0.0/8", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
        }  # fmt: skip
        env.pop("DATABASE_URL", None)
        done = subprocess.run(
            [sys.executable, "-m", "bench.tools.whatif_speed", str(RECORDS)], env=env, cwd=ROOT, capture_output=True,
            timeout=1_800,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr.decode()[-2000:])
    told = json.loads(done.stdout.splitlines()[-1])
    results.add(
        "whatif_rows_per_s", [told["rows_per_s"]], "rows/s",
        f"{told['records']:,} records of 14 days from SQLite to the whole report with intervals, one process; "
        f"{told['distinct']:,} combinations of facts decided", at_least=LEAST_ROWS_PER_S,
    )  # fmt: skip
    results.add(
        "whatif_seconds",
        [told["seconds"]],
        "s",
        f"the whole report over {told['records']:,} records",
        control=True,
    )


def _publishing(results: Results) -> None:
    told = watched(PROCESSES, ROUNDS)
    results.add(
        "publish_to_all_s", told.seconds, "s",
        f"from the commit until each of {PROCESSES} gateway processes has answered with the new version; {ROUNDS} changes, every "
        "third a rollback, under nine callers", at_most=2,
    )  # fmt: skip
    results.add(
        "publish_to_all_slowest_s",
        [max(told.seconds)],
        "s",
        "the slowest change of those",
        at_most=2,
        control=True,
    )
    results.add(
        "publish_errors",
        [float(len(told.failures))],
        "requests",
        f"failed of {told.requests:,} requests meanwhile",
        at_most=0,
    )
    results.add(
        "publish_nameless",
        [float(told.nameless)],
        "responses",
        "that did not say their version",
        at_most=0,
        control=True,
    )
    results.add("publish_went_back", [float(told.went_back)], "responses",
                "of the version before after a newer one in the same process", at_most=0, control=True)  # fmt: skip
