"""`manage.py hal plan`: where models go on a mixed fleet, and how a training step is shared over it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from modelhub.hal import planner, planner_needs, planner_training, profiles
from modelhub.hal.profile import ProfileInvalid

HELP = "Place models on a mixed fleet by recorded profiles and share a training step over it; vendors' figures simulate."
FLEET = "nvidia-h100-sxm,nvidia-a100-80gb,amd-mi250x,ascend-910b,cpu-2vcpu"
HOST = "cpu-2vcpu"
FLOPS_PER_ROW = 6 * 100e6 * 128  # a training row of 128 tokens through 100 million active weights


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--fleet", default=FLEET, help=f"profiles, by comma; recorded: {', '.join(profiles.names())}"
    )
    parser.add_argument("--rows", type=int, default=512, help="rows of a training step")
    parser.add_argument("--rate", type=float, default=1.0, help="times the requests a second on record")
    parser.add_argument("--json", action="store_true")


def handle(options: dict[str, Any], out: Any) -> None:
    try:
        found = {name: profiles.load(name) for name in options["fleet"].split(",") if name}
        host = profiles.load(HOST)
    except ProfileInvalid as error:
        raise CommandError(str(error)) from error
    machines = [planner.Machine(name, profile, host) for name, profile in found.items()]
    scaled = [
        planner.Need(need.name, need.memory_bytes, need.work, need.requests_per_s * options["rate"], need.dtypes)
        for need in planner_needs.shipped()
    ]  # fmt: skip
    plan = planner.place(scaled, machines)
    trainers = {name: profile for name, profile in found.items() if profile.kind != "cpu"} or found
    members = planner_training.members_of(
        trainers, flops_per_row=FLOPS_PER_ROW, efficiency=planner.EFFICIENCY
    )
    training = planner_training.simulate(options["rows"], members, simulated=plan.simulated)
    if options["json"]:
        body = {"plan": asdict(plan), "training": {**asdict(training), "gain": training.gain}}
        out.write(json.dumps(body, indent=1, ensure_ascii=False))
        return
    _tell(out, plan, training, options["rows"])


def _tell(out: Any, plan: planner.Plan, training: planner_training.Simulation, rows: int) -> None:
    word = "simulated from vendors' figures" if plan.simulated else "from measured profiles"
    out.write(f"Placement ({word}):")
    for each in plan.placements:
        left = [f"{name} on the host" for name in (*each.timing.fallback, *each.timing.missing)]
        notes = f"; {', '.join(left)}" if left else ""
        out.write(
            f"  {each.need:12} → {each.machine:18} {each.share:6.1%} of requests, {each.timing.seconds * 1e3:9.3f} ms, "
            f"{each.timing.dtype}, load {each.load:.1%}{notes}"
        )
    for name, why in plan.refused.items():
        out.write(f"  {name:12}   not placed: {why}")
    out.write(f"A training step of {rows} rows ({word}):")
    for name, share in training.planned.items():
        out.write(f"  {name:18} {share:5} rows (equal shares: {training.equal[name]})")
    out.write(f"  planned shares train {training.gain:+.0%} a second against equal ones")
