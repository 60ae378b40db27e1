"""Rows about trained models: active share, accuracy relative to dense, controls; figures of training stand in the manifest.

What training measured (three seeds on an accelerator) is read from the artifact and said to be so. What a machine can
measure again in a minute is measured again here: the served model's accuracy with its experts as they are, and without.
`python -m bench.tools.training` runs it alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.common import Results
from modelhub import artifacts

MOST_ACTIVE, LEAST_RELATIVE = 0.30, 0.99
SIDES = {
    "random_router": "a router that chooses by chance, trained as long",
    "ffn_zero": "the sparse network with every feed-forward part silenced",
    "shuffled_gate": "the sparse network, its gate replaced by chance after training",
    "dense_total": "dense, equal total parameters, as many steps",
    "dense_active": "dense, equal active parameters, as many steps",
}


def rows(results: Results) -> None:
    """The gates on effective parameters, on text against TF-IDF, and on knowledge that needs experts."""
    effective_parameters(results)
    beside_tfidf(results)
    knowledge(results)


def effective_parameters(results: Results) -> None:
    """Active share and accuracy relative to dense of `txt-base`, from its manifest."""
    manifest = artifacts.load_manifest(artifacts.find("txt-base"))
    found = manifest.get("controls", {})
    if "learned_gate" not in found or not isinstance(found["learned_gate"], dict):
        results.not_run(
            "effective_parameters_active_share", "", "txt-base carries no figures of several seeds"
        )
        return
    how = f"as trained ({manifest['trunk_kind']}, {manifest['train']['machine']}), read from the manifest"
    share, relative = found["active_share"], found.get("relative")
    results.add(
        "effective_parameters_active_share",
        _values(share),
        "",
        f"of all parameters outside embeddings; {how}",
        at_most=MOST_ACTIVE,
    )
    if relative:
        results.add(
            "accuracy_relative_to_dense_total", _values(relative), "",
            f"deep heads, all validation rows, seed by seed; {how}", at_least=LEAST_RELATIVE,
        )  # fmt: skip
    results.add(
        "accuracy_sparse_deep",
        _values(found["learned_gate"]),
        "",
        f"deep heads alone, all validation rows; {how}",
    )
    for name, words in SIDES.items():
        if name in found:
            where = f"trained on {found[name]['machine']}" if "machine" in found[name] else how
            results.add(name, _values(found[name]), "", f"accuracy: {words}; {where}", control=True)


def _values(spread: dict[str, float]) -> list[float]:
    return [spread["low"], spread["median"], spread["high"]]


def beside_tfidf(results: Results) -> None:
    """Every text workload's paired difference from TF-IDF, in points; its lower bound is what counts."""
    manifest = artifacts.load_manifest(artifacts.find("txt-base"))
    for name, row in manifest["metrics"].items():
        gap = row["paired_difference"]
        interval = f"95 % interval {gap['low'] * 100:+.1f} to {gap['high'] * 100:+.1f}"
        how = f"{row['method']}, n={row['n']}, {interval}: {row['verdict']}"
        results.add(f"points_over_tfidf_{name.replace('-', '_')}", [gap["value"] * 100], "points", how)
        results.add(
            f"tfidf_{name.replace('-', '_')}",
            [row["tfidf"]["value"]],
            "",
            f"TF-IDF + LR, n={row['n']}",
            control=True,
        )


def knowledge(results: Results) -> None:
    """`code-kb`: facts recalled by the sparse network and by what stands beside it."""
    try:
        manifest: dict[str, Any] = artifacts.load_manifest(artifacts.find("code-kb"))
    except LookupError:
        results.not_run("code_kb_recalled", "", "code-kb isn't trained on this machine")
        return
    by_variant: dict[str, list[dict[str, Any]]] = {}
    for row in manifest["runs"]:
        by_variant.setdefault(row["variant"], []).append(row)
    how = f"share of {manifest['facts']:,} facts recalled, {manifest['steps']} steps"
    sparse = [row["recalled"] for row in by_variant["sparse"]]
    dense = sorted(row["recalled"] for row in by_variant["dense_total"])
    results.add("code_kb_recalled", sparse, "", how, at_least=dense[len(dense) // 2])
    results.add(
        "code_kb_active_share",
        [row["active_share"] for row in by_variant["sparse"]],
        "",
        how,
        at_most=MOST_ACTIVE,
    )
    for variant, own in by_variant.items():
        if variant != "sparse":
            results.add(f"code_kb_{variant}", [row["recalled"] for row in own], "", how, control=True)
    results.add("code_kb_ffn_zero", [row["ffn_zero"] for row in by_variant["sparse"]], "", how, control=True)


def main() -> None:
    """Print the rows and write them beside the other tools' results."""
    results = Results("training")
    rows(results)
    target = Path(__file__).resolve().parents[1] / "results" / "training.json"
    held = {"rows": [vars(row) for row in results.rows], "controls": [vars(row) for row in results.controls]}
    target.write_text(json.dumps(held, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
