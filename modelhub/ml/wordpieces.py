"""Word pieces of plain English text without the tokenizer's own detours: the same ids, several times quicker.

A small model's answer takes less time than the reading of its text by the library, which normalises, aligns and batches for
texts of any script. Where a text holds nothing but printable ASCII there is nothing to normalise but case, and a word that the
vocabulary holds is one look-up. Every other text is left to the library.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_ODD = re.compile(
    r"[^ -~\t\n\r]|\[(?:PAD|UNK|CLS|SEP|MASK)\]"
)  # not ASCII, a control character, a special token
_WORDS = re.compile(r"[a-z0-9]+|[^a-z0-9\s]")


class PlainText:
    """Reads plain text by a vocabulary of lower-case word pieces."""

    def __init__(self, vocabulary: dict[str, int], most_letters: int) -> None:
        self._vocabulary, self._most_letters = vocabulary, most_letters
        self._first, self._last, self._unknown = (vocabulary[name] for name in ("[CLS]", "[SEP]", "[UNK]"))
        self._longest = max(map(len, vocabulary))

    def read(self, text: str) -> list[int] | None:
        """Token ids with the opening and closing mark, or None for a text that only the library reads."""
        if _ODD.search(text):
            return None
        known, ids = self._vocabulary.get, [self._first]
        for word in _WORDS.findall(text.lower()):
            whole = known(word)
            if whole is None:
                ids += self._pieces(word)
            else:
                ids.append(whole)
        ids.append(self._last)
        return ids

    def _pieces(self, word: str) -> list[int]:
        """The longest piece that fits, again and again (Schuster and Nakajima 2012); one unknown where none does."""
        if len(word) > self._most_letters:
            return [self._unknown]
        found: list[int] = []
        at, size = 0, len(word)
        while at < size:
            prefix = "##" if at else ""
            for end in range(min(size, at + self._longest), at, -1):
                piece = self._vocabulary.get(prefix + word[at:end])
                if piece is not None:
                    break
            else:
                return [self._unknown]
            found.append(piece)
            at = end
        return found


def plain_text(path: Path) -> PlainText | None:
    """The short way for a `tokenizer.json`, or None for one that works otherwise than BERT's for lower-case English."""
    told = json.loads(Path(path).read_text("utf-8"))
    model, normal = told["model"], told["normalizer"] or {}
    if not _is_plain(told, model, normal):
        return None
    return PlainText(model["vocab"], model["max_input_chars_per_word"])


def _is_plain(told: dict[str, Any], model: dict[str, Any], normal: dict[str, Any]) -> bool:
    around = [
        list(part) + [value["id"] for value in part.values()]
        for part in (told["post_processor"] or {}).get("single", [])
    ]
    return (
        (model["type"], model.get("continuing_subword_prefix"), model.get("unk_token"))
        == ("WordPiece", "##", "[UNK]")
        and (normal.get("type"), normal.get("lowercase"), normal.get("clean_text"))
        == ("BertNormalizer", True, True)
        and (told["pre_tokenizer"] or {}).get("type") == "BertPreTokenizer"
        and around == [["SpecialToken", "[CLS]"], ["Sequence", "A"], ["SpecialToken", "[SEP]"]]
        and {added["content"] for added in told["added_tokens"]}
        <= {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    )
