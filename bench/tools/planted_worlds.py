"""Worlds whose every answer is known: for each prompt what every deployment would have said, used and cost.

`table_world` rests on public tables, `made_world` is seeded and needs no data; bench.tools.planted_policies draws traffic from
either.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from costs import pricing
from costs.contracts import NodeRate, PriceSheet, Usage
from routing.contracts import DeploymentInfo
from routing.inspection.difficulty import difficulty

Floats = NDArray[np.float64]


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
