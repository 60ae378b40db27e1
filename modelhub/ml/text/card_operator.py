"""What a card says of the bias operator inside a model: what it finds, what it stops wrongly, on which sentences."""

from __future__ import annotations

from typing import Any

SETS = (
    (
        "planted",
        "sentences of our own, in forms that training saw, of traits, reasons and groups that it didn't",
    ),
    ("unseen", "sentences of our own in forms that training never saw"),
    ("frames", "English sentences of the guard's frames that are held back"),
    ("tweets", "tweets that people labelled, validation part"),
    ("hatecheck", "HateCheck, development part"),
)


def operator_section(manifest: dict[str, Any]) -> list[str]:
    """The section, or nothing for a model without an operator."""
    gate = manifest.get("gate")
    if not gate:
        return []
    benign = gate["benign"]
    lines = ["| sentences | found (95 % interval) | n | harmless stopped | n |", "|---|---|---|---|---|"]
    for name, words in SETS:
        if name not in gate:
            continue
        found, stopped = gate[name].get("all") or gate[name]["recall"], gate[name]["harmless_blocked"]
        lines.append(f"| {words} | {_share(found)} | {found['n']:,} | {_share(stopped)} | {stopped['n']:,} |")
    return [
        "## Bias operator",
        f"In the same file as the answers: a row whose risk of {_joined(gate['kinds'])} reaches its threshold leaves without an "
        f"answer. The thresholds were set on this very file so that of {benign['n']:,} business texts, a quarter of them again "
        f"with a group named before them, {benign['value']:.2%} are stopped (upper bound {benign['high']:.2%}).",
        "\n".join(lines),
        "It recognises more than it understands: in forms it never saw it finds far less. Live answers are watched by the stream "
        "guard as well.",
    ]


def _share(found: dict[str, Any]) -> str:
    if found["value"] is None:
        return "–"
    return f"{found['value']:.1%} ({found['low']:.1%}–{found['high']:.1%})"


def _joined(kinds: list[str]) -> str:
    words = [kind.replace("_", " ") for kind in kinds]
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
