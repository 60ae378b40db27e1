"""The conformance suite as rows of gateway.json and as the matrix of docs/reference/conformance.md.

`rows(results)` is what bench/gateway.py calls; `python -m bench.tools.gateway_conformance` runs the suite with every client
that is installed (`python -m tests.conformance.clients install`) and writes the page.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.common import Results
from tests.conformance.clients import CLIENTS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "conformance.md"
HOW = "every check of the client over HTTP against an upstream that misbehaves on command (tests/conformance)"
Told = Mapping[str, Mapping[str, Any]]  # name of the client → {"client", "results"}


def collect(timeout_s: float = 1800.0) -> dict[str, dict[str, Any]]:
    """Run the suite; gives the results of every client that is here."""
    with tempfile.TemporaryDirectory() as folder:
        call = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "tests/conformance/test_clients.py",
        ]
        settings = {
            "DJANGO_SETTINGS_MODULE": "switchyard.settings.test"
        }  # another is named where a benchmark calls
        env = os.environ | settings | {"SWITCHYARD_CONFORMANCE_RESULTS": folder}
        subprocess.run(call, cwd=ROOT, env=env, timeout=timeout_s, check=False)
        return {path.stem: json.loads(path.read_text()) for path in Path(folder).glob("*.json")}


def rows(results: Results, told: Told | None = None) -> None:
    """A row a client: the share of its checks that passed; absent clients say so."""
    told = collect() if told is None else told
    for client in CLIENTS:
        metric, one = f"conformance_passed_{client.name}", told.get(client.name)
        if one is None:
            why = f"{client.name} is not installed here (python -m tests.conformance.clients install)"
            results.not_run(metric, "share", why)
            continue
        passed = [check["passed"] for check in one["results"]]
        results.add(
            metric, [sum(passed) / len(passed)], "share", f"{one['client']}: {len(passed)} checks, {HOW}; one run",
            at_least=1,
        )  # fmt: skip


def page(results: Told) -> str:
    """The matrix: a line a check, a column a client; an empty cell is a check that the client's script doesn't have."""
    shown = [client.name for client in CLIENTS if client.name in results]
    absent = [client.name for client in CLIENTS if client.name not in results]
    passed = {name: {(c["area"], c["name"]): c["passed"] for c in results[name]["results"]} for name in shown}
    order = list(dict.fromkeys(check for name in shown for check in passed[name]))
    lines = [
        "# Conformance", "",
        "Written by `python -m bench.tools.gateway_conformance`; not by hand. Each check is an official client, changed only "
        "by base URL and key, over real HTTP against the gateway, behind which an upstream misbehaves on command.", "",
        "| client | checks passed |", "|---|---|",
        *(f"| {results[n]['client']} | {sum(passed[n].values())} of {len(passed[n])} |" for n in shown), "",
    ]  # fmt: skip
    if absent:
        lines += [f"Not here when this was run, so not shown: {', '.join(absent)}.", ""]
    lines += [
        "| area | check | " + " | ".join(results[n]["client"] for n in shown) + " |",
        "|---|---|" + "---|" * len(shown),
    ]
    words = {True: "passed", False: "**failed**", None: ""}
    for area, check in order:
        cells = " | ".join(words[passed[n].get((area, check))] for n in shown)
        lines.append(f"| {area} | {check} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    told = collect()
    PAGE.write_text(page(told), encoding="utf-8")
    rows(Results("conformance"), told)


if __name__ == "__main__":
    main()
