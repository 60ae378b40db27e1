"""The risk guard's card, from its manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def _rate(entry: dict[str, Any]) -> str:
    return f"{entry['value']:.1%} ({entry['low']:.1%}–{entry['high']:.1%}, n={entry['n']:,})"


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def write(directory: Path, manifest: dict[str, Any]) -> None:
    """Write `card.md` beside the manifest."""
    check = manifest["metrics"]["hatecheck"]
    decision = (
        "It **may** enforce: it blocks at most 10 % of the harmless sentences of HateCheck that name a group."
        if manifest["may_enforce"]
        else "It **may not** enforce and starts in `observe`: it blocks over 10 % of the harmless sentences of HateCheck "
        "that name a group. Its scores are for people to look at."
    )
    sections = [
        f"# {manifest['id']}",
        "Scores a text for harm to groups of people (`harm`), stereotypes and unequal treatment, English and Chinese; "
        "swearing and insults to one person are told as `abuse` and block nothing. Words with frozen vectors of the "
        "pretrained trunk, hashed letters for what isn't a word, five small convolutions; numpy alone. The trunk itself, fitted "
        "to the task, was its teacher. Names of groups are made one sign before it reads, so for the names it knows two "
        "sentences that differ in the name only are one. A sentence whose words, all known, add up to too little isn't read: no "
        "name of a group, no abuse, nothing misspelt or unknown. Of the others those aren't read on that a small layer takes "
        "for surely harmless: none that names a group, abuse or violence, none in Chinese. "
        "It reads what a text says, not what it means; it knows neither irony nor context.",
        "## May it block?\n\n" + decision,
        _figures(manifest),
        "## By group (HateCheck)\n\n" + "\n".join(_groups(check)),
        "## Recall against false alarms (HateCheck)\n\n" + "\n".join(_curve(check)),
        "## Training\n\nOffensive rows: COLD (Apache-2.0) and crowd-labelled tweets (MIT), training parts; the tweets are known "
        "for bias against African-American English. Harmless rows besides: business texts (CC BY), some in the mouths of "
        "groups. The rest are sentences of our own (`modelhub/ml/risk/grammar.py`, `frames.py`, `speech.py`), written knowing "
        "which kinds of sentence HateCheck's authors list, without any sentence of it; and retold ones of which only the "
        "teacher has an opinion. Two sentences of each kind of its development part were read before the first frames were "
        "written, and figures by kind were looked at six times while the first network was made; of this one and its trials the "
        "total was looked at twelve times, three of them to settle how strict the threshold is and four to see that screen and "
        "glance hide nothing, so the figures are somewhat kind. "
        "Otherwise the threshold was chosen on our own "
        f"held-out sentences and on validation tweets, not on it. `{manifest['train']['command']}`, "
        f"{manifest['train']['seconds']} s on {manifest['train']['machine']}. {manifest['train'].get('note', '')}".rstrip(),
    ]
    (directory / "card.md").write_text("\n\n".join(sections) + "\n", "utf-8")


def _figures(manifest: dict[str, Any]) -> str:
    found = manifest["metrics"]
    check, planted, held = found["hatecheck"], found["planted"], found["held_out"]
    lines = [
        f"## Figures at threshold {manifest['thresholds']['default']}\n",
        f"- HateCheck: recall {_rate(check['recall'])}, harmless blocked {_rate(check['harmless_blocked'])}; "
        f"of those naming a group {_rate(check['harmless_naming_a_group_blocked'])}; AUC {check['auc']}",
        f"- planted templates, filled anew: recall {_rate(planted['recall'])}, harmless blocked "
        f"{_rate(planted['harmless_blocked'])}; the same sentence judged unlike for two groups "
        f"{_rate(planted['same_sentence_differs'])}; recall by group from {planted['lowest_group_recall']:.1%} to "
        f"{planted['highest_group_recall']:.1%}",
        f"- sentences of our grammar, made anew: recall {_rate(found['grammar']['recall'])}, harmless blocked "
        f"{_rate(found['grammar']['harmless_blocked'])}",
        f"- a twin on frames and words that it never met: recall {_rate(held['recall'])}, harmless blocked "
        f"{_rate(held['harmless_blocked'])}; on HateCheck {_rate(held['hatecheck_recall'])} and "
        f"{_rate(held['hatecheck_harmless_blocked'])}",
        f"- tweets, validation: hate found {_rate(found['en']['recall'])}, swearing blocked "
        f"{_rate(found['en']['swearing_blocked'])}, ordinary ones blocked {_rate(found['en']['false_alarms'])}; told as abuse "
        f"{_rate(found['en']['abuse_recall'])} of what the crowd called offensive or hateful",
        f"- COLD (Chinese), validation: recall {_rate(found['zh']['recall'])}, false alarms {_rate(found['zh']['false_alarms'])}",
        f"- XSTest: safe prompts blocked {_rate(found['xstest']['safe_blocked'])}, unsafe ones found "
        f"{_rate(found['xstest']['unsafe_found'])} (most of them ask for something unlawful and harm no group)",
        f"- business texts of the six workloads blocked: {_rate(found['business_texts_blocked'])}",
        *_let_pass("passed unread by the screen", found.get("screen")),
        *_let_pass(
            "passed unread by the glance alone", found.get("glance"), ", spelt past a filter, beside an ordinary sentence"
        ),
    ]  # fmt: skip
    return "\n".join(lines)


def _let_pass(what: str, told: dict[str, Any] | None, more: str = "") -> list[str]:
    if told is None:
        return []
    return [
        f"- {what} of what the net would block at 0.3, held-out sentences and tweets: {_rate(told['missed'])}; of garbled ones "
        f"(words left out or exchanged at random{more}): {_rate(told['garbled_missed'])}"
    ]


def _groups(check: dict[str, Any]) -> list[str]:
    rows = [
        "| group | missed hate | harmless sentences blocked | subgroup AUC | BPSN AUC | BNSP AUC |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in check["by_group"].items():
        rows.append(
            f"| {name} | {_rate(row['missed_hate'])} | {_rate(row['harmless_blocked'])} | {_short(row['subgroup_auc'])} | "
            f"{_short(row['bpsn_auc'])} | {_short(row['bnsp_auc'])} |"
        )
    return rows


def _curve(check: dict[str, Any]) -> list[str]:
    rows = ["| threshold | recall | harmless blocked |", "|---|---|---|"]
    rows += [
        f"| {row['threshold']:g} | {row['recall']:.1%} | {row['harmless_blocked']:.1%} |"
        for row in check["curve"]
    ]
    return rows
