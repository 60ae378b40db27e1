"""The inspection classifier's card, from its manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write(directory: Path, manifest: dict[str, Any]) -> None:
    """Write `card.md` beside the manifest."""
    metrics, thresholds = manifest["metrics"], manifest["thresholds"]
    found = " · ".join(f"{name} {100 * share:.2g} %" for name, share in metrics["everyday_found"].items())
    documents = " · ".join(
        f"{name} {100 * share:.2g} %" for name, share in metrics["documents_found"].items()
    )
    sections = [
        f"# {manifest['id']}",
        "Finds what the patterns of `routing.inspection` miss: people's names with their places, attempts to talk a model out "
        "of its rules, and instructions inside mails, files and tool results that are only to be read. Three linear models over "
        "words and pairs of words (names: over a word, its ends and its neighbours), served as look-ups in plain Python.",
        "What it finds can only make a request's class stricter. It knows no meaning: an attempt in words that none of its "
        "sentences resemble is not found, a quotation of an attempt is. Names are found in Latin letters; Chinese names are "
        "found by patterns. Rare words in capitals, towns above all, are taken for names: four in ten of those found in "
        "running text.",
        "## Thresholds, and what they were chosen by\n\n"
        f"Log-odds: names {thresholds['names']:g}, attempts {thresholds['direct']:g}, instructions {thresholds['document']:g}. "
        f"Names covered whole {metrics['names_recall']:.1%}, across folds of templates; on the `choose` part attempts "
        f"{metrics['attempts_recall']:.1%} of "
        f"{metrics['attempts_n']}; instructions in e-mails {metrics['instructions_recall']:.1%} of "
        f"{metrics['instructions_n']}.\n\n"
        f"Everyday texts taken for attempts: {found}. Documents taken for attempts or instructions: {documents}.",
        "The figures on held-out groups are `inspection_recall_*` and `benign_raised_pct` of `bench/results/policy.json`.",
        "## Training\n\n"
        f"`{manifest['train']['command']}` (seed {manifest['train']['seed']}), five minutes on one core. Data: "
        f"{', '.join(manifest['data'])}, and sentences of our own (`modelhub/ml/inspect/frames.py`, `people.py`, `attempts.py`). "
        "These were written knowing the fit and choose parts and the published lists of kinds of attack, never the reported "
        "part. Which group is in which part is `modelhub/ml/inspect/splits.py`. Once the thresholds stand, names and "
        "instructions are fitted again with what they were chosen by.",
    ]
    (directory / "card.md").write_text("\n\n".join(sections) + "\n", "utf-8")
