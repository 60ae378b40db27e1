"""`manage.py hal profile`: the device as it says itself and, with --measure, what it reaches."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from modelhub.hal import ceilings, threads, tuning

HELP = "The device's profile; --measure measures its two ceilings (copy, matrix product) and keeps them."


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--measure", action="store_true")


def handle(options: dict[str, Any], out: Any) -> None:
    profile = ceilings.this_cpu(thread_count=threads.count())
    if options["measure"]:
        profile = ceilings.measure(tuning.library().registry, profile)
        ceilings.keep(profile)
    out.write(json.dumps(profile.as_dict(), indent=1, ensure_ascii=False))
