"""Traffic of companies whose every answer is known: under one policy, then another, with the mix moved as well.

A period of requests is drawn from a world (bench.tools.planted_worlds), routed by the real engine, and told as decision records
are.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import orjson
from numpy.typing import NDArray

from bench.tools.planted_worlds import NODE as NODE
from bench.tools.planted_worlds import Work, World
from bench.tools.planted_worlds import deployment as deployment
from bench.tools.planted_worlds import made_world as made_world
from bench.tools.planted_worlds import table_world as table_world
from routing.contracts import Facts
from routing.policy.document import parse_document
from routing.policy.engine import CompiledPolicies, Rollout
from routing.policy.facts import whole
from routing.whatif.basis import Target, Used
from routing.whatif.columns import Row
from routing.whatif.plans import Arm
from routing.whatif.prices import Prices
from routing.whatif.replay import Question

Floats = NDArray[np.float64]
START = datetime(2026, 10, 5, tzinfo=UTC)
LOB = "research"
FEEDBACK_SHARE = 0.3
EVALUATED = 600  # rows a deployment and workload
INVARIANTS = """\
invariants:
  - name: confidential data stays home
    never: data.sensitivity >= confidential && target.side == "external"
"""


# ------------------------------------------------------------------ traffic
@dataclass(frozen=True)
class Mix:
    """Requests a day, and how much each workload and each application asks."""

    per_day: int
    works: Floats
    domains: Floats  # (works, 4)


def usual_mix(world: World, per_day: int, random: np.random.Generator) -> Mix:
    n = len(world.works)
    return Mix(per_day, random.dirichlet(np.full(n, 8.0)), random.dirichlet(np.full(4, 8.0), n))


def moved_mix(mix: Mix, random: np.random.Generator, by: float = 0.4) -> Mix:
    """Another season: volumes and shares change by a factor of about e^by."""
    works = mix.works * np.exp(random.normal(0, by, mix.works.shape))
    domains = mix.domains * np.exp(random.normal(0, by, mix.domains.shape))
    volume = int(mix.per_day * np.exp(random.normal(0, by)))
    return Mix(max(200, volume), works / works.sum(), domains / domains.sum(1, keepdims=True))


@dataclass
class Period:
    """A period's records, judgements, and the whole truth of it."""

    rows: list[Row]
    judged: dict[str, tuple[int, int]]
    cost: int = 0
    right: float = 0.0
    requests: int = 0
    asked: list[tuple[int, int]] = field(default_factory=list)  # (work, prompt) of each

    @property
    def mean_cost(self) -> float:
        return self.cost / self.requests

    @property
    def accuracy(self) -> float:
        return self.right / self.requests


def live_period(
    world: World, policy: CompiledPolicies, mix: Mix, *, first_day: int, days: int, random: np.random.Generator
) -> Period:  # fmt: skip
    """Requests of some days as that policy sends them. Each day has moods of its own: shares and domains wander."""
    period = Period([], {})
    for day in range(first_day, first_day + days):
        works = mix.works * np.exp(random.normal(0, 0.15, mix.works.shape))
        domains = mix.domains * np.exp(random.normal(0, 0.15, mix.domains.shape))
        count = random.poisson(mix.per_day)
        seconds = np.sort(random.beta(2.5, 2.0, count)) * 86_400
        drawn = random.choice(len(works), count, p=works / works.sum())
        prompts = np.zeros(count, np.int64)
        for w, work in enumerate(world.works):
            weight = (domains[w] / domains[w].sum())[work.domain]
            mine = drawn == w
            prompts[mine] = random.choice(work.prompts, int(mine.sum()), p=weight / weight.sum())
        for w, i, second in zip(drawn.tolist(), prompts.tolist(), seconds.tolist(), strict=True):
            ask(world, policy, period, w, i, START + timedelta(days=day, seconds=second), random)
    return period


def ask(
    world: World, policy: CompiledPolicies, period: Period, w: int, i: int, at: datetime, random: np.random.Generator
) -> None:  # fmt: skip
    work, number = world.works[w], len(period.asked)
    pk = f"dec_{int(at.timestamp() * 1e6):016x}{number:06d}"
    known = [d for d in world.deployments if d.name in work.right]
    worst = {d.name: 2 * world.cost(work, d.name, i) + 1 for d in known}
    facts = facts_of(world, w, i, at)
    decision = policy.decide(Facts(facts), known, lob=LOB, worst_case=worst, sticky=pk)
    assert decision.hops, decision.refusal
    name = decision.hops[0].deployment
    cost = world.cost(work, name, i)
    ms = float(work.tokens_out[name][i]) * 8 + 40
    attempt = {
        "deployment": name, "status": "ok", "tokens_in": int(work.tokens_in[name][i]),
        "tokens_out": int(work.tokens_out[name][i]), "duration_ms": ms, "cost_nusd": cost,
        "accelerator_ns": int(work.nanoseconds[name][i]) if world.deployment(name).rate else 0,
    }  # fmt: skip
    candidates = [
        {"deployment": d.name, "side": d.side, "eligible": True, "reasons": [], "cost_nusd": worst[d.name]}
        for d in known
    ]
    detail = orjson.dumps({"facts": facts, "candidates": candidates, "attempts": [attempt], "shadow": None})
    period.rows.append((pk, at, LOB, work.name, name, 200, "", cost, ms, 1, detail))
    period.asked.append((w, i))
    right = float(work.right[name][i])
    if random.random() < FEEDBACK_SHARE:
        period.judged[pk] = (1, int(right))
    period.cost, period.right, period.requests = period.cost + cost, period.right + right, period.requests + 1


