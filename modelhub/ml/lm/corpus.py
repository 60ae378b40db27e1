"""What the demonstration model reads: the standard library's own source and the CC BY texts in `data/`.

The source is taken from the interpreter that runs (PSF licence) without its tests; the texts are the training
rows of sets whose licence allows it. HumanEval is an evaluation set and is never read here.
"""

from __future__ import annotations

import ast
import csv
import gzip
import hashlib
import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modelhub.ml.lm.tokenizer import ASSISTANT, BOS, END, EOS, USER

REPOSITORY = Path(__file__).resolve().parents[3]
TEXT_COLUMNS = {
    "banking77": "text",
    "clinc150": "text",
    "cuad": "text",
    "reviews_en": "text",
    "unfair_tos": "text",
    "mts_dialog": "dialogue",
}
SKIPPED_FOLDERS = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
SHORT_ROWS_PER_DOCUMENT = 12


class Document(NamedTuple):
    """One text to learn: a plain one (`ask` empty), or a question and its answer."""

    name: str
    ask: str
    text: str


class Corpus(NamedTuple):
    """Token ids (uint16) for training and validation, and the validation text's size in bytes."""

    train: np.ndarray
    val: np.ndarray
    val_bytes: int


def library_files(limit: int | None = None) -> list[Path]:
    """Source files of the running interpreter's standard library in a fixed order, tests left out."""
    root = Path(sysconfig.get_path("stdlib"))
    files = [p for p in sorted(root.rglob("*.py")) if not SKIPPED_FOLDERS & set(p.relative_to(root).parts)]
    return files[:limit]


def functions(source: str, name: str) -> Iterator[Document]:
    """Documented functions of one module as question (their docstring's first paragraph) and answer."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("__"):
            continue
        doc, code = ast.get_docstring(node), ast.get_source_segment(source, node)
        if doc and code and len(code) < 1500:
            wish = doc.split("\n\n")[0].replace("\n", " ")
            yield Document(f"{name}:{node.name}", f"Write a Python function {node.name}: {wish}", code)


def library_documents(limit: int | None = None) -> Iterator[Document]:
    """Whole modules, then their documented functions as questions and answers."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in library_files(limit):
        source = path.read_text(encoding="utf-8", errors="ignore")
        name = path.relative_to(root).as_posix()
        yield Document(name, "", source)
        yield from functions(source, name)


def text_documents(data: Path = REPOSITORY / "data", rows: int | None = None) -> Iterator[Document]:
    """Training rows of the openly licensed text sets, short ones several to a document."""
    csv.field_size_limit(10_000_000)
    for name, column in TEXT_COLUMNS.items():
        path = data / name / "train.csv.gz"
        if not path.exists():
            continue
        with gzip.open(path, "rt", encoding="utf-8", newline="") as handle:
            texts = [row[column] for row in csv.DictReader(handle)][:rows]
        step = SHORT_ROWS_PER_DOCUMENT if name in ("banking77", "clinc150", "reviews_en") else 1
        for start in range(0, len(texts), step):
            yield Document(f"{name}:{start}", "", "\n".join(texts[start : start + step]))


def held_back(name: str) -> bool:
    """One module or text in fifty is for validation; a function follows its module."""
    digest = hashlib.sha256(name.split(":")[0].encode() if ".py" in name else name.encode()).digest()
    return digest[0] % 50 == 0


def tokenise(documents: list[Document], tokenizer: Any, seed: int) -> Corpus:
    """Documents, shuffled once by `seed`, as two streams of ids with their marks between them."""
    marks = {mark: tokenizer.token_to_id(mark) for mark in (BOS, EOS, USER, ASSISTANT, END)}
    ordered = list(documents)
    random.Random(seed).shuffle(ordered)
    streams: dict[bool, list[np.ndarray]] = {True: [], False: []}
    val_bytes = 0
    for document in ordered:
        ids = [marks[BOS]]
        if document.ask:
            ids += [marks[USER], *tokenizer.encode(document.ask).ids, marks[END], marks[ASSISTANT]]
        ids += [*tokenizer.encode(document.text).ids, marks[END] if document.ask else marks[EOS]]
        kept_back = held_back(document.name)
        val_bytes += len((document.ask + document.text).encode()) if kept_back else 0
        streams[kept_back].append(np.array(ids, dtype=np.uint16))
    if not streams[True]:  # a handful of documents: the last one is held back
        streams[True].append(streams[False].pop())
        val_bytes = len((ordered[-1].ask + ordered[-1].text).encode())
    return Corpus(np.concatenate(streams[False]), np.concatenate(streams[True]), val_bytes)
