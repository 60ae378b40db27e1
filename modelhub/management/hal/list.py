"""`manage.py hal list`: backends, present or not, and what each implements."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from modelhub.hal import registry

HELP = "Backends with what they implement; those that aren't here say why."


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--operators", action="store_true", help="One line for each implementation.")


def handle(options: dict[str, Any], out: Any) -> None:
    held = registry.load()
    for name, device, presence in held.rows():
        mine = [each for each in held.implementations if each.backend == name]
        word = f"{len(mine)} implementations" if presence.present else "SKIPPED (not present)"
        out.write(f"{name:16} {device:9} {word:24} {presence.detail}")
        for each in mine if options["operators"] else ():
            notes = [] if each.fused else ["unfused, for comparison"]
            notes += ["emulated: numbers, never speed"] if each.emulated else []
            out.write(f"    {each.operator:20} {each.key:32} {', '.join(notes)}".rstrip())
