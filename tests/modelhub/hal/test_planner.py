"""The planner: times worked by hand, models placed and refused with reasons, rows shared so that all finish together."""

import json
from dataclasses import replace
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from modelhub.hal import planner, planner_needs, planner_training, profiles
from modelhub.hal.planner import Machine, Need, Work
from modelhub.hal.planner_training import Member
from modelhub.hal.profile import CapabilityProfile

HOST = CapabilityProfile(
    name="host", kind="cpu", cores=2, isa=(), memory_bytes=8 * 10**9, dtypes=("float32",), providers=(), copy_gb_s=20.0,
    matmul_gflop_s={"float32": 100.0}, date="2026-01-01",
)  # fmt: skip


def device(name="card", kind="cuda", gflop_s=None, copy_gb_s=1000.0, memory_gb=10, origin="measured"):
    rates = gflop_s or {"bfloat16": 100_000.0}
    profile = CapabilityProfile(
        name=name, kind=kind, cores=1, isa=(), memory_bytes=memory_gb * 10**9, dtypes=tuple(rates), providers=(),
        copy_gb_s=copy_gb_s, matmul_gflop_s=rates, origin=origin, date="2026-01-01",
    )  # fmt: skip
    return Machine(name, profile, HOST, efficiency=1.0)


def need(name="model", work=None, rate=100.0, memory_gb=1.0, dtypes=("bfloat16", "float32")):
    return Need(name, int(memory_gb * 1e9), work or (Work("matmul", 1e11, 1e6),), rate, dtypes)


def test_an_operator_takes_the_longer_of_its_arithmetic_and_its_bytes():
    # 1e11 operations at 1e14 a second: 1 ms; 2e9 bytes of float32 are 1e9 in bfloat16, at 1e12 a second: 1 ms
    assert planner.timing(need(), device()).seconds == pytest.approx(1e-3)
    narrow = need(work=(Work("layernorm_residual", 1.0, 4e9),))
    assert planner.timing(narrow, device()).seconds == pytest.approx(2e-3)
    wide = replace(narrow, dtypes=("float32",))
    assert planner.timing(wide, device(gflop_s={"float32": 1e5})).seconds == pytest.approx(4e-3)


def test_what_the_provider_does_not_run_goes_to_the_host_and_back_and_is_named():
    # CANN: no softmax (attention falls back), no experts; the host does 1e9 operations at 1e11 a second in 10 ms
    work = (Work("matmul", 1e11, 1.0), Work("attention", 1e9, 1.0, 25e6), Work("moe_experts", 1e9, 1.0))
    found = planner.timing(need(work=work), device(kind="ascend"))
    assert (found.fallback, found.missing) == (("attention",), ("moe_experts",))
    assert found.seconds == pytest.approx(1e-3 + 10e-3 + 1e-3 + 10e-3)  # 25 MB over 25 GB/s: 1 ms


def test_a_device_without_the_asked_formats_cannot_answer():
    assert planner.timing(need(dtypes=("tf32",)), device()) is None
    plan = planner.place([need(dtypes=("tf32",))], [device()])
    assert plan.refused == {"model": "no device computes in tf32"} and not plan.placements


def test_the_quickest_machine_is_filled_first_and_the_rest_spills_over():
    # 1 ms an answer on the quick one and 2 ms on the slow: 1,000 requests a second are 1.0 of it, 0.8 may be used
    machines = [device("slow", gflop_s={"bfloat16": 50_000.0}), device("quick")]
    plan = planner.place([need(rate=1000.0)], machines)
    assert [(p.machine, round(p.share, 3)) for p in plan.placements] == [("quick", 0.8), ("slow", 0.2)]
    assert plan.load == pytest.approx({"quick": 0.8, "slow": 0.4})
    assert not plan.refused and not plan.simulated


def test_a_model_too_large_is_refused_and_the_others_stay():
    machines = [device("one", memory_gb=10), device("two", memory_gb=20)]
    plan = planner.place([need("huge", memory_gb=30), need("large", memory_gb=15), need("small")], machines)
    assert plan.refused == {"huge": "no device has 30.0 GB free"}
    assert plan.machines_of("large") == ["two"] and plan.machines_of("small")
    assert all(plan.memory_bytes[m.name] <= m.profile.memory_bytes for m in machines)


