"""What a reader or a program is told while the pages process is away: 503 with Retry-After, /v1 goes on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
from django.http import parse_cookie
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation import gettext as _

from switchyard.gateway.replies import Send

RETRY_AFTER_S = 3
SAFE_METHODS = ("GET", "HEAD")


async def send_away(scope: dict[str, Any], send: Send, *, begun: bool) -> None:
    """A page for a browser, problem+json for a program. `begun`: the pages process had the request when it went."""
    headers = dict(scope["headers"])
    with translation.override(language(headers)):
        title, detail = words(scope["method"], begun=begun)
        if wants_page(scope["path"], headers):
            reload_s = RETRY_AFTER_S if scope["method"] in SAFE_METHODS else None
            context = {"title": title, "detail": detail, "reload_s": reload_s}
            kind, body = b"text/html; charset=utf-8", render_to_string("pages_away.html", context).encode()
        else:
            kind = b"application/problem+json"
            body = orjson.dumps({
                "type": "about:blank#pages_away", "title": title, "status": 503, "code": "pages_away", "detail": detail,
            })  # fmt: skip
        listed = [
            (b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store"),
            (b"retry-after", str(RETRY_AFTER_S).encode()), (b"content-language", translation.get_language().encode()),
            (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
            (b"x-content-type-options", b"nosniff"),
        ]  # fmt: skip
    await send({"type": "http.response.start", "status": 503, "headers": listed})
    await send({"type": "http.response.body", "body": body})


def words(method: str, *, begun: bool) -> tuple[str, str]:
    """Title and what to do."""
    if not begun:
        return _("Pages are away for a moment"), _(
            "The process that answers pages, the admin and /api/v1 is starting or was stopped. Nothing of your request was "
            "done: send it again in a few seconds. Calls of /v1 go on."
        )
    if method in SAFE_METHODS:
        return _("Pages are away for a moment"), _(
            "The process that answers pages ended while it worked on this. Ask again in a few seconds. Calls of /v1 go on."
        )
    return _("Look before you send this again"), _(
        "The process that answers pages ended while it worked on this, so it may or may not have been done. Look whether it "
        "was before you send it again. Calls of /v1 go on."
    )


def wants_page(path: str, headers: dict[bytes, bytes]) -> bool:
    return not path.startswith("/api/") and b"text/html" in headers.get(b"accept", b"")


def language(headers: dict[bytes, bytes]) -> str:
    """The reader's language, found as the pages themselves find it: cookie, browser, default."""
    asked = SimpleNamespace(
        COOKIES=parse_cookie(headers.get(b"cookie", b"").decode("latin-1")),
        META={"HTTP_ACCEPT_LANGUAGE": headers.get(b"accept-language", b"").decode("latin-1")},
    )
    return translation.get_language_from_request(asked)  # type: ignore[arg-type]
