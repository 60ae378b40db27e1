"""Companies whose every answer is known on both sides: traffic under one policy, then another, with the mix moved as well.

Two worlds: `table_world` (public tables of what each model answered to each prompt and what it cost) and `made_world` (seeded,
needs no data). A period of requests is drawn from a world, routed by the real engine, and told as decision records are.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from costs import pricing
from costs.contracts import NodeRate, PriceSheet, Usage
from routing.contracts import DeploymentInfo, Facts
from routing.inspection.difficulty import difficulty
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


@dataclass(frozen=True)
class Work:
    """One workload's prompts: facts and, by deployment, what each would have come to. Arrays over prompts."""

    name: str
    size: NDArray[np.int64]
    difficulty: Floats
    domain: NDArray[np.int64]
    right: Mapping[str, Floats]
    tokens_in: Mapping[str, NDArray[np.int64]]
    tokens_out: Mapping[str, NDArray[np.int64]]
    nanoseconds: Mapping[str, NDArray[np.int64]]

    @property
    def prompts(self) -> int:
        return len(self.size)


@dataclass(frozen=True)
class World:
    works: Sequence[Work]
    deployments: Sequence[DeploymentInfo]
    private_share: float = 0.06  # of the prompts that are confidential
    names: dict[str, DeploymentInfo] = field(default_factory=dict)

    def deployment(self, name: str) -> DeploymentInfo:
        return next(d for d in self.deployments if d.name == name)

    def cost(self, work: Work, name: str, i: int) -> int:
        target = self.deployment(name)
        used = Usage(
            int(work.tokens_in[name][i]), int(work.tokens_out[name][i]), accelerator_ns=int(work.nanoseconds[name][i])
        )  # fmt: skip
        return pricing.cost_of(used, prices=target.prices, rate=target.rate)


def deployment(name: str, price: PriceSheet | NodeRate, works: Sequence[Work] = ()) -> DeploymentInfo:
    private = isinstance(price, NodeRate)
    usual = {w.name: int(np.mean(w.nanoseconds[name])) for w in works if private and name in w.nanoseconds}
    return DeploymentInfo(
        name=name, organisation_id=1, side="private" if private else "external", base_url="http://127.0.0.1:9/v1",
        api_key="", model=name, tasks=frozenset({"chat"}), lobs=frozenset(), region="", max_output_tokens=512,
        max_concurrency=8, heads=False, prices=None if private else price, rate=price if private else None,  # type: ignore[arg-type]
        usual_accelerator_ns=usual,
    )  # fmt: skip


# ------------------------------------------------------------------ worlds
NODE = NodeRate("node@1", "node", 2_000_000_000, 500_000)
NSECOND = pricing.private_cost(1_000_000_000, NODE)  # nano-dollars a second of it


def made_world(seed: int = 1) -> World:
    """Three workloads of 1,500 prompts; four deployments of rising price and skill, who differ by domain and difficulty."""
    random = np.random.default_rng(seed)
    skill = {"ext-strong": 2.6, "private-mid": 1.5, "ext-small": 0.9, "ext-new": 1.9}
    works = []
    for w, name in enumerate(("answers", "summaries", "code")):
        n = 1_500
        size = np.exp(random.normal(4.5 + 0.7 * w, 0.8, n)).astype(np.int64) + 1
        hard, domain = random.beta(2, 3, n), random.integers(0, 4, n)
        lean = random.normal(0, 0.5, (4, 4))  # deployment × domain
        right, t_in, t_out, ns = {}, {}, {}, {}
        length = np.exp(random.normal(3.5 + 0.6 * w, 0.6, n))
        for d, (who, able) in enumerate(skill.items()):
            p = 1 / (1 + np.exp(-(able - 2.5 * (hard - 0.4) + lean[d][domain])))
            right[who] = (random.random(n) < p).astype(float)
            t_in[who] = (size * (1.0 + 0.07 * d)).astype(np.int64) + 3
            t_out[who] = (length * (1.25 - 0.15 * d) * np.exp(random.normal(0, 0.3, n))).astype(np.int64) + 1
            ns[who] = (t_out[who] * 2.0e7).astype(np.int64)
        works.append(Work(name, size, np.round(hard, 3), domain, right, t_in, t_out, ns))
    sheets = {
        "ext-strong": PriceSheet("s", 10_000_000_000, None, None, 30_000_000_000),
        "ext-small": PriceSheet("m", 500_000_000, None, None, 1_500_000_000),
        "ext-new": PriceSheet("n", 2_000_000_000, None, None, 6_000_000_000),
    }
    found = [deployment("private-mid", NODE, works)] + [deployment(k, v) for k, v in sheets.items()]
    return World(works, found)


