"""The way to a configured server: to checked addresses only, and through the operator's proxy where a call leaves."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from switchyard.core.addresses import Address, all_within, check_address, checked_addresses
from switchyard.core.conf import conf
from switchyard.core.inner_tls import InnerTls

Connect = Callable[..., socket.socket]


@dataclass(frozen=True, slots=True)
class Proxy:
    """The one that SWITCHYARD_UPSTREAM_PROXY names. `headers` are for it alone."""

    host: str
    port: int
    headers: dict[str, str]
    secure: bool = False  # spoken to by TLS

    def connect(self, timeout_s: float | None) -> socket.socket:
        """Its certificate is checked against its name."""
        plain = socket.create_connection((self.host, self.port), timeout=timeout_s)
        if not self.secure:
            return plain
        try:
            return ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


class _Tunnelled(http.client.HTTPSConnection):
    """https to a server through a proxy that is spoken to by https as well."""

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)  # to the proxy, which opens the tunnel
        host, context = self._tunnel_host, self._context  # type: ignore[attr-defined]
        self.sock: Any = InnerTls(self.sock, context, host)


def proxy() -> Proxy | None:
    """None where none is set. Raises ValueError for one that these calls can't speak to: nothing goes round it."""
    url = conf("UPSTREAM_PROXY")
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            "SWITCHYARD_UPSTREAM_PROXY must be a URL like http://proxy.example:3128 or https://proxy.example:3129."
        )
    headers = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    secure = parts.scheme == "https"
    return Proxy(parts.hostname, parts.port or (443 if secure else 80), headers, secure)


def at_home(addresses: Sequence[Address]) -> bool:
    """Whether all of them lie in networks that SWITCHYARD_UPSTREAM_CIDRS names; a name without any isn't known at home."""
    return all_within(addresses, conf("UPSTREAM_CIDRS"))


def reach(
    url: str, *, timeout_s: float, leaves: bool | None = None
) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
    """(connection, what stands before a path in a request, headers for the proxy); it connects when it is first used.

    `leaves`: whether the call is one to the outside; None: by its address. Connecting raises AddressRefused for where no
    call may go. A proxy resolves names itself, so where they lead is its rules' matter; https is a tunnel through it.
    """
    found = checked_addresses(url, conf("UPSTREAM_CIDRS"))
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    through = proxy()
    if through is None or (at_home(found) if leaves is None else not leaves):
        connection = kind(host, parts.port, timeout=timeout_s)
        connection._create_connection = _checked(conf("UPSTREAM_CIDRS"), host)  # type: ignore[attr-defined]
        return connection, "", {}
    if secure and through.secure:
        kind = _Tunnelled
    connection = kind(through.host, through.port, timeout=timeout_s)
    if through.secure:
        connection._create_connection = lambda place, timeout=None, source=None: through.connect(timeout_s)  # type: ignore[attr-defined]
    if secure:
        connection.set_tunnel(host, parts.port or 443, headers=through.headers)
        return connection, "", {}
    return connection, f"http://{parts.netloc}", through.headers


def _checked(cidrs: Sequence[str], name: str) -> Connect:
    """A connector that checks every address of the name and connects to one of those: no second look-up to turn it."""

    def connect(address: tuple[str, int], timeout: Any = None, source: Any = None) -> socket.socket:
        host, port = address
        failure: OSError | None = None
        for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            check_address(str(place[0]), cidrs, name)
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(timeout)
                sock.connect(place)
                return sock
            except OSError as error:
                sock.close()
                failure = error
        raise failure or OSError(f"{name} has no address")

    return connect