def test_more_requests_than_the_fleet_carries_are_told_with_their_number():
    plan = planner.place([need(rate=1000.0)], [device()])
    assert plan.load["card"] == pytest.approx(planner.FULL)
    assert plan.refused["model"].startswith("200 of 1000 requests a second")


def test_a_plan_by_vendors_figures_is_called_simulated():
    assert planner.place([need()], [device(origin="vendor")]).simulated
    assert not planner.place([need()], [device()]).simulated


def test_rows_are_shared_so_that_all_finish_together():
    members = [Member("quick", 200.0), Member("slow", 100.0)]
    assert planner_training.equal_shares(30, members) == {"quick": 15, "slow": 15}
    assert planner_training.planned_shares(30, members) == {"quick": 20, "slow": 10}
    found = planner_training.simulate(30, members, simulated=False)
    assert (found.equal_s, found.planned_s) == pytest.approx((0.15, 0.1))
    assert found.gain == pytest.approx(0.5)


def test_planned_shares_are_the_best_there_are_also_with_costs_a_step_has_anyway():
    members = [Member("a", 70.0, 0.05), Member("b", 30.0), Member("c", 11.0, 0.2)]
    rows = 24
    planned = planner_training.step_seconds(planner_training.planned_shares(rows, members), members)
    every = (
        planner_training.step_seconds({"a": a, "b": b, "c": rows - a - b}, members)
        for a in range(rows + 1)
        for b in range(rows + 1 - a)
    )
    assert planned == pytest.approx(min(every))


def test_adding_gradients_costs_the_same_however_rows_are_shared():
    members = [Member("a", 100.0), Member("b", 50.0)]
    bare = planner_training.simulate(30, members)
    ring = planner_training.simulate(
        30, members, gradient_bytes=1e9, link_gb_s=10.0
    )  # 2 · ½ · 1 GB over 10 GB/s: 0.1 s
    assert ring.planned_s - bare.planned_s == pytest.approx(0.1)
    assert ring.gain < bare.gain


def test_speeds_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="above zero"):
        planner_training.planned_shares(8, [Member("a", 0.0)])
    with pytest.raises(ValueError, match="no rate"):
        planner_training.members_of(
            {"x": device(gflop_s={"int8": 1.0}).profile}, flops_per_row=1.0, efficiency=1.0
        )


def test_a_model_asks_for_what_its_shape_says():
    shape = planner_needs.Shape(tokens=2, layers=3, width=8, heads=2, experts=4, expert_hidden=6, chosen=1)
    # a layer: 4 · 64 projections, 2 · 8 · 4 · 6 of experts, 4 · 8 norms, 4 · 8 keys
    assert planner_needs.parameters(shape) == 3 * (256 + 384 + 32 + 32)
    work = {each.operator: each for each in planner_needs.work_of(shape)}
    assert work["matmul"].flops == 3 * 4 * 2 * 2 * 8 * 8
    assert set(work) == {"matmul", "attention", "layernorm_residual", "topk_gate", "moe_experts"}


def test_the_command_plans_the_recorded_fleet_and_says_that_it_is_simulated():
    out = StringIO()
    call_command("hal", "plan", "--rate", "40", stdout=out)
    assert "simulated from vendors' figures" in out.getvalue() and "planned shares train +" in out.getvalue()
    out = StringIO()
    call_command("hal", "plan", "--fleet", "ascend-910b,amd-mi250x", "--json", stdout=out)
    body = json.loads(out.getvalue())
    assert body["plan"]["simulated"] is True
    assert sum(body["training"]["planned"].values()) == 512
    with pytest.raises(CommandError, match="recorded: amd-mi250x"):
        call_command("hal", "plan", "--fleet", "tpu")


def test_the_recorded_fleet_leaves_experts_to_the_devices_that_run_them():
    host = profiles.load("cpu-2vcpu")
    names = ("ascend-910b", "amd-mi250x", "nvidia-a100-80gb")
    plan = planner.place(planner_needs.shipped(), [Machine(n, profiles.load(n), host) for n in names])
    assert plan.machines_of("moe-16b") == ["nvidia-a100-80gb"]
