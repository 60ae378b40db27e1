"""A few deployments and groups for tests of what-ifs; the larger worlds are bench.tools.planted_policies."""

from __future__ import annotations

from typing import Any

from bench.tools.planted_policies import NODE, deployment
from costs.contracts import PriceSheet
from routing.contracts import DeploymentInfo
from routing.whatif.columns import Group


def deployments() -> list[DeploymentInfo]:
    return [
        deployment("private-a", NODE),
        deployment("ext-a", PriceSheet("a", 1_000_000_000, None, None, 3_000_000_000)),
        deployment("ext-b", PriceSheet("b", 2_000_000_000, None, None, 6_000_000_000)),
    ]


def group_of(facts: dict[str, dict[str, Any]], worst_case: dict[str, int]) -> Group:
    return Group(
        lob="l", workload=facts["workload"]["name"], task=facts["workload"]["task"], stratum=(), facts=facts,
        worst_case=worst_case, chances={},
    )  # fmt: skip