ROUTERBENCH = {"ext-strong": "gpt-4-1106-preview", "private-mid": "mixtral-8x7b-chat",
               "ext-small": "gpt-3.5-turbo-1106", "ext-new": "claude-instant-v1"}  # fmt: skip
TWO = {"ext-strong": "gpt_4_1106", "private-mid": "mixtral_8x7b"}
SHEETS = {
    "ext-strong": PriceSheet("s", 10_000_000_000, None, None, 30_000_000_000),
    "ext-small": PriceSheet("m", 1_000_000_000, None, None, 2_000_000_000),
    "ext-new": PriceSheet("n", 800_000_000, None, None, 2_400_000_000),
}


AS_SOLD = PriceSheet(
    "p", 600_000_000, None, None, 600_000_000
)  # the private one's tokens, by what it is sold at elsewhere


def table_world(folder: Path) -> World:
    """RouterBench's three sets, MMLU and GSM8K, as far as each table goes. FileNotFoundError without them."""
    works = _routerbench(folder / "routing" / "routerbench_11_models_train.csv.gz")
    works += [
        _two_models(folder / "routing" / "mmlu_mixtral_gpt4_train.csv.gz", "mmlu"),
        _two_models(folder / "routing" / "gsm8k_mixtral_gpt4_train.csv.gz", "gsm8k"),
    ]
    found = [deployment("private-mid", NODE, works)] + [deployment(k, v) for k, v in SHEETS.items()]
    return World(works, found)


def _read(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _routerbench(path: Path) -> list[Work]:
    """Tokens are chosen so that each model's sheet gives the table's cost; the private one's cost becomes seconds."""
    rows = _read(path)
    works = []
    for name in sorted({row["dataset"] for row in rows}):
        mine = [row for row in rows if row["dataset"] == name]
        size = np.array([int(row["prompt_chars"]) // 4 for row in mine])
        right, t_in, t_out, ns = {}, {}, {}, {}
        for who, model in ROUTERBENCH.items():
            cost = np.array([float(row[f"{model}:cost_usd"]) * 1e9 for row in mine])
            right[who] = np.array([float(float(row[f"{model}:score"]) >= 0.5) for row in mine])
            ns[who] = (cost / NSECOND * 1e9).astype(np.int64)
            sheet = SHEETS.get(who, AS_SOLD)
            price, out = sheet.input_nusd_per_munit / 1e6, sheet.output_nusd_per_munit / 1e6
            t_in[who] = np.minimum(size, (0.8 * cost / price).astype(np.int64))
            t_out[who] = np.maximum(1, ((cost - t_in[who] * price) / out).astype(np.int64))
        works.append(
            Work(
                name, size, _difficulty(mine, "question"), _domains(mine, "question"), right, t_in, t_out, ns
            )
        )
    return works


def _two_models(path: Path, name: str) -> Work:
    rows = _read(path)
    size = np.array([max(1, len(row["prompt"]) // 4) for row in rows])
    right, t_in, t_out, ns = {}, {}, {}, {}
    for who, model in TWO.items():
        right[who] = np.array(
            [float(row[f"{model}_correct"] in ("1", "True", "1.0", "true")) for row in rows]
        )
        t_in[who] = size + 20
        chars = f"{model}_answer_chars"
        t_out[who] = np.array([int(float(r[chars])) // 4 if r.get(chars) else 4 for r in rows]) + 1
        ns[who] = (t_in[who] * 2e5 + t_out[who] * 2e7).astype(np.int64)
    return Work(name, size, _difficulty(rows, "prompt"), _domains(rows, "subject"), right, t_in, t_out, ns)


def _difficulty(rows: Sequence[Mapping[str, str]], column: str) -> Floats:
    return np.array([difficulty(row[column]) for row in rows])


def _domains(rows: Sequence[Mapping[str, str]], column: str) -> NDArray[np.int64]:
    """Four applications: prompts of one subject come from one of them."""
    return np.array([zlib.crc32(row.get(column, "").encode()) % 4 for row in rows])


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
            _ask(world, policy, period, w, i, START + timedelta(days=day, seconds=second), random)
    return period


def _ask(
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
        _ask(world, policy, other, w, i, moment, random)
    return other.mean_cost, other.accuracy
