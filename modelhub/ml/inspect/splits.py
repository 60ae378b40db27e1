"""Which rows are fitted on, which are chosen on and which are only reported: whole groups, by a hash that knows no label.

A group is a template, the family of an attack with its near-duplicates, or an e-mail with its like. `report` is read by the
benchmark and by no one who sets a weight, a word list or a threshold.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import importlib.util
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "data"
PARTS = ("fit", "choose", "report")
SHARES = (40, 60, 100)  # per cent up to which a hash falls into each part
NEAR = 0.4  # Jaccard similarity of word triples from which two attacks are one family
CONTEXT_NEAR = 0.6


@dataclass(frozen=True, slots=True)
class Attack:
    text: str
    kind: str  # jailbreak | hijack | indirect_text | indirect_code
    group: str
    part: str


def part_of(group: str) -> str:
    """fit, choose or report."""
    point = int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) % 100
    return next(part for part, upto in zip(PARTS, SHARES, strict=True) if point < upto)


def pii_rows(part: str = "") -> list[dict[str, Any]]:
    """Sentences with spans; all, or those of one part (by template)."""
    with gzip.open(DATA / "pii_synthetic" / "dev.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [row for row in rows if part in ("", part_of(f"pii:{row['template_id']}"))]


def attacks(part: str = "") -> list[Attack]:
    """Attacks with their family's part; near-duplicates share a family."""
    with gzip.open(DATA / "injection" / "attacks.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # BIPIA's indirect attacks come five to a goal, each family one goal; the others are grouped by their words.
    names = [row["name"] if row["kind"].startswith("indirect") else "" for row in rows]
    groups = _families([row["text"] for row in rows], NEAR, names)
    found = [
        Attack(row["text"], row["kind"], group, part_of(f"attack:{group}"))
        for row, group in zip(rows, groups, strict=True)
    ]
    return [attack for attack in found if part in ("", attack.part)]


def contexts(part: str = "") -> list[str]:
    """E-mails without an attack."""
    with gzip.open(DATA / "injection" / "contexts.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["context"] for line in file]
    groups = _families(texts, CONTEXT_NEAR, [""] * len(texts))
    return [
        text for text, group in zip(texts, groups, strict=True) if part in ("", part_of(f"context:{group}"))
    ]


def injected(part: str) -> Iterator[tuple[Attack, str]]:
    """(attack, an e-mail of the same part with it inside): every indirect attack in three e-mails, at three places."""
    carriers = contexts(part)
    for i, attack in enumerate(a for a in attacks(part) if a.kind.startswith("indirect")):
        for k in range(min(3, len(carriers))):
            carrier = carriers[(3 * i + k) % len(carriers)]
            half = carrier.find("\n", len(carrier) // 2)
            cut = half if half > 0 else len(carrier)
            mixed = {
                0: f"{carrier}\n\n{attack.text}",
                1: f"{attack.text}\n\n{carrier}",
                2: f"{carrier[:cut]}\n\n{attack.text}\n\n{carrier[cut:]}",
            }
            yield attack, mixed[k]


def texts_of(name: str, part: str, column: str = "text") -> list[str]:
    """One column of a shipped set's part (`train`, `val`, `dev`)."""
    with gzip.open(DATA / name / f"{part}.csv.gz", "rt", encoding="utf-8") as file:
        return [row[column] for row in csv.DictReader(file)]


BENIGN = ("banking77", "clinc150", "reviews_en", "cuad", "unfair_tos", "mts_dialog")
DOCUMENTS = ("reviews_en", "cuad", "unfair_tos", "mts_dialog")  # of these, what a tool may bring


def benign(name: str, part: str) -> list[str]:
    """Everyday texts: `fit` is the set's training part; its validation part is halved by a hash of the text."""
    column = "dialogue" if name == "mts_dialog" else "text"
    if part == "fit":
        return texts_of(name, "train", column)
    wanted = {"choose": 0, "report": 1}[part]
    return [t for t in texts_of(name, "val", column) if hashlib.sha256(t.encode()).digest()[0] % 2 == wanted]


def code() -> list[str]:
    """Programs of MBPP: what a tool that reads files brings. For measurement only."""
    with gzip.open(DATA / "mbpp" / "dev.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line)["code"] for line in file]


LIBRARY = (
    "argparse", "ast", "asyncio.base_events", "base64", "bisect", "calendar", "collections", "configparser", "contextlib", "copy",
    "csv", "dataclasses", "datetime", "decimal", "difflib", "email.message", "fractions", "ftplib", "functools", "gzip", "heapq",
    "html.parser", "http.client", "http.server", "imaplib", "inspect", "ipaddress", "json.decoder", "logging", "mailbox", "netrc",
    "os", "pathlib", "pickle", "platform", "queue", "random", "re", "shutil", "smtplib", "socket", "sqlite3.dump", "statistics",
    "string", "subprocess", "tarfile", "tempfile", "textwrap", "threading", "timeit", "tokenize", "traceback", "urllib.parse",
    "urllib.request", "uuid", "webbrowser", "xml.dom.minidom", "zipfile",
)  # fmt: skip


def library_code(part: str) -> list[str]:
    """Functions of Python's own library (PSF licence), programs that tell nobody what to do: a twelfth to choose by, the others
    to fit."""
    parts: list[str] = []
    for name in LIBRARY:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin and spec.origin.endswith(".py"):
            source = Path(spec.origin).read_text("utf-8", "replace")
            parts += [f"def {part}"[:1_500] for part in source.split("\ndef ")[1:]]
            parts += [f"    def {part}"[:1_500] for part in source.split("\n    def ")[1:]]
    hashed = sorted((hashlib.sha256(text.encode()).hexdigest(), text) for text in parts)
    return [text for digest, text in hashed if (int(digest[:8], 16) % 12 == 0) == (part == "choose")]


def chinese(part: str, limit: int) -> list[str]:
    """Harmless Chinese posts of COLD, up to `limit`."""
    source = "train" if part == "fit" else "val"
    with gzip.open(DATA / "cold_zh" / f"{source}.csv.gz", "rt", encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file) if row["label"] == "0"]
    if part != "fit":
        wanted = {"choose": 0, "report": 1}[part]
        texts = [t for t in texts if hashlib.sha256(t.encode()).digest()[0] % 2 == wanted]
    return texts[:limit]


def _families(texts: Sequence[str], near: float, names: Sequence[str]) -> list[str]:
    """A name for each text's family: its given name, else that of the first text it is near to, directly or by others."""
    shingles = [_triples(text) for text in texts]
    parent = list(range(len(texts)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for i in range(len(texts)):
        for j in range(i):
            alike = names[i] == names[j] if names[i] or names[j] else _near(shingles[i], shingles[j], near)
            if alike:
                a, b = sorted((root(i), root(j)))
                parent[b] = a
    return [names[i] or hashlib.sha256(texts[root(i)].encode()).hexdigest()[:12] for i in range(len(texts))]


def _triples(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return set(zip(words, words[1:], words[2:], strict=False)) or {tuple(words)}


def _near(a: set[Any], b: set[Any], near: float) -> bool:
    return len(a & b) >= near * min(len(a), len(b))
