"""What only the words around it give away: names that are told, numbers with a name of their own, addresses.

A detector is (kind, anchors, pattern, group): where one of its anchors stands, the pattern is tried there and nowhere else.
Anchors are looked for only when their first word is among the words of the text. Bounded throughout, so it is linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from modelhub.ml.inspect.look import Look, places

Found = tuple[str, int, int]
_UP = "[A-ZÀ-ÖØ-ÞĀĂĄĆĈĊČĎĐĒĖĘĚĜĞĠĢĤĨĪİĴĶĹĻĽŁŃŅŇŌŐŒŔŘŚŜŞŠŢŤŪŬŮŰŲŴŶŸŹŻŽ]"
_WORD = rf"{_UP}[^\W\d_]{{1,24}}+(?:['’-]{_UP}?[^\W\d_]{{1,24}}+)?"
_ONE = rf"{_WORD}(?: (?:{_UP}\. )?{_WORD}){{0,2}}"
_FULL = rf"{_WORD} (?:{_UP}\. )?{_WORD}"
Detector = tuple[str, tuple[str, ...], re.Pattern[str], int]
_NUMBER = r"(?: number| no\.?| #)?(?: is)?[:=#： ]{0,3}"
LATIN: tuple[Detector, ...] = (
    ("person_name", ("name is", "name:", "names:"), re.compile(rf"(?i:names?(?:\s+is|:))\s+({_ONE})"), 1),
    ("person_name", ("dear",), re.compile(rf"(?i:dear)\s+({_ONE})"), 1),
    ("person_name", ("called", "call me"), re.compile(rf"(?:called|[Cc]all me)\s+({_ONE})"), 1),
    ("person_name", ("mr", "mrs", "ms", "miss", "dr", "prof", "professor", "patient"),
     re.compile(rf"(?i:mrs?|ms|miss|dr|prof(?:essor)?|patient)(?:\. ?|: ?| )({_ONE})"), 1),
    ("person_name", ("regards", "sincerely", "signed by", "behalf of"),
     re.compile(rf"(?i:regards|sincerely|signed by|behalf of)[,\s]{{1,3}}({_FULL})"), 1),
    ("person_name", ("i'm", "i am", "this is"), re.compile(rf"(?i:i'm|i am|this is)\s({_FULL})"), 1),
    ("mrn", ("mrn", "medical record", "patient id", "patient number", "patient no"),
     re.compile(rf"(?i:mrn|medical record|patient(?: id)?){_NUMBER}([A-Za-z]{{0,3}}-?\d{{5,12}})\b"), 1),
    ("passport", ("passport",), re.compile(rf"(?i:passport){_NUMBER}([A-Za-z]{{0,2}}\d{{6,9}})\b"), 1),
    ("driver_license", ("license", "licence", "dl"),
     re.compile(rf"(?i:licen[cs]e|dl){_NUMBER}([A-Za-z]{{0,2}}[\d-]{{6,15}})\b"), 1),
    ("bank_account", ("account", "acct", "routing", "sort code", "aba"),
     re.compile(r"(?i:account|acct|routing|sort code|aba)(?: number| no\.?| #|:)(?: is)?[:#： ]{0,3}(\d[\d -]{4,20}\d)\b"), 1),
    ("address", ("box", "psc"), re.compile(r"(?i:box|psc) \d{1,8}(?:,? Box \d{1,6})?(?:\s(?:APO|DPO|FPO) A[AEP] \d{5})?\b"), 0),
    ("address", ("address is", "address:", "address of", "lives at", "lives on", "live at", "live on", "located at",
                 "residing at"),
     re.compile(r"(?i:address(?: of [^\n.?!]{1,60}?)?(?: is|:)|lives? (?:at|on)|located at|residing at)\s"
                r"((?=[^.!?;]{0,60}\d)[^\n!?;]{3,60}(?:\n[^\n!?;.]{2,40}){0,3})"), 1),
)  # fmt: skip
_STREETS = (
    "street", "st", "road", "rd", "avenue", "ave", "lane", "ln", "drive", "boulevard", "blvd", "way", "court", "ct",
    "square", "place", "terrace", "crescent", "gardens", "highway", "hwy", "parkway", "pkwy", "strasse", "straße", "platz",
    "plaza", "route", "alley",
)  # fmt: skip
_BEFORE_STREET = re.compile(r"(?<![\w.$])\d{1,6}[A-Za-z]?,? (?:[^\W_][\w.'’-]{0,24}+ ?){1,5}\Z")
_AFTER_STREET = re.compile(
    r"\.?(?:,? ?\n?(?:Apt|Suite|Unit|Flat|Apartment|Floor)\.? ?#?\w{1,6}+)?(?:\s?,?\s[A-Z]{2}\b)?(?:\s\d{4,6}\b(?:-\d{4})?)?"
)
# the first word of an anchor → what to do where it stands
_ANCHORS: dict[str, list[tuple[str, Detector]]] = {}
for _detector in LATIN:
    for _anchor in _detector[1]:
        _first = re.split(r"[^a-z0-9]", _anchor)[0]
        _ANCHORS.setdefault(_first, []).append((_anchor, _detector))
_STREET_WORDS = {re.split("[^a-z]", word)[0]: word for word in _STREETS}
# Words whose anchors have a second word that is always there whole, for white space must follow it.
_ALONE = {"i": frozenset({"am", "m"}), "this": frozenset({"is"})}
HINTS = frozenset(_ANCHORS) | frozenset(_STREET_WORDS)
_HAN = r"[\u4e00-\u9fff]"
_SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾萧田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚"
    "卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
)
_SURNAME = f"(?:欧阳|上官|诸葛|司马|[{_SURNAMES}])"
_SAID = "(?:我叫|名字是|姓名|联系人|患者|收件人|客户|病人|我是)[:：是为]?"
_AFTER_NAME = r"(?=[^\u4e00-\u9fff]|$|[的和，先女在住于要想有说身电手您你])"
CHINESE: tuple[tuple[str, tuple[str, ...], re.Pattern[str], int], ...] = (
    ("person_name", ("我叫", "名字是", "姓名", "联系人", "患者", "收件人", "客户", "病人", "我是"),
     re.compile(rf"{_SAID}\s?({_SURNAME}{_HAN}{{1,2}}){_AFTER_NAME}"), 1),
    ("person_name", ("先生", "女士", "小姐", "医生", "经理", "老师"),
     re.compile(rf"({_SURNAME}{_HAN}{{0,2}})(?:先生|女士|小姐|医生|经理|老师)"), 1),
    ("mrn", ("病历号", "住院号"), re.compile(r"(?:病历号|住院号)[:：是为 ]{0,3}([A-Za-z]{0,3}-?\d{5,12})"), 1),
    ("passport", ("护照",), re.compile(r"护照号?码?[:：是为 ]{0,3}([A-Za-z]{0,2}\d{6,9})"), 1),
    ("driver_license", ("驾驶证",), re.compile(r"驾驶证号?码?[:：是为 ]{0,3}([A-Za-z]{0,2}\d{6,15})"), 1),
    ("bank_account", ("账号", "帐号", "账户"), re.compile(r"(?:账号|帐号|账户)[:：是为 ]{0,3}(\d[\d -]{6,22}\d)"), 1),
)  # fmt: skip
_DOOR = re.compile(r"\d{1,5}\s?(?:号|弄|栋|幢)(?:楼|院)?(?:\d{1,4}\s?(?:单元|号楼|栋|幢|室|层))*")
_STREET = re.compile(r"[\u4e00-\u9fff\d]{2,24}\Z")
_ROAD = re.compile(r"[路街巷道弄村镇里]")
_CJK = re.compile(_HAN)


def find(look: Look) -> Iterator[Found]:
    """(kind, start, end)."""
    hints = look.words & HINTS
    for word in hints:
        if word in _ALONE and _ALONE[word].isdisjoint(look.words):
            continue  # `I` and `this` are everywhere: what they begin must go on
        for anchor, (kind, _, pattern, group) in _ANCHORS.get(word, ()):
            for at in places(look.lower, anchor):
                match = None if look.text[at - 1 : at].isalpha() else pattern.match(look.text, at)
                if match:
                    yield kind, match.start(group), match.end(group)
        if word in _STREET_WORDS:
            yield from _streets(look, _STREET_WORDS[word])
    if not look.is_ascii and _CJK.search(look.text):
        for kind, befores, pattern, group in CHINESE:
            if any(before in look.text for before in befores):
                yield from ((kind, m.start(group), m.end(group)) for m in pattern.finditer(look.text))
        yield from _chinese_addresses(look.text)


def _streets(look: Look, street: str) -> Iterator[Found]:
    """A house number, the name of the street, the word for a street, and what belongs to it."""
    text = look.text
    for at in places(look.lower, street):
        end = at + len(street)
        if text[end : end + 1].isalnum():
            continue
        before = _BEFORE_STREET.search(text, max(0, at - 80), at)
        if before is not None:
            after = _AFTER_STREET.match(text, end)
            yield "address", before.start(), after.end() if after else end


def _chinese_addresses(text: str) -> Iterator[Found]:
    """A house number with a street before it."""
    for door in _DOOR.finditer(text):
        begin = max(0, door.start() - 24)
        street = _STREET.search(text, begin, door.start())
        if street is not None and _ROAD.search(street.group()):
            yield "address", street.start(), door.end()
