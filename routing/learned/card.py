"""The router's card, from its manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WORDS = {"mmlu": "MMLU, validation", "gsm8k": "GSM8K, validation", "mt_bench": "MT-Bench (never trained on)"}


def write(directory: Path, manifest: dict[str, Any]) -> None:
    """Write `card.md` beside the manifest."""
    lines = []
    for name, row in manifest["metrics"].items():
        apgr = row["apgr"]
        lines.append(
            f"- {WORDS[name]}: APGR {apgr['value']:.3f} ({apgr['low']:.3f}–{apgr['high']:.3f}, n={apgr['n']:,}); half of the gap "
            f"at {row['cpt_50']:.0%} strong calls, 80 % of it at {row['cpt_80']:.0%}; taken for familiar {row['familiar']:.0%}"
        )
    verdicts = [
        f"- {name}: **{row['verdict']}** (APGR out of fold {row['apgr']['value']:.3f}, "
        f"{row['apgr']['low']:.3f}–{row['apgr']['high']:.3f})"
        for name, row in manifest["verdicts"].items()
    ]
    licences = ", ".join(f"{name} ({licence})" for name, licence in manifest["licences"].items())
    sections = [
        f"# {manifest['id']}",
        f"The chance that each of {', '.join(manifest['models'])} answers a prompt right, from the prompt alone: a ridge over "
        "hashed terms, a ridge over marks of form and the mean of the edge student's vectors of its tokens, the nearest "
        "training prompts, and the mean of the subject it seems to belong to. A random router has an APGR of 0.5.",
        "## Figures",
        "\n".join(lines),
        "## Where it speaks",
        "\n".join(verdicts),
        "`fallback`: a prompt's own chances did not beat chance there, so the subject's means are used for every prompt. Prompts "
        "less like its training prompts than 95 % of those are strangers: it says nothing of them and the evaluated quality of "
        "each deployment is used.",
        "## Training",
        f"Fitted on {manifest['train']['rows']:,} prompts: {licences}; see `data/`. `{manifest['train']['command']}`, seed "
        f"{manifest['train']['seed']}. The vectors of `txt-edge`'s tokens are copied into it, so it needs that model's tokenizer "
        "and no more: another student changes nothing. `answers.json` holds, for `txt-edge` and "
        "`txt-base`, which validation answers were right and how sure the model was: what cascades choose their thresholds by.",
        "## Limits",
        "Most of what it knows is the subject: within a subject it ranks prompts little better than chance (`bench/routing`). It "
        "knows two models of 2023; other deployments are scored only by what a line of business's own feedback taught.",
    ]
    (directory / "card.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")
