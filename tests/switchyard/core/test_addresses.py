"""Where upstream calls may go: public addresses, and networks an operator named; metadata never."""

from __future__ import annotations

import pytest

from switchyard.core.addresses import AddressRefused, check_address, check_url

REFUSED = [
    "http://127.0.0.1/v1", "https://127.0.0.1/v1", "https://10.0.0.5/v1", "https://192.168.1.1", "https://[::1]/v1",
    "https://169.254.169.254/latest", "https://[fe80::1]/", "https://[::ffff:127.0.0.1]/", "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "ftp://8.8.8.8/",
    "https://user:pw@8.8.8.8/", "https:///nohost", "http://8.8.8.8/v1", "https://0.0.0.0/", "https://localhost/v1",
    "https://[::]/", "https://100.100.100.200/",
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_without_named_networks_these_are_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(url, [])


def test_a_public_address_by_https_is_allowed() -> None:
    check_url("https://8.8.8.8/v1", [])
    check_url("https://[2606:4700:4700::1111]/v1", [])


def test_a_named_network_is_allowed_also_by_http_but_metadata_never() -> None:
    check_url("http://127.0.0.1:8001/v1", ["127.0.0.0/8"])
    check_url("http://localhost:8001/v1", ["127.0.0.0/8", "::1/128"])
    with pytest.raises(AddressRefused):
        check_url("http://169.254.169.254/", ["169.254.0.0/16"])


def test_a_resolved_address_is_asked_again() -> None:
    check_address("127.0.0.1", ["127.0.0.0/8"], "models.internal")
    for address in ("10.0.0.1", "169.254.169.254", "fe80::1%eth0"):
        with pytest.raises(AddressRefused):
            check_address(address, ["127.0.0.0/8"], "models.internal")
