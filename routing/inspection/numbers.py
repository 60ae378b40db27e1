"""Numbers that identify or pay, by shape and checksum. Every pattern is bounded or possessive: linear in the text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from routing.inspection.checksums import cn_resident_id, iban_length, luhn

Found = tuple[str, int, int]
LEAST_DIGITS = 7  # fewer identify nobody
LEAST_IN_GROUPS = 15
LEAST_IN_IBAN = 9  # Malta's; the others are letters
MAX_IN_RUN = 64  # findings in one run of digits: what it holds is plain by then

_RUN = re.compile(r"\d[\d ()./-]{4,}[\dXx]")  # digits and what people write between them
_PAIR = re.compile(r"\d\d[\s.·_/-]{0,2}[A-Za-z0-9]")
_SSN = re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
_RESIDENT = re.compile(
    r"(?<!\d)[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\d)"
)
_CARD = re.compile(r"(?<![\d.])\d(?:[ -]?\d){11,18}(?![\d.]\d)(?!\d)")
# The groups as they are printed on a card, parted by whatever it is, the same each time.
_GROUPS = re.compile(
    r"(?<!\d)(?:(?:[3-6]\d{3}|2[2-7]\d\d)([^A-Za-z0-9]{1,5})\d{4}\1\d{4}\1\d{4}|3[47]\d\d([^A-Za-z0-9]{1,5})\d{6}\2\d{5})(?!\d)"
)
_IN_A_TABLE = frozenset(
    ",;|\t\n"
)  # what parts columns and rows: numbers there may stand side by side by chance
_IPV4 = re.compile(
    r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.]\d)(?!\d)"
)
_MOBILE = re.compile(r"(?<!\d)1[3-9]\d(?:[ -]?\d{4}){2}(?!\d)")
_PHONE = re.compile(
    r"(?<![\d.])(?:\+\d{9,14}|(?:\+\d{1,3}[ .-]?)?(?:\(?\d{1,5}\)? ?[ ./-]?(?<=[) ./-])){1,5}\d{2,8}|\d{9,12})(?!\d|[.,]\d)"
)
_DAY, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:19|20)\d{2}"
_DATE = re.compile(rf"(?<!\d)(?:{_YEAR}[-./ ]{_DAY}[-./ ]{_DAY}|{_DAY}[-./ ]{_DAY}[-./ ]{_YEAR})(?!\d)")
_NINE = re.compile(r"(?<!\d)\d{3}[ -]?\d{2}[ -]?\d{4}(?!\d)")
_CALLED = re.compile(
    r"(?i:phone|tel\b|call|mobile|cell|fax|office|reach|answering|whats ?app|sms|registered|text me|contact)|电话|手机|联系"
)
_CARDS = re.compile(r"(?i:card|\bcc\b|visa|master|amex|maestro|credit|debit)|卡号|信用卡|银行卡")
_SOCIAL = re.compile(r"(?i:\bssn\b|social security)")


def find(text: str) -> Iterator[Found]:
    """(kind, start, end): resident IDs, cards, social security and phone numbers, addresses of computers."""
    for run in _RUN.finditer(text):
        found = run.group()
        if len(found) - found.count(" ") >= LEAST_DIGITS and not _DATE.fullmatch(found):
            yield from _numbers(text, run.start(), run.end())


def ibans(text: str) -> Iterator[Found]:
    """Account numbers that add up."""
    for pair in _PAIR.finditer(text):
        at = pair.start() - 2  # two letters must stand before the check digits
        if at < 0 or not text[at : at + 2].isalpha() or text[at - 1 : at].isalnum():
            continue
        if length := iban_length(text[at : at + 80]):
            yield "iban", at, at + length


def in_groups(text: str) -> Iterator[Found]:
    """Cards whose groups aren't parted by a blank or hyphen; in a table only where a word says that they are cards."""
    for match in _GROUPS.finditer(text):
        start, end = match.span()
        between = match.group(1) or match.group(2)
        if between in (" ", "-") or not luhn(match.group(), 13):
            continue
        if _IN_A_TABLE.isdisjoint(between) or _near(_CARDS, text, start, end):
            yield "card", start, end


def _numbers(text: str, start: int, end: int) -> Iterator[Found]:
    """What a run of digits holds, the most specific kinds first; a place is given to one kind only."""
    taken: list[tuple[int, int]] = []
    start -= len(text[max(0, start - 2) : start]) - len(text[max(0, start - 2) : start].rstrip("+("))
    for kind, pattern, accepts in KINDS:
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
KINDS: tuple[tuple[str, re.Pattern[str], Accepts], ...] = (
    ("cn_resident_id", _RESIDENT, _is_resident), ("card", _CARD, _is_card), ("us_ssn", _NINE, _is_social),
    ("ip_address", _IPV4, _is_address), ("phone", _MOBILE, _is_address), ("phone", _PHONE, _is_phone),
)  # fmt: skip
