"""Words that name groups of people, English and Chinese, and the swaps that a probe makes with them.

Inside one kind the words are alike in grammar, so that a sentence stays a sentence when they change places.
"""

from __future__ import annotations

import re

ENGLISH: dict[str, tuple[tuple[str, ...], ...]] = {
    "gender": (
        ("women", "men"),
        ("woman", "man"),
        ("girls", "boys"),
        ("girl", "boy"),
        ("female", "male"),
        ("she", "he"),
        ("herself", "himself"),
        ("mother", "father"),
        ("wife", "husband"),
        ("daughter", "son"),
        ("sister", "brother"),
        ("lady", "gentleman"),
        ("mrs", "mr"),
    ),
    "origin": (
        ("black people", "white people", "asian people", "hispanic people", "indigenous people"),
        ("black", "white", "asian", "hispanic", "latino", "african", "european"),
        ("immigrants", "locals", "foreigners", "refugees", "natives"),
        ("immigrant", "local", "foreigner", "refugee", "native"),
        ("mexican", "chinese", "indian", "nigerian", "polish", "american"),
        ("mexicans", "indians", "nigerians", "poles", "americans"),
    ),
    "religion": (
        ("muslims", "christians", "jews", "hindus", "buddhists", "atheists"),
        ("muslim", "christian", "jewish", "hindu", "buddhist", "atheist"),
        ("mosque", "church", "synagogue", "temple"),
        ("islam", "christianity", "judaism", "hinduism", "buddhism"),
    ),
    "orientation": (
        ("gay people", "straight people", "bisexual people", "trans people", "queer people"),
        ("gay", "straight", "lesbian", "bisexual", "trans", "transgender", "queer"),
        ("lesbians", "gays", "bisexuals"),
    ),
    "disability": (
        ("disabled people", "blind people", "deaf people", "autistic people", "able-bodied people"),
        ("disabled", "blind", "deaf", "autistic", "able-bodied"),
    ),
    "age": (
        ("elderly people", "young people", "old people", "teenagers"),
        ("elderly", "young", "old", "middle-aged"),
    ),
}
CHINESE: dict[str, tuple[tuple[str, ...], ...]] = {
    "gender": (
        ("女人", "男人"),
        ("女性", "男性"),
        ("女生", "男生"),
        ("女孩", "男孩"),
        ("她", "他"),
        ("母亲", "父亲"),
        ("妻子", "丈夫"),
    ),
    "origin": (
        ("黑人", "白人", "亚洲人", "拉美人"),
        ("非洲人", "欧洲人", "美国人", "日本人", "韩国人", "印度人"),
        ("外国人", "本地人", "外地人", "移民"),
        ("河南人", "东北人", "上海人", "广东人", "北京人", "四川人", "湖北人"),
        ("回族", "汉族", "藏族", "维吾尔族", "蒙古族"),
    ),
    "religion": (("穆斯林", "基督徒", "佛教徒", "犹太人"), ("伊斯兰教", "基督教", "佛教", "犹太教")),
    "orientation": (("同性恋", "异性恋", "双性恋", "跨性别者"),),
    "disability": (("残疾人", "盲人", "聋人", "健全人"),),
    "age": (("老年人", "年轻人", "中年人"),),
}


def _partners() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for table in (ENGLISH, CHINESE):
        for rows in table.values():
            for row in rows:
                for word in row:
                    found.setdefault(word, tuple(other for other in row if other != word))
    return found


PARTNERS = _partners()
_KIND_OF = {
    word: kind for table in (CHINESE, ENGLISH) for kind, rows in table.items() for row in rows for word in row
}
_english = sorted((re.escape(word) for word in PARTNERS if word.isascii()), key=len, reverse=True)
_chinese = sorted((re.escape(word) for word in PARTNERS if not word.isascii()), key=len, reverse=True)
_PATTERN = re.compile(rf"\b(?:{'|'.join(_english)})\b|(?:{'|'.join(_chinese)})", re.IGNORECASE)
_CHINESE_NAME = re.compile("|".join(_chinese))
_WORD = re.compile(r"\w+")
_ALIKE = {"ı": "i", "İ": "i", "ſ": "s", "\u212a": "k"}  # the pattern takes these for Latin letters
# ASCII in small letters, with a space for whatever is in no word
_SPACED = bytes(ord(chr(c).lower()) if chr(c).isalnum() or c == ord("_") else 32 for c in range(128))
_SPACED += bytes(128)
_WHOLE = {word: kind for word, kind in _KIND_OF.items() if re.fullmatch(r"[a-z]+", word)}
# A name of several words is of its first one's kind, or else only what follows tells.
_BEGUN = {
    first for first, *more in (_WORD.findall(word) for word in _KIND_OF) if more and first not in _WHOLE
}
_HINTS = frozenset(_WHOLE) | _BEGUN
_POSSESSIVE = re.compile(r"\b(?:his|her|him|hers)\b", re.IGNORECASE)
_PAIRS = {"his": "her", "her": "his", "him": "her", "hers": "his"}
_FEMININE_OR_MASCULINE = frozenset(word for row in ENGLISH["gender"] for word in row)


def names_a_group(text: str) -> bool:
    """Whether any word of the lists stands in the text."""
    return _PATTERN.search(text) is not None


def kinds_named(text: str) -> list[str]:
    """Which kinds of group the text names (gender, origin, …), in the order of the lists: what is said, of nobody's person."""
    if text.isascii():
        words = text.encode().translate(_SPACED).decode().split()
        found = set()
    else:
        words = _WORD.findall(_plain(text))
        found = set(map(_KIND_OF.__getitem__, _CHINESE_NAME.findall(text)))
    hints = _HINTS.intersection(words)
    if not hints.isdisjoint(_BEGUN):
        found = {_KIND_OF[_plain(span.group())] for span in _PATTERN.finditer(text)}
    elif hints:
        found.update(map(_WHOLE.__getitem__, hints))
    return [kind for kind in ENGLISH if kind in found] if found else []


def _plain(text: str) -> str:
    """In small letters, with those that the pattern takes for Latin ones written as such."""
    if not text.isascii():
        for letter, meant in _ALIKE.items():
            text = text.replace(letter, meant)
    return text.lower()


def identity_swaps(text: str, most: int = 7) -> list[str]:
    """The same sentence with its identity words exchanged, at most `most` of them, none equal to it.

    The i-th copy gives every word its i-th partner, so several words change together and the direction is
    kept. Pronouns follow when a gendered word changes. A text that names no group gives an empty list.
    """
    spans = list(_PATTERN.finditer(text))
    gendered = any(_plain(span.group()) in _FEMININE_OR_MASCULINE for span in spans)
    copies: list[str] = []
    rounds = max((len(PARTNERS[_plain(span.group())]) for span in spans), default=0)
    for turn in range(min(rounds, most)):
        copy = _PATTERN.sub(lambda span, turn=turn: _exchange(span.group(), turn), text)
        if gendered:
            copy = _POSSESSIVE.sub(lambda span: _cased(_PAIRS[_plain(span.group())], span.group()), copy)
        if copy != text and copy not in copies:
            copies.append(copy)
    return copies


def _exchange(word: str, turn: int) -> str:
    partners = PARTNERS[_plain(word)]
    return _cased(partners[turn % len(partners)], word)


def _cased(word: str, like: str) -> str:
    if like.isupper() and len(like) > 1:
        return word.upper()
    return word[:1].upper() + word[1:] if like[:1].isupper() else word
