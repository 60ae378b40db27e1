"""Worst cases worked out ahead are pricing's own, to the nano-dollar."""

from __future__ import annotations

import random
from dataclasses import replace

from costs import pricing
from costs.contracts import NodeRate, PriceSheet, PriceTier, Usage
from routing import quote
from routing.contracts import DeploymentInfo, GatewayRequest, KeyInfo, Snapshot, WorkloadInfo
from routing.policy.engine import CompiledPolicies

KEY = KeyInfo("key_1", "d", "org", 1, "sales", "sales-app", 0)
CHAT = WorkloadInfo("chatter", 1, "sales", "chat", "edge", "internal", "accuracy", {})


def deployment(name="one", side="external", **more):
    return DeploymentInfo(
        name, 1, side, "http://h/v1", "k", "m", frozenset({"chat"}), frozenset(), "eu", 1024, 8, False, **more
    )  # fmt: skip


def request(body, raw=b"x" * 900, **more):
    return GatewayRequest(
        "req_1", "dec_1", KEY, "chat/completions", "chat", body, raw, 0, workload=CHAT, **more
    )


def drawn(draw):
    maybe = lambda most: draw.choice([None, draw.randrange(most)])  # noqa: E731
    tiers = (PriceTier(500, 7_000_000, None, None, draw.randrange(9_000_000)),) if draw.random() < 0.3 else ()
    return PriceSheet(
        "v1", draw.randrange(9_000_001), maybe(9_000_001), maybe(9_000_001), draw.randrange(9_000_001), maybe(9_000_001),
        draw.choice([0, 3_000_001]), draw.choice([0, 17_000]), draw.choice([0, 5_000]), tiers=tiers,
    )  # fmt: skip


def test_a_sheets_worst_case_is_pricings_own():
    draw = random.Random(3)
    for _ in range(300):
        sheet, size, cap, n = drawn(draw), draw.randrange(3000), draw.randrange(1, 4000), draw.randrange(1, 4)
        found = quote.worst_cases(
            request({"max_tokens": cap, "n": n}, b"x" * size), [deployment(prices=sheet)]
        )
        assert found["one"] == pricing.worst_case(
            prices=sheet,
            rate=None,
            text_bytes=size,
            max_tokens=cap,
            n=n,
            answers=n,
            duration_ns=quote.LONGEST_CALL_NS,
        )


def test_a_charge_worked_out_ahead_is_pricings_own():
    draw = random.Random(4)
    for i in range(600):
        sheet = drawn(draw)
        if i % 2:  # of tokens alone, as most sheets are
            sheet = replace(sheet, tiers=(), call_nusd_per_munit=0, second_nusd_per_munit=0, minimum_nusd=0)
        tokens_in, tokens_out = draw.choice([0, draw.randrange(3000)]), draw.choice([0, draw.randrange(3000)])
        usage = Usage(
            tokens_in, tokens_out, draw.choice([0, 0, tokens_in // 2]), draw.choice([0, 0, tokens_in // 3]),
            draw.choice([0, 0, tokens_out // 2]), duration_ns=draw.randrange(10**10), batch=draw.random() < 0.2,
        )  # fmt: skip
        found = quote.attempt_charge(usage, deployment(prices=sheet))
        assert found == pricing.charge_of(usage, prices=sheet, rate=None), (usage, sheet)
        assert sum(found.legs.values()) == found.cost_nusd


def test_at_home_it_goes_by_answers_and_by_what_one_usually_takes():
    rate = NodeRate("r1", "node", 2_000_000_000, 500_000)
    home = deployment(side="private", rate=rate, usual_accelerator_ns={"chatter": 3_000_000})
    for n in (1, 3, 1):
        found = quote.worst_cases(request({"n": n}), [home])
        assert found["one"] == pricing.worst_case(
            prices=None,
            rate=rate,
            text_bytes=900,
            max_tokens=1024,
            n=n,
            answers=n,
            usual_accelerator_ns=3_000_000,
        )


def test_candidates_are_those_of_the_line_of_business_and_its_task():
    elsewhere = replace(deployment("elsewhere"), lobs=frozenset({"legal"}))
    other = replace(deployment("other"), tasks=frozenset({"embedding"}))
    world = Snapshot(
        1, 0, {}, {}, {}, {d.name: d for d in (deployment(), elsewhere, other)}, CompiledPolicies(None)
    )
    asked = request({})
    assert [d.name for d in quote.candidates_in(world, asked)] == ["one"]
    legal = replace(asked, key=replace(KEY, lob="legal"))
    assert [d.name for d in quote.candidates_in(world, legal)] == ["one", "elsewhere"]
    assert quote.candidates_in(world, asked) is quote.candidates_in(world, asked)