def facts_of(world: World, w: int, i: int, at: datetime) -> dict[str, dict[str, object]]:
    work = world.works[w]
    held = zlib.crc32(f"{work.name}{i}".encode()) % 1_000 < 1_000 * world.private_share
    return whole(
        {
            "workload": {"name": work.name, "task": "chat", "tier": "edge", "sensitivity": "internal"},
            "request": {"tokens_in": int(work.size[i]), "difficulty": float(work.difficulty[i]), "language": "en",
                        "max_tokens": 512},
            "lob": {"slug": LOB, "application": f"app-{work.domain[i]}"},
            "data": {"sensitivity": "confidential" if held else "internal"},
            "time": {"hour": at.hour, "weekday": at.weekday()},
        }
    )  # fmt: skip


# ------------------------------------------------------------------ policies
def policy_text(parts: Sequence[Rules]) -> str:
    """An organisation's document: what must stay first, then these (condition, route) rules, then the private one."""
    rules = [rule for part in parts for rule in part]
    lines = [
        INVARIANTS,
        "rules:",
        "  - {name: stays, when: 'data.sensitivity >= confidential', route: {prefer: [private-mid]}}",
    ]
    lines += [
        f"  - {{name: rule {i}, when: '{when}', route: {route}}}" for i, (when, route) in enumerate(rules)
    ]
    return "\n".join([*lines, "default: {prefer: [private-mid]}", ""])


Rules = list[tuple[str, str]]


def drawn_rules(world: World, random: np.random.Generator) -> list[Rules]:
    """A policy as administrators write them, a workload at a time."""
    return [_drawn_for(work, world, random) for work in world.works]


def changed_rules(world: World, old: Sequence[Rules], random: np.random.Generator) -> list[Rules]:
    """Another version: about half of the workloads, one at least, are sent by new rules."""
    chosen = random.random(len(old)) < 0.5
    chosen[random.integers(0, len(old))] = True
    return [
        _drawn_for(work, world, random) if new else rules
        for work, rules, new in zip(world.works, old, chosen, strict=True)
    ]


def _drawn_for(work: Work, world: World, random: np.random.Generator) -> Rules:
    """By size, difficulty or hour, or all alike; one target, a split, or the cheapest."""
    rules = []
    able = [d.name for d in world.deployments if d.name in work.right]
    condition = f'workload.name == "{work.name}"'
    kind = random.integers(0, 4)
    if kind == 1:
        condition += f" && request.tokens_in > {int(np.quantile(work.size, random.uniform(0.3, 0.7)))}"
    elif kind == 2:
        condition += f" && request.difficulty >= {np.quantile(work.difficulty, random.uniform(0.3, 0.7)):.3f}"
    elif kind == 3:
        condition += f" && time.hour >= {int(random.integers(9, 18))}"
    rules.append((condition, _drawn_route(able, random)))
    if kind:
        rules.append((f'workload.name == "{work.name}"', _drawn_route(able, random)))
    return rules


def _drawn_route(able: Sequence[str], random: np.random.Generator) -> str:
    names = [str(name) for name in random.permutation(able)]
    kind = random.integers(0, 3)
    if kind == 0 or len(names) < 2:
        return f"{{prefer: [{', '.join(names[:2])}]}}"
    if kind == 1:
        share = round(float(random.uniform(0.1, 0.9)), 2)
        return f"{{split: {{{names[0]}: {share}, {names[1]}: {round(1 - share, 2)}}}}}"
    return f"{{choose: cheapest, among: [{', '.join(names)}]}}"


def compiled(text: str) -> CompiledPolicies:
    return CompiledPolicies(Rollout(parse_document(text, organisation=True, label="org@1", strict=False)))


def question_of(world: World, before: str, after: str, random: np.random.Generator) -> Question:
    """What-if's question, with an evaluation of every deployment that could answer on rows drawn apart."""
    evaluated: dict[str, dict[str, tuple[int, int]]] = {}
    used: dict[str, dict[str, Used]] = {}
    for work in world.works:
        for name, right in work.right.items():
            rows = random.integers(0, work.prompts, EVALUATED)
            evaluated.setdefault(name, {})[work.name] = (int(right[rows].sum()), EVALUATED)
            used.setdefault(name, {})[work.name] = Used(
                EVALUATED, int(work.size[rows].sum()), int(work.tokens_in[name][rows].sum()),
                int(work.tokens_out[name][rows].sum()),
            )  # fmt: skip
    deployments = [
        replace(d, quality={w: (c / n, n) for w, (c, n) in evaluated.get(d.name, {}).items()})
        for d in world.deployments
    ]
    parse = [parse_document(text, organisation=True, label=label, strict=False)
             for text, label in ((before, "org@1"), (after, "org@2"))]  # fmt: skip
    sheets = {d.name: d.prices for d in deployments if d.prices is not None}
    return Question(
        before=Arm([(1.0, parse[0])], {}), after=Arm([(1.0, parse[1])], {}), deployments=deployments,
        targets=[
            Target(d.name, d.side, d.usual_accelerator_ns, evaluated.get(d.name, {}), used.get(d.name, {})) for d in deployments
        ],
        prices=Prices([sheets], sheets, {d.name: d.rate for d in deployments if d.rate is not None}),
    )  # fmt: skip


def counterfactual(
    world: World, policy: CompiledPolicies, period: Period, at: Sequence[datetime]
) -> tuple[float, float]:
    """(mean cost, accuracy) had this policy decided exactly the period's requests: every answer is known."""
    other = Period([], {})
    random = np.random.default_rng(0)
    for (w, i), moment in zip(period.asked, at, strict=True):
        ask(world, policy, other, w, i, moment, random)
    return other.mean_cost, other.accuracy
