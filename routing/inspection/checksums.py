"""Whether a number adds up: cards, IBANs, Chinese resident IDs."""

from __future__ import annotations

# ISO 13616: the length of an account number by country.
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28, "CH": 21,
    "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27,
    "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
    "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27,
    "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25,
    "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23,
    "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip
_LETTERS = {ord("A") + i: str(10 + i) for i in range(26)}
_BETWEEN = " \t\n.-_/·"  # what may part the groups of an IBAN
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def luhn(text: str, least: int = 13) -> bool:
    """ISO 7812, over the digits of `text`."""
    digits = [int(c) for c in text if c.isdigit()]
    if not least <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    total = sum(d if i % 2 == 0 else _DOUBLED[d] for i, d in enumerate(reversed(digits)))
    return total % 10 == 0


def iban_length(text: str) -> int:
    """How many characters of `text`, from its first, are an IBAN (0: none): moved, lettered, modulo 97 is 1."""
    wanted = IBAN_LENGTHS.get(text[:2].upper())
    if wanted is None:
        return 0
    whole, gap, used = "", 0, 0
    for char in text:
        used += 1
        if char.isascii() and char.isalnum():
            whole, gap = whole + char, 0
        elif (gap := gap + 1) > 2 or char not in _BETWEEN:
            return 0
        if len(whole) == wanted:
            break
    if len(whole) != wanted or text[used : used + 1].isalnum():
        return 0
    whole = whole.upper()
    return used if int((whole[4:] + whole[:4]).translate(_LETTERS)) % 97 == 1 else 0


def cn_resident_id(text: str) -> bool:
    """GB 11643: the weighted sum modulo 11 gives the last character."""
    total = sum(int(d) * w for d, w in zip(text[:17], _WEIGHTS, strict=True))
    return "10X98765432"[total % 11] == text[17].upper()
