"""Rows about the data loop: what learning the weak experts' slices again changed, beside as many random rows.

Three seeds in two directions take a quarter of an hour of one core, so what ran when the model was made is read from its manifest
and said to be so; `BENCH=full` runs it again. `python -m bench.tools.data_loop` prints the rows.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bench.common import FULL, Results, Row
from modelhub import artifacts

PLACES = {
    "slices": "the slices of the three weakest busy experts",
    "elsewhere": "all other rows",
    "overall": "all rows",
}


def rows(results: Results) -> None:
    """Points gained on the slices and over all; random rows are the control of each."""
    report = loop_report()
    if report is None:
        reason = "txt-base carries no report: python -m modelhub.ml.activation.loop --out FILE --write"
        for place in ("slice", "overall"):
            results.not_run(f"data_loop_{place}_points", "points", reason)
        return
    own, random = report["changes"]["weak_rows"], report["changes"]["random_rows"]
    config, judged = report["config"], report["rows"]
    left_out = sum(finding["left_out"] for finding in report["findings"])
    how = (
        f"{config['extra']} extra rows in {config['steps']} steps beside as many usual ones; trained: {report['trained']}; "
        "slices named by one half of the validation rows and judged by the other, both ways "
        f"({judged['on_slices']} of {judged['judged']} judged rows); {left_out} rows that look mislabelled left out; "
        f"{len(config['seeds'])} seeds, "
        + ("run here" if FULL else "as run when the model was made, read from its manifest")
    )
    for place, words in PLACES.items():
        name = "slice" if place == "slices" else place
        target = ">= what as many random rows gain" if place == "slices" else None
        met = own[place]["median"] >= random[place]["median"] if target else None
        results.rows.append(
            _row(f"data_loop_{name}_points", own[place], f"accuracy gained on {words}: {how}", target, met)
        )
        results.controls.append(
            _row(
                f"data_loop_{name}_points_random_rows",
                random[place],
                f"as many random rows, {words}: {how}",
                None,
                None,
            )
        )
    for row in results.rows[-3:] + results.controls[-3:]:
        print(f"  {row.metric:40} {row.value} [{row.low} … {row.high}] met={row.met}", flush=True)


def _row(metric: str, change: dict[str, Any], how: str, target: str | None, met: bool | None) -> Row:
    return Row(
        metric,
        change["median"],
        "points",
        change["low"],
        change["high"],
        len(change["by_seed"]),
        how,
        target,
        met,
    )


def loop_report() -> dict[str, Any] | None:
    """What the manifest holds, or a run of its own with BENCH=full."""
    if not FULL:
        return artifacts.load_manifest(artifacts.find("txt-base")).get("experts", {}).get("loop")
    from modelhub.ml.activation import loop

    with tempfile.TemporaryDirectory(prefix="data-loop-") as folder:
        directory = artifacts.find("txt-base")
        return loop.close_loop(loop.prepare(directory, loop.LoopConfig()), loop.LoopConfig(), Path(folder))


def main() -> None:
    """Print the rows."""
    rows(Results("data_loop"))


if __name__ == "__main__":
    main()
