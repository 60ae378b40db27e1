"""Own cases for what no public set holds: credentials, and Chinese personal data. Made up, valid in form and checksum, seeded.

The sentences differ from those that the patterns were written for; the values come from generators, so nothing was tuned to one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import string
from collections.abc import Callable, Iterator

_HEX, _ALNUM = "0123456789abcdef", string.ascii_letters + string.digits
_URLSAFE = _ALNUM + "-_"
Draw = random.Random


def _some(draw: Draw, letters: str, count: int) -> str:
    return "".join(draw.choice(letters) for _ in range(count))


def _jwt(draw: Draw) -> str:
    parts = [
        json.dumps({"alg": "HS256", "kid": _some(draw, _HEX, 6)}),
        json.dumps({"sub": _some(draw, _HEX, 8), "exp": 1}),
    ]
    head, body = (base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts)
    return f"{head}.{body}.{_some(draw, _URLSAFE, 43)}"


def _pem(draw: Draw) -> str:
    kind = draw.choice(["RSA ", "EC ", "OPENSSH ", ""])
    lines = "\n".join(_some(draw, _ALNUM + "+/", 64) for _ in range(4))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


def _password(draw: Draw) -> str:
    return (
        draw.choice(["Summer", "blue", "Tiger", "x", "Qwerty", "Kran", "moon"])
        + _some(draw, _ALNUM, 4)
        + draw.choice("!#%7+9")
        + str(draw.randrange(99))
    )


# (value, whether it needs a word before it to be known for what it is)
CREDENTIALS: tuple[tuple[Callable[[Draw], str], bool], ...] = (
    (lambda d: "AKIA" + _some(d, string.ascii_uppercase + string.digits, 16), False),
    (lambda d: "sk-proj-" + _some(d, _URLSAFE, 20) + "7" + _some(d, _ALNUM, 27), False),
    (lambda d: "ghp_" + _some(d, _ALNUM, 36), False),
    (lambda d: "github_pat_" + _some(d, _ALNUM + "_", 82), False),
    (lambda d: "glpat-" + _some(d, _URLSAFE, 20), False),
    (lambda d: f"xoxb-{d.randrange(10**11)}-{d.randrange(10**11)}-" + _some(d, _ALNUM, 24), False),
    (lambda d: "AIza" + _some(d, _URLSAFE, 35), False),
    (lambda d: "hf_" + _some(d, string.ascii_letters, 34), False),
    (lambda d: "npm_" + _some(d, _ALNUM, 36), False),
    (lambda d: "sk_live_" + _some(d, _ALNUM, 24), False),
    (lambda d: f"SG.{_some(d, _URLSAFE, 22)}.{_some(d, _URLSAFE, 43)}", False),
    (_jwt, False),
    (_pem, False),
    (lambda d: f"postgresql://{_some(d, string.ascii_lowercase, 6)}:{_password(d)}@db.internal:5432/app", False),
    (lambda d: f"mongodb+srv://root:{_some(d, _ALNUM, 16)}@cluster0.example.net", False),
    (lambda d: f"Server=sql1;Database=crm;User Id=sa;Password={_password(d)};", False),
    (lambda d: "DefaultEndpointsProtocol=https;AccountName=st;AccountKey=" + _some(d, _ALNUM + "+/", 86) + "==", False),
    (lambda d: _some(d, _ALNUM + "+/", 39) + "8", True),
    (lambda d: _some(d, _HEX, 40), True),
    (_password, True),
)  # fmt: skip
_NAMED = (
    "password: {v}", "the password is {v}", "api_key={v}", 'API_KEY = "{v}"', "secret_access_key: {v}",
    "export DB_PASSWORD='{v}'", "token={v}", '{{"client_secret": "{v}"}}', "pwd={v}", "auth_token: {v}",
    "my passphrase is {v}", "access key: {v}",
)  # fmt: skip
_AROUND = (
    "{c}", "Why does this fail?\n{c}", "Here is my config:\n\n{c}\n\nWhat is wrong with it?", "please rotate {c} for me",
    "I pasted {c} by mistake", "curl -H 'Authorization: x' https://api.example.com # {c}", "log line 17: {c} rejected",
    "env:\n  - {c}\n  - DEBUG=1", "Can you read this? {c} Thanks!", '{{"note": "{c}"}}',
)  # fmt: skip


def credentials(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """(text, the credential in it)."""
    draw = random.Random(seed)
    for i in range(count):
        make, named = CREDENTIALS[i % len(CREDENTIALS)]
        value = make(draw)
        told = draw.choice(_NAMED).format(v=value) if named else value
        yield draw.choice(_AROUND).format(c=told), value


_SURNAMES, _GIVEN = (
    "王李张刘陈杨黄赵周吴徐孙马朱胡林郭何高罗", "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰飞鑫波斌宇浩凯健俊帆",
)  # fmt: skip
_CITIES = (
    "北京市朝阳区", "上海市浦东新区", "广州市天河区", "深圳市南山区", "杭州市西湖区", "成都市武侯区", "南京市鼓楼区",
    "西安市雁塔区",
)  # fmt: skip
_ROADS = ("建国路", "中山北路", "人民南路", "解放大道", "学院街", "长江路", "文昌巷", "幸福里")
_DOORS = ("", "2号楼301室", "5栋", "1单元802室")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def _resident(draw: Draw) -> str:
    body = f"{draw.choice(['110105', '310115', '440106', '330106', '510107'])}{draw.randrange(1950, 2008)}"
    body += f"{draw.randrange(1, 13):02d}{draw.randrange(1, 29):02d}{draw.randrange(1000):03d}"
    return body + "10X98765432"[sum(int(c) * w for c, w in zip(body, _WEIGHTS, strict=True)) % 11]


def _card(draw: Draw) -> str:
    body = "6222" + _some(draw, string.digits, 14)
    total = sum(
        d if i % 2 else (d * 2 - 9 if d > 4 else d * 2) for i, d in enumerate(map(int, reversed(body)))
    )
    return body + str(-total % 10)


CHINESE: dict[str, tuple[Callable[[Draw], str], tuple[str, ...]]] = {
    "person_name": (
        lambda d: d.choice(_SURNAMES) + "".join(d.choice(_GIVEN) for _ in range(d.randrange(1, 3))),
        ("我叫{v}，想查一下订单。", "姓名：{v}\n城市：北京", "联系人{v}，请回电。", "请转告{v}先生会议改期了。",
         "患者：{v}，复查。", "我是{v}，昨天来过。", "收件人：{v}",
         "{v}女士的包裹到了吗？", "客户{v}要求退款。"),
    ),
    "cn_resident_id": (_resident, ("身份证号{v}", "我的身份证是{v}，请核对。", "证件号码：{v}", "请把{v}登记一下")),
    "phone": (
        lambda d: f"1{d.choice('3456789')}{_some(d, string.digits, 9)}",
        ("手机{v}", "请打{v}联系我", "电话：{v}。", "我的号码是{v}，谢谢"),
    ),
    "card": (_card, ("卡号{v}", "银行卡 {v} 被吞了", "请把钱转到{v}", "尾号不对，完整卡号是{v}")),
    "address": (
        lambda d: f"{d.choice(_CITIES)}{d.choice(_ROADS)}{d.randrange(1, 400)}号{d.choice(_DOORS)}",
        ("地址：{v}", "请寄到{v}", "我住在{v}。", "上门地点是{v}，下午三点"),
    ),
}  # fmt: skip


def chinese(kind: str, count: int, seed: int) -> Iterator[tuple[str, str]]:
    """(text, value) of one kind."""
    draw = random.Random(f"{kind}{seed}")
    make, frames = CHINESE[kind]
    for _ in range(count):
        value = make(draw)
        yield draw.choice(frames).format(v=value), value


def seed_of(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
