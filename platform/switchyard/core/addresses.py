"""Which upstream addresses may be called: public ones, and private networks that an operator named."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

NEVER = tuple(
    map(ipaddress.ip_network, ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "0.0.0.0/8", "::/128"))
)
NAT64 = ipaddress.ip_network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AddressRefused(ValueError):
    """The URL leads to where upstream calls may not go."""


def check_url(url: str, cidrs: Sequence[str], *, resolve: bool = True) -> None:
    """Raise AddressRefused unless the URL is https (or http inside a named network) and its addresses are allowed."""
    checked_addresses(url, cidrs, resolve=resolve)


def checked_addresses(url: str, cidrs: Sequence[str], *, resolve: bool = True) -> list[Address]:
    """As `check_url`; gives the addresses it checked, for a caller who connects to one of exactly those. None when the
    name doesn't resolve."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise AddressRefused(f"{url!r} is not a URL: {error}.") from None
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
        raise AddressRefused(f"{url!r} is not an http(s) URL of a host without user and password.")
    allowed = _networks(cidrs)
    addresses = list(_addresses(host, resolve))
    for address in addresses:
        _check(address, allowed, host)
    if parts.scheme == "http" and not all_within(addresses, cidrs):
        raise AddressRefused(
            f"{host} must be called by https: http is for networks in SWITCHYARD_UPSTREAM_CIDRS."
        )
    return addresses


def all_within(addresses: Sequence[Address], cidrs: Sequence[str]) -> bool:
    """Whether all of them lie in the named networks; a name that has no address doesn't."""
    named = _networks(cidrs)
    return bool(addresses) and all(_in_one(address, named) for address in addresses)


def _networks(cidrs: Sequence[str]) -> list[Network]:
    return [ipaddress.ip_network(cidr, strict=False) for cidr in cidrs]


def _in_one(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _addresses(host: str, resolve: bool) -> Iterable[Address]:
    try:
        yield ipaddress.ip_address(host)
        return
    except ValueError:
        pass
    if host.replace(".", "").isdigit() or host.lower().startswith("0x"):
        raise AddressRefused(f"{host} is an address in a form that hides it; write it as four numbers.")
    if not resolve:
        return
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return  # a name that doesn't resolve can't be called either
    for info in found:
        yield ipaddress.ip_address(info[4][0])


def check_address(raw: str, cidrs: Sequence[str], host: str) -> None:
    """Raise AddressRefused unless this one address may be called: asked again when a name was resolved to connect."""
    _check(ipaddress.ip_address(raw.partition("%")[0]), _networks(cidrs), host)


def _check(address: Address, allowed: Sequence[Network], host: str) -> None:
    for inner in (address, *_embedded(address)):
        if _in_one(inner, NEVER):
            raise AddressRefused(f"{host} is a link-local or metadata address: never an upstream.")
        if _in_one(inner, allowed):
            continue
        if not inner.is_global and not (inner is address and address.version == 6 and address.ipv4_mapped):
            raise AddressRefused(
                f"{host} is a private address; name its network in SWITCHYARD_UPSTREAM_CIDRS to allow it."
            )


def _embedded(address: Address) -> Iterable[Address]:
    """IPv4 addresses inside an IPv6 one: mapped, 6to4, Teredo, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield address.teredo[1]
    if address in NAT64:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
