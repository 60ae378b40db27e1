"""Adapters on the shared trunk: what a new line of business costs against retraining, and what serving many of them costs.

Each module of `bench.tools` named here adds its rows. `BENCH=full` trains on more rows and with three seeds everywhere.
"""

from __future__ import annotations

import importlib
import importlib.util

from bench.common import Results

TOOLS = ("adapters_serving", "adapters_lob", "adapters_medical", "labels")


def main() -> None:
    results = Results("adapters")
    for name in TOOLS:
        importlib.import_module(f"bench.tools.{name}").rows(results)
    results.write()


if __name__ == "__main__":
    main()
