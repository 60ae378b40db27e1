"""Personal data by its form: a cheap look says where it could be, then shape, checksum and context say whether it is.

Every pattern is bounded or possessive and begins where it can't begin again one character later, so the whole is
linear in the text whatever an adversary writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from routing.inspection.checksums import cn_resident_id, iban_length, luhn

Found = tuple[str, int, int]
LEAST_DIGITS = 7  # fewer identify nobody
MAX_IN_RUN = 64  # findings in one run of digits: what it holds is plain by then

_RUN = re.compile(r"\d[\d ()./-]{4,}[\dXx]")  # digits and what people write between them
_TWO_DIGITS = re.compile(r"\d\d")
_PAIR = re.compile(r"\d\d ?[A-Za-z0-9]")
_SSN = re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
_RESIDENT = re.compile(
    r"(?<!\d)[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\d)"
)
_CARD = re.compile(r"(?<![\d.])\d(?:[ -]?\d){11,18}(?![\d.]\d)(?!\d)")
_IPV4 = re.compile(
    r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.]\d)(?!\d)"
)
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}(?![\w:])")
_MOBILE = re.compile(r"(?<!\d)1[3-9]\d{9}(?!\d)")
_PHONE = re.compile(
    r"(?<![\d.])(?:\+\d{9,14}|(?:\+\d{1,3}[ .-]?)?(?:\(?\d{1,5}\)? ?[ ./-]?(?<=[) ./-])){1,5}\d{2,8}|\d{9,12})(?!\d|[.,]\d)"
)
_DAY, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:19|20)\d{2}"
_DATE = re.compile(rf"(?<!\d)(?:{_YEAR}[-./ ]{_DAY}[-./ ]{_DAY}|{_DAY}[-./ ]{_DAY}[-./ ]{_YEAR})(?!\d)")
_NINE = re.compile(r"(?<!\d)\d{3}[ -]?\d{2}[ -]?\d{4}(?!\d)")
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}+@(?:[A-Za-z0-9\u00a1-\u2dff-]{1,63}+\.){1,8}[A-Za-z\u00a1-\u2dff]{2,24}"
)
_CALLED = re.compile(
    r"(?i:phone|tel\b|call|mobile|cell|fax|office|reach|answering|whats ?app|sms|registered|text me|contact)|电话|手机|联系"
)
_CARDS = re.compile(r"(?i:card|\bcc\b|visa|master|amex|maestro|credit|debit)|卡号|信用卡")
_SOCIAL = re.compile(r"(?i:\bssn\b|social security)")
_UP = "[A-ZÀ-ÖØ-ÞĀĂĄĆĈĊČĎĐĒĖĘĚĜĞĠĢĤĨĪİĴĶĹĻĽŁŃŅŇŌŐŒŔŘŚŜŞŠŢŤŪŬŮŰŲŴŶŸŹŻŽ]"
_WORD = rf"{_UP}[^\W\d_]{{1,24}}+(?:['’-]{_UP}?[^\W\d_]{{1,24}}+)?"
_INITIAL = rf"{_UP}\."
_ONE = rf"{_WORD}(?: (?:{_INITIAL} )?{_WORD}){{0,2}}"
_FULL = rf"{_WORD} (?:{_INITIAL} )?{_WORD}"


# What comes before a name → the name. Each pattern begins with its literal, which makes looking for it nearly free.
def _after(befores: tuple[str, ...], between: str, name: str) -> list[tuple[str, re.Pattern[str]]]:
    return [(before, re.compile(f"{re.escape(before)}{between}({name})")) for before in befores]


_NAMES = (
    *_after(("ame is ",), r"(?<=[Nn]ame is )", _ONE),
    *_after(("ear ",), r"(?<=[Dd]ear )", _ONE),
    *_after(("m called ", "all me "), "", _ONE),
    *_after(("ame:", "atient:", "Mr", "Ms", "Miss", "Dr", "Prof"), r"s?\.? ?", _ONE),
    *_after(
        ("I'm ", "I am ", "his is ", "gned by ", "ehalf of ", "egards", "incerely"), r"[,\s]{0,3}", _FULL
    ),
)
_CHINESE_NAMES = _after(
    ("我叫", "名字是", "姓名", "联系人", "患者"), r"[:：是为]?\s?", r"[\u4e00-\u9fff]{2,3}"
)
# Numbers that only the words before them give away.
_IN_CONTEXT: tuple[tuple[str, re.Pattern[str], tuple[str, ...]], ...] = (
    (
        "mrn",
        re.compile(
            r"(?:\bmrn|medical record(?: number| no\.?)?|patient (?:id|number|no\.?)|病历号|住院号)(?: is)?"
            r"[:#： ]{0,3}[a-z]{0,3}-?\d{5,12}\b"
        ),
        ("mrn", "medical record", "patient ", "病历号", "住院号"),
    ),
    (
        "passport",
        re.compile(r"(?:passport(?: number| no\.?)?(?: is)?|护照号?码?)[:#： ]{0,3}[a-z]{0,2}\d{6,9}\b"),
        ("passport", "护照"),
    ),
    (
        "driver_license",
        re.compile(r"(?:driver'?s?'? licen[cs]e(?: number| no\.?)?(?: is)?|驾驶证号?)[:#： ]{0,3}[a-z]{0,2}[\d-]{6,15}\b"),
        ("licen", "驾驶证"),
    ),
)  # fmt: skip


def find(text: str) -> Iterator[Found]:
    """(kind, start, end) of what looks and adds up like personal data. Linear in the text."""
    if "@" in text:
        yield from (("email", m.start(), m.end()) for m in _EMAIL.finditer(text))
    if _TWO_DIGITS.search(text):
        yield from _with_digits(text)
    if text.count(":") >= 7:
        yield from (("ip_address", m.start(), m.end()) for m in _IPV6.finditer(text))
    lower = text.lower()
    for kind, pattern, hints in _IN_CONTEXT:
        if any(hint in lower for hint in hints):
            yield from ((kind, m.start(), m.end()) for m in pattern.finditer(lower))
    for before, pattern in _NAMES if text.isascii() else (*_NAMES, *_CHINESE_NAMES):
        if before in text:
            yield from (("person_name", m.start(1), m.end(1)) for m in pattern.finditer(text))


def _with_digits(text: str) -> Iterator[Found]:
    for run in _RUN.finditer(text):
        found = run.group()
        if sum(map(str.isdigit, found)) >= LEAST_DIGITS and not _DATE.fullmatch(found):
            yield from _numbers(text, run.start(), run.end())
    for pair in _PAIR.finditer(text):
        at = pair.start() - 2  # two letters must stand before the check digits
        if at < 0 or not text[at : at + 2].isalpha() or text[at - 1 : at].isalnum():
            continue
        if length := iban_length(text[at : at + 48]):
            yield "iban", at, at + length


def _numbers(text: str, start: int, end: int) -> Iterator[Found]:
    """What a run of digits holds, the most specific kinds first; a place is given to one kind only."""
    taken: list[tuple[int, int]] = []
    start -= len(text[max(0, start - 2) : start]) - len(text[max(0, start - 2) : start].rstrip("+("))
    for kind, pattern, accepts in _KINDS:
        for match in pattern.finditer(text, start, end):
            if len(taken) >= MAX_IN_RUN:
                return
            a, b = match.span()
            if any(a < e and s < b for s, e in taken) or not accepts(match.group(), text, a, b):
                continue
            taken.append((a, b))
            yield kind, a, b


def _near(words: re.Pattern[str], text: str, start: int, end: int) -> bool:
    return words.search(text, max(0, start - 48), min(len(text), end + 12)) is not None


def _is_resident(found: str, text: str, start: int, end: int) -> bool:
    return cn_resident_id(found)


def _is_social(found: str, text: str, start: int, end: int) -> bool:
    return "-" in found and _SSN.fullmatch(found) is not None or _near(_SOCIAL, text, start, end)


def _is_card(found: str, text: str, start: int, end: int) -> bool:
    return luhn(found, 12 if _near(_CARDS, text, start, end) else 13)


def _is_address(found: str, text: str, start: int, end: int) -> bool:
    return True


def _is_phone(found: str, text: str, start: int, end: int) -> bool:
    """Nine digits and more look like a phone number by themselves, seven and eight need a word that says so."""
    digits = sum(c.isdigit() for c in _DATE.sub("", found))
    if not 7 <= digits <= 15:
        return False
    plain = digits < 9 or found.isdigit() or found.count(".") == 1
    return not plain or _near(_CALLED, text, start, end)


Accepts = Callable[[str, str, int, int], bool]
_KINDS: tuple[tuple[str, re.Pattern[str], Accepts], ...] = (
    ("cn_resident_id", _RESIDENT, _is_resident), ("card", _CARD, _is_card), ("us_ssn", _NINE, _is_social),
    ("ip_address", _IPV4, _is_address), ("phone", _MOBILE, _is_address), ("phone", _PHONE, _is_phone),
)  # fmt: skip
