"""Adapters on the shared trunk: what a new line of business costs against retraining, and what serving many of them costs.

Each module of `bench.tools` named here adds its rows. `BENCH=full` trains on more rows and with three seeds everywhere. What is
measured in processor seconds and labels is kept: `NO_TIMES=1` makes it beside other work, `BENCH_RESUME=1` takes it over.
"""

from __future__ import annotations

import importlib
import os

from bench.common import Results
from bench.tools.parts import part
from modelhub import artifacts
from modelhub.ml import trunk

KEPT, TIMED = ("adapters_lob", "adapters_medical", "labels"), ("adapters_serving", "lead_time")


def main() -> None:
    results = Results("adapters")
    files = artifacts.load_manifest(artifacts.find("txt-base"))["files"]
    model = " ".join(
        f"{role}={files[role]['sha256']}" for role in sorted(files) if role.startswith(("body", "head"))
    )
    for name in KEPT:
        rows = importlib.import_module(f"bench.tools.{name}").rows
        rests_on = (
            trunk.WEIGHTS_SHA256 if name == "labels" else model
        )  # labels are picked by the pretrained trunk
        part(results, artifacts.home() / "bench/adapters/parts", name, rests_on, rows)
    if os.environ.get("NO_TIMES"):
        return
    for name in TIMED:
        importlib.import_module(f"bench.tools.{name}").rows(results)
    results.write()


if __name__ == "__main__":
    main()
