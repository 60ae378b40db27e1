"""Model cards, written from the manifest's measured figures and from nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelhub.ml import datasets
from modelhub.ml.text.card_operator import operator_section

INTRODUCTION = {
    "pooled": (
        "Sparse text classifier of the private side: a frozen pretrained trunk (all-MiniLM-L6-v2, Apache-2.0, "
        "installed as a package, not part of these files), two Dynamic Gating blocks of 32 experts, and beside "
        "every head a wide channel of hashed one- and two-token counts. One head per workload; confidence is "
        "calibrated by a temperature per head, fitted on validation rows."
    ),
    "embedded": (
        "Sparse text classifier of the private side: an encoder whose feed-forward parts are experts chosen token by "
        "token, held in 8 bits, and beside every head a wide channel of hashed one- and two-token counts. Its frozen word "
        "embeddings are those of all-MiniLM-L6-v2 (Apache-2.0), installed as a package and not part of these files; where "
        "the trunk is split or upcycled, its other weights began there too. One head per workload; confidence is calibrated "
        "by a temperature per head, fitted on validation rows."
    ),
    "txt-edge": (
        "Student of `txt-base`, distilled with the temperature falling from 5 to 1 and quantised to 8 bits: a "
        "small encoder of its own and a wide channel per head (the last, small product stays in 16 bits). It needs "
        "no trunk. Its `tokenizer.json` is that of all-MiniLM-L6-v2 (Apache-2.0), unchanged."
    ),
}


def write(directory: Path, manifest: dict[str, Any]) -> None:
    """Write `card.md` beside the manifest."""
    sections = [f"# {manifest['id']}", _introduction(manifest), *_accuracy(manifest), *_size(manifest)]
    sections += [
        *_kept(manifest),
        *operator_section(manifest),
        *_controls(manifest),
        *_experts(manifest),
        *_training(manifest),
        *_limits(),
    ]
    (directory / "card.md").write_text("\n\n".join(sections) + "\n", "utf-8")


def _introduction(manifest: dict[str, Any]) -> str:
    return INTRODUCTION.get(manifest["id"]) or INTRODUCTION[manifest.get("body_reads", "pooled")]


def _accuracy(manifest: dict[str, Any]) -> list[str]:
    lines = [
        "| workload | rows | n | accuracy (95 % interval) | TF-IDF + logistic regression | paired difference | "
        "macro-F1 (TF-IDF) | not losing |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in manifest["metrics"].items():
        beside, gap = row["tfidf"], row["paired_difference"]
        f1 = f"{row['macro_f1']:.3f} ({beside['macro_f1']:.3f})" if "macro_f1" in row else ""
        lines.append(
            f"| {name} | {row['method']} | {row['n']:,} | {row['value']:.3f} ({row['low']:.3f}–{row['high']:.3f}) | "
            f"{beside['value']:.3f} ({beside['low']:.3f}–{beside['high']:.3f}) | "
            f"{gap['value'] * 100:+.1f} points ({gap['low'] * 100:+.1f} to {gap['high'] * 100:+.1f}) | {f1} | "
            f"{row['verdict']} |"
        )
    note = (
        "“Not losing” means the lower bound of the paired difference lies above −2 points. The shipped weights saw training "
        "rows only. The baseline uses the regularisation that suits these rows best."
    )
    return ["## Accuracy", "\n".join(lines), f"{note} {_folds(manifest)}".rstrip()]


def _folds(manifest: dict[str, Any]) -> str:
    """What was done where validation rows are few: folds, or why there are none."""
    if any(row["method"] == "cross-validated" for row in manifest["metrics"].values()):
        return (
            "Where a workload has fewer than 1,000 validation rows the recipe is cross-validated on training and validation "
            "rows together (five folds, each fitted anew)."
        )
    if "trunk_kind" not in manifest:
        return ""
    return (
        "Five-fold figures of the workloads with fewer than 1,000 validation rows were not run for these weights: each fold "
        "trains the whole network anew. New heads on this trunk's features by fold would be no substitute, since the trunk "
        "has learnt the training rows' labels."
    )


def _kept(manifest: dict[str, Any]) -> list[str]:
    """Accuracy on the surest answers, judged on rows that chose neither threshold nor blend."""
    found = {
        name: row["kept_across_folds"]
        for name, row in manifest["metrics"].items()
        if "kept_across_folds" in row
    }
    if not found:
        return []
    lines = [
        f"- {name}: {kept['value']:.3f} ({kept['low']:.3f}–{kept['high']:.3f}) on {kept['n']:,} of {kept['rows']:,} validation "
        f"rows, a share of {kept['coverage']:.3f}; {kept['overall']:.3f} over all"
        for name, kept in found.items()
    ]
    note = "The surest answers: blend and threshold are fitted on four fifths of the validation rows and judged on the fifth."
    return ["## Accuracy on the answers kept", note, "\n".join(lines)]


def _experts(manifest: dict[str, Any]) -> list[str]:
    """Weak busy experts, and what learning their slices again changed."""
    experts = manifest.get("experts")
    if not experts:
        return []
    lines = [
        f"- layer {weak['layer']}, expert {weak['expert']}: {weak['accuracy']:.1%} ({weak['low']:.1%}–{weak['high']:.1%}) of "
        f"{weak['rows']} rows; worst among the labels it serves: "
        + "; ".join(f"{s['head']}/{s['label']} {s['accuracy']:.0%} of {s['rows']}" for s in weak["slices"])
        for weak in experts.get("weakest", [])
    ]
    count = f"{len(experts['cards'])} cards, measured on {experts['texts']:,} validation rows; {len(experts['similar'])} pairs "
    text = [
        f"{count}of experts answer alike (cosine of 0.9 or more). The weakest busy experts:",
        "\n".join(lines),
    ]
    if "loop" in experts:
        text.append(_loop(experts["loop"]))
    return ["## Experts", *text]


def _loop(loop: dict[str, Any]) -> str:
    own, random = loop["changes"]["weak_rows"], loop["changes"]["random_rows"]

    def told(change: dict[str, Any]) -> str:
        return f"{change['median']:+.2f} points ({change['low']:+.2f} to {change['high']:+.2f})"

    return (
        f"Learning their slices again ({loop['config']['extra']} rows, a trial of the data loop, not part of the shipped "
        f"weights): {told(own['slices'])} on those slices and {told(own['overall'])} over all; as many random rows: "
        f"{told(random['slices'])} and {told(random['overall'])}. {len(loop['config']['seeds'])} seeds."
    )


def _size(manifest: dict[str, Any]) -> list[str]:
    p = manifest["parameters"]
    lines = [f"- {p['total']:,} parameters in all, {p['non_embedding']:,} of them outside embeddings"]
    if "active_share_with_trunk" in p:
        lines.append(
            f"- active per text: {p['active_share']:.1%} of the sparse network's parameters (mean "
            f"{p['mean_experts_used']:.2f} of 32 experts per block), {p['active_share_with_trunk']:.1%} when the "
            "frozen dense trunk, always active, is counted in; n-gram tables and token embeddings are left out"
        )
    elif "flops_per_token" in p:
        lines.append(
            f"- active per token: {p['active_share']:.1%} of all parameters outside embeddings, attention and the largest "
            f"head among them (mean {p['mean_experts_used']:.2f} experts a block, measured on the validation rows)"
        )
        lines.append(f"- {p['flops_per_token'] / 1e6:.2f} MFLOP per token of a 32-token text, heads left out")
    size = sum(entry["bytes"] for entry in manifest["files"].values())
    lines.append(f"- files: {size / 1e6:.1f} MB, {manifest['precision']}")
    if "quantisation" in manifest:
        lost = manifest["quantisation"]["int8_loss_points"]
        lines.append(
            f"- accuracy lost by 8 bits: {lost['value']} points ({lost['low']} to {lost['high']}, "
            f"n={manifest['quantisation']['n']:,})"
        )
    return ["## Size", "\n".join(lines)]


def _controls(manifest: dict[str, Any]) -> list[str]:
    found = manifest.get("controls")
    if not found:
        return []
    if "rows" not in found:
        return _seeds(found)
    lines = [
        f"Deep heads alone (no wide channel), all {found['rows']:,.0f} validation rows:",
        f"- learned gate: {found['learned_gate']:.1%}\n"
        f"- random router, trained as long: {found['random_router']:.1%}\n"
        f"- every expert block silenced: {found['experts_silenced']:.1%}",
    ]
    gain = found["learned_gate"] - found["random_router"]
    if gain < 0.01:
        lines.append(
            f"The learned gate beats the random router by {gain * 100:+.1f} points: on these tasks no claim is made "
            "that the gate's choice of experts matters."
        )
    return ["## Controls", *lines]


def _seeds(found: dict[str, Any]) -> list[str]:
    """The sparse network beside its controls, medians and ranges over seeds."""
    rows = (
        ("learned_gate", "sparse, learned gate"),
        ("dense_total", "dense, equal total parameters, as many steps"),
        ("dense_active", "dense, equal active parameters, as many steps"),
        ("random_router", "random router, trained as long"),
        ("shuffled_gate", "this network, its gate replaced by chance"),
        ("ffn_zero", "this network, every feed-forward part silenced"),
    )
    lines = ["| deep heads alone, all validation rows | median | range | seeds |", "|---|---|---|---|"]
    lines += [
        f"| {words} | {found[name]['median']:.1%} | {found[name]['low']:.1%}–{found[name]['high']:.1%} | {found[name]['seeds']} |"
        for name, words in rows
        if name in found
    ]
    if "relative" not in found:
        return ["## Controls", "\n".join(lines)]
    relative = found["relative"]
    note = (
        f"Accuracy relative to the dense network of equal total parameters, seed by seed: median {relative['median']:.2%} "
        f"({relative['low']:.2%}–{relative['high']:.2%}). Every seed reached its plateau: {'yes' if found['plateau'] else 'no'}."
    )
    return ["## Controls", "\n".join(lines), note]


def _training(manifest: dict[str, Any]) -> list[str]:
    sets = ", ".join(f"{s.title} ({s.licence})" for s in datasets.TEXT_SETS.values())
    train = manifest["train"]
    return [
        "## Training",
        f"Fitted on the training parts of {sets}; see `data/`. `{train['command']}`, seed {train['seed']}, "
        f"{train['seconds'] / 60:.0f} minutes on {train['machine']}. {_again(train)}".rstrip(),
    ]


def _again(train: dict[str, Any]) -> str:
    """Which heads learned on after the encoder was finished, and whether the operator did."""
    told = []
    if again := train.get("heads_taught_again"):
        told.append(
            f"The heads of {', '.join(again['workloads'])} were taught again on more texts by `{again['command']}`; encoder and "
            "operator stayed as they were."
        )
    if again := train.get("operator_taught_again"):
        told.append(
            f"The operator was taught again on more sentences by `{again['command']}`; encoder and heads stayed as they were."
        )
    return " ".join(told)


def _limits() -> list[str]:
    return [
        "## Limits",
        "English only. Texts are read up to 256 tokens by the encoder and 512 by the wide channel. Labels are "
        "those of the data sets; a text outside them still gets one (only `assistant-intent` knows "
        "out-of-scope). `clinical-notes` is fitted on 1,187 rewritten dialogues: not for clinical decisions.",
    ]
