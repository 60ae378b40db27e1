"""Plain English text gets the same token ids by the short way as by the library; any other text is left to the library."""

import random
import string

import numpy as np
import pytest

from modelhub import artifacts
from modelhub.ml import datasets, tokens
from modelhub.ml.wordpieces import plain_text

TOKENIZER = artifacts.SHIPPED / "txt-edge" / "tokenizer.json"
ODD = [
    "Grüße",
    "[CLS] hi [SEP]",
    "one[MASK]two",
    "a\x00b",
    "a\x0bb",
    "\x7f",
    "中文",
    "zero\u200bwidth",
    "café",
    "🙂",
]
PLAIN = [
    "", "   ", "It's OK_fine!", "tab\tand\nline\r.", "a" * 100, "a" * 101, "qzxqzxqzx", "[brackets] alone are plain",
    "e-mail: X.Y@example.com, +44 20 7946 0000", "##ing isn't a piece here", "UNBELIEVABLY antidisestablishmentarianism",
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return tokens.load_tokenizer(TOKENIZER)


def by_library(tokenizer, texts):
    return [encoding.ids for encoding in tokenizer.library.encode_batch_fast(texts)]


@pytest.mark.parametrize("workload", datasets.TEXT_WORKLOADS)
def test_rows_of_every_workload_get_the_library_s_ids(tokenizer, workload):
    texts = datasets.load(workload, "val").texts[:300]
    assert tokenizer.ids(texts) == by_library(tokenizer, texts)


def test_invented_text_of_any_bytes_gets_the_library_s_ids(tokenizer):
    rng = random.Random(7)
    letters = string.ascii_letters * 3 + string.digits + string.punctuation + "  \t\n\r\x00\x1f\x7féß中—"
    texts = ["".join(rng.choices(letters, k=rng.randint(0, 50))) for _ in range(3000)] + ODD + PLAIN
    assert tokenizer.ids(texts) == by_library(tokenizer, texts)


def test_the_short_way_reads_plain_text_and_leaves_the_rest(tokenizer):
    short = plain_text(TOKENIZER)
    assert all(short.read(text) is not None for text in PLAIN)
    assert all(short.read(text) is None for text in ODD)
    assert len(short.read("a" * 101)) == 3  # the marks and one unknown word


def test_a_tokenizer_of_another_kind_has_no_short_way(tmp_path):
    told = TOKENIZER.read_text("utf-8").replace('"lowercase":true', '"lowercase":false')
    told = told.replace('"lowercase": true', '"lowercase": false')
    cased = tmp_path / "tokenizer.json"
    cased.write_text(told, "utf-8")
    assert plain_text(cased) is None
    tokenizer = tokens.load_tokenizer(cased)
    assert tokenizer.ids(["Hello there"]) == by_library(tokenizer, ["Hello there"])


def test_long_text_is_cut_with_its_closing_mark_kept(tokenizer):
    row = tokens.encode(tokenizer, ["word " * 600], 64)[0]
    assert (len(row), row.dtype, row[-1]) == (64, np.int64, 102)
