"""A text as the risk model reads it: words, single Chinese characters and marks, with every name of a group made one.

Names of groups are exchanged for one sign before anything is learnt or scored, so that the *name* of a group can't
be what a verdict hangs on: two sentences that differ in a known name are the same sentence to the model. Letters spelled
apart and digits written for letters are read as what they stand for.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from modelhub.ml.risk.groups import ADJECTIVES, CHINESE, CHINESE_LONGEST, PEOPLE, TERMS, TERMS_LONGEST

MAX_CHARS = 2000
GROUP = "\x01group"
CHINESE_KEY = "\x02"  # begins what a Chinese character is looked up by
_NOTHING = "\x03"
BEFORE_MAN = frozenset(
    ("a", "the", "this", "that", "every", "no", "any", "some", "each", "another", "single", "one")
)
_TOKEN = re.compile(r"[a-z0-9@$*]+(?:['’][a-z]+)?|[\u3400-\u9fff]|[\"“”「」『』]|[!?！？]|[.,;:。，；：…]")
_ALONE = re.compile(r"[ .\-_][a-z0-9@$*][ .\-_]")  # in everything that is spelled apart
_SPELLED = re.compile(r"(?<![a-z0-9])(?:[a-z0-9@$*][ .\-_]){2,}[a-z0-9@$*](?![a-z0-9])")
_LEET = str.maketrans("013457@$", "oieastas")
_MAY_NAME = frozenset(
    {term.split(" ")[0] for term in TERMS} | set(ADJECTIVES) | {"man"}
)  # no name begins otherwise
_SAME = dict.fromkeys("“”「」『』", '"') | dict(zip("！？。，；：…", "!?.,;:.", strict=True)) | {"an": "a"}


def normalise(text: str) -> str:
    """Lower case, full-width folded, letters spelled apart put together again."""
    text = text[:MAX_CHARS]
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    if _ALONE.search(folded) is None:
        return folded
    return _SPELLED.sub(lambda found: re.sub(r"[ .\-_]", "", found.group()), folded)


def tokens(text: str) -> list[str]:
    """Words, Chinese characters and marks in order; each name of a group is GROUP."""
    return _told(text)[0]


def _told(text: str) -> tuple[list[str], bool]:
    """The tokens, and whether a Chinese character is among what was read."""
    said = normalise(text)
    found = list(map(_unmasked, _TOKEN.findall(said)))
    chinese = not said.isascii() and any("\u3400" <= token <= "\u9fff" for token in found)
    return (_without_names(found) if chinese or not _MAY_NAME.isdisjoint(found) else found), chinese


@lru_cache(maxsize=65_536)
def _unmasked(token: str) -> str:
    """Digits and signs inside a word read as letters; marks in one form."""
    token = _SAME.get(token, token)
    has_letter, has_other = re.search("[a-z]", token), re.search("[0-9@$]", token)
    return token.translate(_LEET) if has_letter and has_other else token


def _without_names(found: list[str]) -> list[str]:
    out: list[str] = []
    at, n = 0, len(found)
    while at < n:
        length = _name_at(found, at)
        if found[at] == "man" and out and out[-1] in BEFORE_MAN:  # elsewhere it is as often an interjection
            length = 1
        if length:
            if not out or out[-1] != GROUP:  # "gay Muslim women" is one name
                out.append(GROUP)
            at += length
        else:
            out.append(found[at])
            at += 1
    return out


def _name_at(found: list[str], at: int) -> int:
    """How many tokens from here on name a group; 0 when none do."""
    word = found[at]
    if "\u3400" <= word <= "\u9fff":
        if word not in CHINESE:
            return 0
        for length in range(min(CHINESE_LONGEST, len(found) - at), 0, -1):
            if "".join(found[at : at + length]) in CHINESE[word]:
                return length
        return 0
    for length in range(min(TERMS_LONGEST, len(found) - at), 0, -1):
        if (found[at] if length == 1 else " ".join(found[at : at + length])) in TERMS:
            following = found[at + length] if at + length < len(found) else ""
            return length + (following in PEOPLE)
    if word in ADJECTIVES and at + 1 < len(found):
        following = 1 if found[at + 1] in PEOPLE else _name_at(found, at + 1)
        return 1 + following if following else 0
    return 0


def keys(text: str) -> list[str]:
    """What vectors are looked up by: a token, and for a Chinese character its neighbours beside it."""
    found, chinese = _told(text)
    if not chinese:
        return found
    padded = [_NOTHING, *found, _NOTHING]
    return [
        f"{CHINESE_KEY}{padded[i][:1]}{token}{padded[i + 2][:1]}" if "\u3400" <= token <= "\u9fff" else token
        for i, token in enumerate(found)
    ]
