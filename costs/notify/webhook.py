"""POST one JSON body to a checked address: no redirect is followed and of the answer only the status is read.

A target outside of the named networks is reached through the proxy where one is set (SWITCHYARD_UPSTREAM_PROXY), as a tunnel.
Written on sockets because the deadline is for the whole call: a library's timeout starts anew with every byte, and a
target that drips them would hold a worker for as long as it likes.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from costs.notify.errors import Undelivered
from switchyard.core.addresses import checked_addresses
from switchyard.core.conf import conf
from switchyard.core.inner_tls import InnerTls
from switchyard.core.reaching import Proxy, at_home, proxy

PLAIN = re.compile(r"[\x21-\x7e]+")  # an address that can't carry a second header line
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
HEAD_MAX_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class _Deadline:
    ends: float  # monotonic

    def left(self) -> float:
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def post(url: str, body: bytes, headers: dict[str, str], *, timeout_s: float = 10.0) -> None:
    """Raises Undelivered unless the target answered 2xx in time. The name is resolved once, and what was checked is what
    is connected to."""
    if not PLAIN.fullmatch(url):
        raise Undelivered("The address holds a space, a control character or a letter outside ASCII.")
    try:
        host = urlsplit(url).hostname or url
        addresses = checked_addresses(url, conf("UPSTREAM_CIDRS"))
        through = None if at_home(addresses) else proxy()
        if not addresses and through is None:
            raise Undelivered(f"The name {host} doesn't resolve.")
        deadline = _Deadline(time.monotonic() + timeout_s)
        with _connected([str(a) for a in addresses], url, deadline, through) as connection:
            status = _speak(connection, _request(url, host, body, headers), deadline)
    except TimeoutError:
        raise Undelivered(f"{host} didn't answer within {timeout_s:g} s.") from None
    except ssl.SSLError as error:
        raise Undelivered(f"The secure connection to {host} failed: {error.reason or error}.") from None
    except ValueError as error:  # AddressRefused, or no URL; a refused certificate is one too, caught above
        raise Undelivered(str(error)) from None
    except OSError as error:
        raise Undelivered(f"{host} can't be reached: {error.strerror or error}.") from None
    if 300 <= status < 400:
        raise Undelivered(f"{host} answered {status}: redirects are not followed, name the last address.")
    if not 200 <= status < 300:
        raise Undelivered(f"{host} answered {status}.")


def _connected(
    addresses: list[str], url: str, deadline: _Deadline, through: Proxy | None
) -> socket.socket | InnerTls:
    """A connection to the first address that takes one, or through the proxy, which resolves the name itself; for https
    with the certificate checked against the name."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    if through is not None:
        plain = _tunnel(through, f"{_named(parts.hostname or '')}:{port}", deadline)
    else:
        plain = _first_of(addresses, port, deadline)
    if not secure:
        return plain
    try:
        plain.settimeout(deadline.left())
        if isinstance(plain, ssl.SSLSocket):
            return InnerTls(plain, ssl.create_default_context(), parts.hostname or "")
        return ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname)
    except BaseException:
        plain.close()
        raise


def _first_of(addresses: list[str], port: int, deadline: _Deadline) -> socket.socket:
    for address in addresses[:-1]:
        try:
            return socket.create_connection((address, port), timeout=deadline.left())
        except OSError:
            continue
    return socket.create_connection((addresses[-1], port), timeout=deadline.left())


def _tunnel(through: Proxy, place: str, deadline: _Deadline) -> socket.socket:
    """A connection to `place` by the proxy's CONNECT. Raises Undelivered when it refuses."""
    lines = [
        f"CONNECT {place} HTTP/1.1",
        f"Host: {place}",
        *(f"{k}: {v}" for k, v in through.headers.items()),
    ]
    plain = through.connect(deadline.left())
    head = b""
    try:
        plain.sendall("\r\n".join(lines).encode("ascii") + b"\r\n\r\n")
        while b"\r\n\r\n" not in head and len(head) < HEAD_MAX_BYTES:
            plain.settimeout(deadline.left())
            piece = plain.recv(4096)
            if not piece:
                break
            head += piece
        found = STATUS.match(head)
        if found is None or found[1] != b"200":
            said = f"answered {found[1].decode()}" if found else "doesn't speak HTTP"
            raise Undelivered(f"The proxy {said} when it was asked for a way to {place}.")
    except BaseException:
        plain.close()
        raise
    return plain


def _named(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _request(url: str, host: str, body: bytes, headers: dict[str, str]) -> bytes:
    parts = urlsplit(url)
    name = _named(host)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"POST {target} HTTP/1.1",
        f"Host: {name}:{parts.port}" if parts.port else f"Host: {name}",
        "User-Agent: switchyard",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{key}: {value}" for key, value in headers.items()),
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


def _speak(connection: socket.socket | InnerTls, request: bytes, deadline: _Deadline) -> int:
    """Send, and read no further than the final status line."""
    connection.settimeout(deadline.left())
    connection.sendall(request)
    head = b""
    while len(head) < HEAD_MAX_BYTES:
        connection.settimeout(deadline.left())
        piece = connection.recv(4096)
        head += piece
        while (found := STATUS.match(head)) and found[1].startswith(b"1"):
            _, end, rest = head.partition(b"\r\n\r\n")  # "continue" and the like come before the answer
            if not end:
                break
            head = rest
        if found and not found[1].startswith(b"1"):
            return int(found[1])
        if not piece:
            break
    raise Undelivered("What answered doesn't speak HTTP.")
