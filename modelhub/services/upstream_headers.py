"""Headers that a deployment's server wants beside its key, checked before they are sealed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from switchyard.core.errors import InvalidRequest

MOST, NAME_MAX, VALUE_MAX = 16, 100, 4000
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
OURS = frozenset(
    {"host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "upgrade", "te",
     "trailer", "expect", "cookie", "x-request-id", "x-switchyard-deadline-ms"}
)  # fmt: skip


def checked_headers(told: Mapping[str, object]) -> dict[str, str]:
    """Names in small letters. Raises InvalidRequest for a name that is none or ours, and for a value that breaks a line."""
    if len(told) > MOST:
        raise InvalidRequest(f"There are {len(told)} headers; at most {MOST} are kept.", param="headers")
    found: dict[str, str] = {}
    for raw, value in told.items():
        name = str(raw).strip().lower()
        if not _NAME.fullmatch(name) or len(name) > NAME_MAX:
            raise InvalidRequest(f"{raw!r} is no header name.", param="headers")
        if name in OURS:
            raise InvalidRequest(f"The header {name} is set by the gateway itself.", param="headers")
        if name in found:
            raise InvalidRequest(f"The header {name} is there twice.", param="headers")
        if not isinstance(value, str) or not value.isprintable() or not value.isascii() or not value.strip():
            raise InvalidRequest(f"The value of {name} must be printable ASCII text.", param="headers")
        if len(value) > VALUE_MAX:
            raise InvalidRequest(
                f"The value of {name} is longer than {VALUE_MAX} characters.", param="headers"
            )
        found[name] = value.strip()
    return found


def path_at(base_url: str, path: str) -> str:
    """`path` below a base URL, as a request names it; what the URL says after `?` (Azure's api-version) goes along."""
    parts = urlsplit(base_url)
    joined = parts.path.rstrip("/") + path
    return joined + ("&" if "?" in path else "?") + parts.query if parts.query else joined


def known_by(api_key: str, headers: Mapping[str, str]) -> dict[str, str]:
    """How a server knows us: the key as a bearer, unless there is none, and whatever it wants beside it or in its place."""
    return ({"authorization": f"Bearer {api_key}"} if api_key else {}) | dict(headers)
