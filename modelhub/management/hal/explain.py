"""`manage.py hal explain moe_experts T=64`: what would run it here, and why that and nothing else."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from modelhub.hal import tuning
from modelhub.hal.operators import OPERATORS, operator
from modelhub.hal.registry import DTYPES, NoBackend

HELP = "Which implementation is chosen for an operator and a shape, with every other candidate and why it wasn't."


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("operator", choices=sorted(OPERATORS))
    parser.add_argument(
        "dims", nargs="*", metavar="LETTER=SIZE", help="Dimensions; those left out take their default."
    )
    parser.add_argument(
        "--dtype", action="append", choices=DTYPES, help="Only these precisions; may be repeated."
    )


def handle(options: dict[str, Any], out: Any) -> None:
    op = operator(options["operator"])
    dims = {**op.dims, **read_dims(op.name, options["dims"])}
    held = tuning.library()
    try:
        choice = held.tuner.choose(op.name, dims, dtypes=options["dtype"])
    except NoBackend as error:
        raise CommandError(str(error)) from None
    out.write(f"{op.name} on {choice.bucket}:")
    for reason in choice.reasons:
        out.write(f"  {reason}")


def read_dims(name: str, words: list[str]) -> dict[str, int]:
    """`T=64` → {"T": 64}. Raises CommandError for another letter or a size under 1."""
    found = {}
    for word in words:
        letter, _, size = word.partition("=")
        if letter not in OPERATORS[name].dims or not size.isdigit() or int(size) < 1:
            known = " ".join(f"{k}={v}" for k, v in OPERATORS[name].dims.items())
            raise CommandError(f"{word!r} is no dimension of {name}: expected for example {known}.")
        found[letter] = int(size)
    return found
