"""The risk guard's card, from its manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def _rate(entry: dict[str, Any]) -> str:
    return f"{entry['value']:.1%} ({entry['low']:.1%}–{entry['high']:.1%}, n={entry['n']:,})"


def write(directory: Path, manifest: dict[str, Any]) -> None:
    """Write `card.md` beside the manifest."""
    found, check = manifest["metrics"], manifest["metrics"]["hatecheck"]
    decision = (
        "It **may** enforce: it blocks at most 10 % of the harmless sentences that name a group."
        if manifest["may_enforce"]
        else "It **may not** enforce and starts in `observe`: it blocks over 10 % of the harmless sentences "
        "that name a group. Its scores are for people to look at."
    )
    groups = ["| group | missed hate | harmless sentences blocked |", "|---|---|---|"]
    for name, row in check["by_group"].items():
        groups.append(f"| {name} | {_rate(row['missed_hate'])} | {_rate(row['harmless_blocked'])} |")
    steps = ["| step | threshold | recall en | recall zh | missed hate | harmless naming a group blocked |"]
    steps.append("|---|---|---|---|---|---|")
    for step in manifest["mitigation"]:
        steps.append(
            f"| {step['step']} | {step['threshold']} | {step['recall_en']:.1%} | {step['recall_zh']:.1%} | "
            f"{step['hatecheck_missed_hate']:.1%} | {step['hatecheck_harmless_naming_a_group_blocked']:.1%} |"
        )
    sections = [
        f"# {manifest['id']}",
        "Scores a text for offensive language, English and Chinese: a linear model over hashed characters and "
        "words, numpy alone. It reads what a text says, not what it means; it knows neither irony nor context.",
        "## May it block?\n\n" + decision,
        f"## Figures at threshold {manifest['thresholds']['default']}\n\n"
        f"- tweets, validation: recall {_rate(found['en']['recall'])}, "
        f"false alarms {_rate(found['en']['false_alarms'])}\n"
        f"- COLD (Chinese), validation: recall {_rate(found['zh']['recall'])}, "
        f"false alarms {_rate(found['zh']['false_alarms'])}\n"
        f"- business texts of the six workloads blocked: {_rate(found['business_texts_blocked'])}\n"
        f"- HateCheck, missed hate: {_rate(check['missed_hate'])}\n"
        f"- HateCheck, harmless and naming a group, blocked: {_rate(check['harmless_naming_a_group_blocked'])}\n"
        f"- HateCheck, harmless and naming none, blocked: {_rate(check['harmless_naming_no_group_blocked'])}",
        "## By group (HateCheck)\n\n" + "\n".join(groups),
        "## What was tried against false alarms\n\n"
        + "\n".join(steps)
        + "\n\nThe threshold of each step is the "
        "lowest that keeps false alarms at 5 % on harmless validation rows of either language. HateCheck is "
        "measured on and never fitted on.",
        "## Training\n\nOffensive rows: COLD (Apache-2.0) and crowd-labelled tweets (MIT), training parts. The "
        "tweets are known for bias against African-American English. Harmless rows besides: business texts "
        "(CC BY) and sentences of our own. "
        f"`{manifest['train']['command']}`, {manifest['train']['seconds']} s on {manifest['train']['machine']}.",
    ]
    (directory / "card.md").write_text("\n\n".join(sections) + "\n", "utf-8")
