"""`manage.py hal tune`: measure once which implementation is quickest here, for the shapes of the models that ship."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from modelhub.hal import ceilings, tune_cache, tuning
from modelhub.hal.operators import OPERATORS, bucket
from modelhub.hal.registry import NoBackend

HELP = "Measure the choices for this device and keep them; what is known already isn't measured again."


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--operator", choices=sorted(OPERATORS))
    parser.add_argument("--fresh", action="store_true", help="Measure again what is known.")


def handle(options: dict[str, Any], out: Any) -> None:
    held = tuning.library()
    if options["fresh"] or held.profile.copy_gb_s is None:
        ceilings.keep(ceilings.measure(held.registry, held.profile))
        held = tuning.library()
    tune_cache.keep_backends(tuning.backend_rows(held.registry))
    for name in [options["operator"]] if options["operator"] else OPERATORS:
        for dims in tuning.shapes(name):
            candidates = held.registry.candidates(name, dims, fused=None)
            held.tuner.measure(name, dims, candidates, fresh=options["fresh"])
            for dtypes, word in ((("float32",), "same precision"), (None, "any precision")):
                try:
                    choice = held.tuner.choose(name, dims, dtypes=dtypes)
                except NoBackend as error:
                    out.write(f"{name:20} {bucket(OPERATORS[name], dims):32} {word:15} none: {error}")
                    continue
                best = min((m.ms for m in choice.measurements if m.ms is not None), default=None)
                took = f"{best:9.3f} ms" if best is not None else "not measured: the machine is busy"
                out.write(f"{name:20} {choice.bucket:32} {word:15} {choice.chosen.key:32} {took}")
    out.write(f"Kept in {held.tuner.cache.path}.")
