"""What a text shows once its disguises are off. Linear, and nothing is done where no sign of one is.

`plain` goes by single characters and is what is looked at first; `uncovered` undoes what writes one text inside another
(JSON, URLs, HTML, base64) and is looked at beside it, so that undoing can only add to what is found.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
from functools import lru_cache
from urllib.parse import unquote

from modelhub.ml.inspect.look import Look, places

ROUNDS = 2  # a text inside a text inside a text is taken out; what is deeper stays
# Format characters, variation selectors, fillers and tags: nobody sees them. (first, last)
_UNSEEN = (
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F),
    (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0),
    (0xFFF9, 0xFFFB), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
_DASHES = "\u058a\u1806\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\ufe58\ufe63\uff0d"
_SPACES = "\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
# The zero of each script whose ten digits follow each other (Unicode 14, `Nd`).
_ZEROS = (
    0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50, 0xED0, 0xF20, 0x1040,
    0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0,
    0xA9F0, 0xAA50, 0xABF0, 0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0,
    0x11730, 0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x16A60, 0x16AC0, 0x16B50, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0,
)  # fmt: skip
_CHANGED: dict[int, str | None] = {point: None for first, last in _UNSEEN for point in range(first, last + 1)}
_CHANGED |= dict.fromkeys(map(ord, _DASHES), "-") | dict.fromkeys(map(ord, _SPACES), " ")
_CHANGED |= {zero + i: str(i) for zero in _ZEROS for i in range(10)}
# Other shapes of Latin letters and digits, which NFKC knows: raised, lowered, circled, small, wide, mathematical.
_SHAPES = (
    "\xb2\xb3\xb9\u2024\u2070-\u209c\u2460-\u24ff\ufe52\ufe64-\ufe6b\uff0b-\uff0f\uff10-\uff19\uff1d\uff20-\uff3f"
    "\uff41-\uff5a"
)
_ODD = re.compile(
    "[" + "".join(f"{chr(a)}-{chr(b)}" for a, b in _UNSEEN) + re.escape(_DASHES) + _SPACES
    + "".join(f"{chr(zero)}-{chr(zero + 9)}" for zero in _ZEROS) + _SHAPES + "\U0001d400-\U0001d7ff]"
)  # fmt: skip
_CONTROLS = bytes([*range(9), *range(14, 32), 127])
_CONTROL = dict.fromkeys((*_CONTROLS, *range(128, 160)))
_STOP_IN_ADDRESS = re.compile(r"(?<=\w)[\u3002\uff61](?=\w)")
# Cyrillic and Greek letters that look like Latin ones, in words that mix the scripts.
_ALIKE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u04bb\u0501\u051b\u051d\u0432\u043d\u043a\u043c\u0442"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0423\u0406\u0408\u0405"
    "\u03bf\u03b1\u03bd\u03b9\u03ba\u03c5\u03c1\u03c7\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7",
    "aeopcyxijshdqwbhkmtABEKMHOPCTXYIJSoavikupxABEZHIKMNOPTYX",
)
_SIDE = re.compile(r"[A-Za-z][\u0370-\u052f]|[\u0370-\u052f][A-Za-z]")
_WORD = re.compile(r"[A-Za-z\u0370-\u052f]+")
_ESCAPED = re.compile(
    r"(?<!\\)\\++(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|U([0-9a-fA-F]{8}))"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def plain(text: str) -> str:
    """The text without the disguises that characters allow: widths, shapes and scripts of digits, invisible marks, letters that
    look alike, and escapes of characters inside a string."""
    if "\\" in text:
        text = _ESCAPED.sub(_escaped, text)
        if _SURROGATE.search(text):
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if text.isascii():
        raw = text.encode()
        return text if len(raw) == len(left := raw.translate(None, _CONTROLS)) else left.decode()
    text = text.translate(_CONTROL)
    if _ODD.search(text):
        text = unicodedata.normalize("NFKC", text.translate(_CHANGED))
    if "@" in text:
        text = _STOP_IN_ADDRESS.sub(".", text)
    if _SIDE.search(text):
        text = _WORD.sub(_one_script, text)
    return text


def _escaped(match: re.Match[str]) -> str:
    point = int(next(filter(None, match.groups())), 16)
    return chr(point) if point < 0x110000 else "\ufffd"


def _one_script(match: re.Match[str]) -> str:
    word = match.group()
    return word.translate(_ALIKE) if _SIDE.search(word) else word


_LINE = re.compile(r"(?<!\\)\\++[nrtfv]")
_QUOTED = re.compile(r"(?<!\\)\\++(?=[\"'/])")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_FORM = re.compile(r"(?<=[\w=])\+(?=\w)")
_ENTITY = re.compile(r"&(?:#|[A-Za-z]{2,8})")
_AT = re.compile(r"[\[({<]\s?(?:at|@)\s?[\])}>]\s{0,2}", re.IGNORECASE)
_DOT = re.compile(r"[\[({<]\s?(?:dot|\.)\s?[\])}>]\s{0,2}", re.IGNORECASE)
_BEFORE_SIGN = re.compile(r" {1,2}(?=[@.]\w)")
_SPOKEN_AT = re.compile(r"(?<=\w) at (?=[\w-]{1,63}(?: dot [\w-]{1,63}){1,4}\b)", re.IGNORECASE)
_SPOKEN_DOT = re.compile(r"(?<=\w) dot (?=\w)", re.IGNORECASE)
_NAMED = re.compile(
    r"[\"']([A-Za-z][\w -]{1,38})[\"']\s{0,2}[:=]\s{0,2}[\"']?|<([A-Za-z][\w:-]{1,38})>(?=[^<\s])"
)
_CODED = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{12,}+={0,2}")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}){8,}")
LEAST_BYTES = 6  # of what is decoded: fewer hold no value
_LEAST_WORD = (
    14  # letters and digits without a sign between them in whatever is coded and long enough to matter
)
_LEAST_SHOWN = 0.9  # of what is decoded to be a text


def uncovered(look: Look) -> str:
    """What escapes, encodings and names of fields hide of the text, or "" where they hide nothing."""
    found: list[str] = []
    for _ in range(ROUNDS):
        undone = _undone(look)
        inside = _decoded(look.text) if _may_be_coded(look) else []
        if undone != look.text:
            inside.append(undone)
        if not inside:
            break
        found.append(plain("\n".join(inside)))
        look = Look(found[-1])
    return "\n".join(found)


def _undone(look: Look) -> str:
    text, odd = look.text, look.odd
    if b"\\" in odd:
        text = _QUOTED.sub("", _LINE.sub("\n", text))
    if b"%" in odd and _PERCENT.search(text):
        text = unquote(_FORM.sub(" ", text), errors="replace")
    if b"&" in odd and _ENTITY.search(text):
        text = html.unescape(text)
    if b"[" in odd or b"{" in odd or b"<" in odd or ("at" in look.words and ("(at" in text or "(AT" in text)):
        text = _bracketed(text)
    if "dot" in look.words and "at" in look.words:
        text = _SPOKEN_DOT.sub(".", _SPOKEN_AT.sub("@", text))
    if b"</" in odd or (b":" in odd and ('":' in text or "':" in text or '" :' in text)):
        text = _NAMED.sub(_as_said, text)
    return text


def _bracketed(text: str) -> str:
    """With the signs of e-mail addresses where they are written out: (at), [dot]."""
    if _AT.search(text) or _DOT.search(text):
        return _BEFORE_SIGN.sub("", _DOT.sub(".", _AT.sub("@", text)))
    return text


def _as_said(match: re.Match[str]) -> str:
    told = spoken(match.group(1) or match.group(2))
    return f"{told}: " if told else match.group()


def _may_be_coded(look: Look) -> bool:
    """Whether a long word is none that people write: it has digits, or small and capital letters mixed."""
    if look.longest_word < _LEAST_WORD:
        return False
    return any(not _is_word(look, word) for word in look.words if len(word) >= _LEAST_WORD)


def _is_word(look: Look, word: str) -> bool:
    written = {look.text[at : at + len(word)] for at in places(look.lower, word)}
    return word.isalpha() and all(w.islower() or w.isupper() or w.istitle() for w in written)


def _decoded(text: str) -> list[str]:
    """What stands in the text as base64 or in hexadecimal digits and is a text itself."""
    found = []
    for match in _CODED.finditer(text):
        coded = match.group()
        if coded.isalpha() and (coded.islower() or coded.isupper()):
            continue  # a long word
        for raw in (_of_base64(coded), bytes.fromhex(coded) if _HEX.fullmatch(coded) else b""):
            told = _as_text(raw)
            if told:
                found.append(told)
    return found


def _of_base64(coded: str) -> bytes:
    coded = coded.rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    coded = coded[: len(coded) - (len(coded) % 4 == 1)]
    try:
        return base64.b64decode(coded + "=" * (-len(coded) % 4))
    except (binascii.Error, ValueError):
        return b""


def _as_text(raw: bytes) -> str:
    """A text that some bytes are; "" where they are none, or too few."""
    told = decoded_text(raw) if len(raw) >= LEAST_BYTES else None
    return told or ""


def decoded_text(raw: bytes) -> str | None:
    """The text that some bytes are, in UTF-8 or UTF-16; None where they are none."""
    wide = raw.count(0) * 3 > len(raw)
    marked = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        told = raw.decode("utf-16" if marked else "utf-16-le" if wide else "utf-8")
    except UnicodeDecodeError:
        return None
    shown = sum(c.isprintable() or c.isspace() for c in told)
    return told if shown >= _LEAST_SHOWN * len(told) else None


# Names of fields that say what stands in them: a record's value is read together with such a name.
_TELLING = re.compile(
    r"\b(?:pass ?(?:word|wd|phrase|code)|pwd|secret|credentials?|token|(?:api|access|private|account) ?key|pin|ssn"
    r"|social ?security|mrn|medical ?record|patient ?(?:id|no|number)|passport|licen[cs]e|account|acct|routing|sort ?code|iban"
    r"|card|phone|mobile|cell|fax|tel)\b|^(?:(?:home|street|postal|mailing|billing|shipping|delivery|customer|patient) )?address"
)
_LEAST_NAME, _MOST_NAME = 3, 48
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_CHINESE = (
    "密码",
    "口令",
    "密钥",
    "病历",
    "住院号",
    "护照",
    "驾驶证",
    "账号",
    "帐号",
    "账户",
    "手机",
    "电话",
    "姓名",
)


@lru_cache(maxsize=4_096)
def spoken(name: str) -> str:
    """The name of a field as people say it (`patientId` is "patient id"), where it says what its value is; else ""."""
    if not _LEAST_NAME - 1 <= len(name) <= _MOST_NAME:
        return ""
    if not name.isascii():
        return name if any(word in name for word in _CHINESE) else ""
    words = " ".join(re.split(r"[\s_:.-]+", _CAMEL.sub(" ", name))).strip().lower()
    return words if _TELLING.search(words) else ""
