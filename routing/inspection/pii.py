"""Personal data by its form: cheap scans find where it could be, then shape and checksum say whether it is."""

from __future__ import annotations

import re
from collections.abc import Iterator

Found = tuple[str, int, int]

_DIGITS = re.compile(r"[+(]?\d[\d ()./-]{5,30}[\dXx]")  # a run of digits with what people write between them
_SSN = re.compile(r"(?<!\d)(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?!\d)")
_RESIDENT = re.compile(
    r"(?<!\d)[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\d)"
)
_CARD = re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?!\d)")
_IP = re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])")
_MOBILE = re.compile(r"(?<!\d)1[3-9]\d{9}(?!\d)")
_PHONE = re.compile(
    r"(?<![\d.])(?:\+\d{1,3}[ .-]?)?(?:\(?\d{2,5}\)?[ ./-]){1,4}\d{3,5}(?![\d.])|\+\d{9,14}(?!\d)"
)
_DATE = re.compile(r"^\d{4}[-./ ]\d{1,2}[-./ ]\d{1,2}|^\d{1,2}[-./ ]\d{1,2}[-./ ]\d{4}")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}[ A-Z0-9]{11,36}")
_MRN = re.compile(
    r"(?i:\b(?:MRN|medical record(?: number| no\.?)?|patient id)[:# ]{1,3}[A-Z]{0,3}\d{5,12}\b)"
)
_PASSPORT = re.compile(r"(?i:\bpassport(?: number| no\.?)?(?: is)?[:# ]{1,3}[A-Z]{0,2}\d{6,9}\b)")
_NAME = re.compile(
    r"\b(?:[Mm]y name is|I am called|(?:Mr|Mrs|Ms|Dr)\.) [A-Z][a-z]+(?: [A-Z][a-z]+)?|我叫[\u4e00-\u9fff]{2,3}"
)
_NAME_HINTS = ("y name is", "I am called", "Mr.", "Mrs.", "Ms.", "Dr.", "我叫")
EMAIL_SPAN = 320


def luhn(text: str) -> bool:
    digits = [int(c) for c in text if c.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    total = sum(d if i % 2 == 0 else d * 2 - 9 * (d > 4) for i, d in enumerate(reversed(digits)))
    return total % 10 == 0


def iban(text: str) -> bool:
    """ISO 13616: moved, lettered, modulo 97 is 1."""
    compact = text.replace(" ", "")
    if not 15 <= len(compact) <= 34 or not compact.isalnum():
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def cn_resident_id(text: str) -> bool:
    """GB 11643: the weighted sum modulo 11 gives the last character."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(d) * w for d, w in zip(text[:17], weights, strict=True))
    return "10X98765432"[total % 11] == text[17].upper()


def phone(text: str) -> bool:
    return 9 <= sum(c.isdigit() for c in text) <= 15 and not _DATE.match(text)


_NUMBERS = (
    ("us_ssn", _SSN, None), ("cn_resident_id", _RESIDENT, cn_resident_id), ("card", _CARD, luhn), ("ip_address", _IP, None),
    ("phone", _MOBILE, None), ("phone", _PHONE, phone),
)  # fmt: skip


def find(text: str) -> Iterator[Found]:
    """(kind, start, end) of what looks and adds up like personal data. Linear in the text."""
    for run in _DIGITS.finditer(text):
        yield from _numbers(text, run.start(), run.end())
    at = text.find("@")
    while at >= 0:
        match = _EMAIL.search(text, max(0, at - 64), at + EMAIL_SPAN)
        if match is not None:
            yield "email", match.start(), match.end()
        at = text.find("@", match.end() if match is not None else at + 1)
    for match in _IBAN.finditer(text):
        length = _iban_length(match.group())
        if length:
            yield "iban", match.start(), match.start() + length
    yield from _in_context(text)


def _numbers(text: str, start: int, end: int) -> Iterator[Found]:
    """The first kind that a run of digits is, most specific first."""
    for kind, pattern, adds_up in _NUMBERS:
        match = pattern.search(text, start, end)
        if match is not None and (adds_up is None or adds_up(match.group())):
            yield kind, match.start(), match.end()
            return


def _iban_length(text: str) -> int:
    """How much of a candidate is an IBAN: words that follow it may have been taken along."""
    parts = text.split(" ")
    for count in range(len(parts), 0, -1):
        candidate = " ".join(parts[:count])
        if iban(candidate):
            return len(candidate)
    return 0


def _in_context(text: str) -> Iterator[Found]:
    """Numbers and names that only the words before them give away."""
    lower = text.lower()
    if "mrn" in lower or "medical record" in lower or "patient id" in lower:
        yield from (("mrn", m.start(), m.end()) for m in _MRN.finditer(text))
    if "passport" in lower:
        yield from (("passport", m.start(), m.end()) for m in _PASSPORT.finditer(text))
    if any(hint in text for hint in _NAME_HINTS):
        yield from (("person_name", m.start(), m.end()) for m in _NAME.finditer(text))
