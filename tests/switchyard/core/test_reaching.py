"""What goes to the outside goes through the operator's proxy, whoever calls: probes, bills, fine-tuning, alerts."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from costs.notify import webhook
from costs.notify.errors import Undelivered
from costs.reconciliation.fetching import fetch_bill
from modelhub.recipes.endpoints import Endpoint
from modelhub.recipes.vendor_client import Vendor
from modelhub.services.probing import Target, probe_deployment
from switchyard.core.errors import InvalidRequest, UpstreamFailure, UpstreamMisconfigured
from switchyard.core.fetching import call, fetch
from tests import factories
from tests.costs.notify.receiver import receiving
from tests.costs.notify.test_webhook import self_signed
from tests.fakes.proxy import FakeProxy
from tests.fakes.upstream import FakeUpstream
from tests.fakes.vendor import FakeVendor

pytestmark = pytest.mark.django_db


@pytest.fixture
def through(settings: Any) -> Iterator[FakeProxy]:
    with FakeProxy() as proxy:
        settings.SWITCHYARD = settings.SWITCHYARD | {"UPSTREAM_PROXY": proxy.url}
        yield proxy


def deployment(url: str, side: str = "external", **more: Any) -> Any:
    lob = factories.make_lob()
    return factories.make_deployment(
        lob.organisation, "d", side, base_url=url, tasks=["chat"], bare=True, **({"api_key": "k"} | more)
    )


def test_probing_a_deployment_goes_the_way_its_calls_go(through: FakeProxy) -> None:
    with FakeUpstream() as server:
        row = deployment(server.url, api_key="upstream-key")
        assert probe_deployment(row)["found"]["chat"]["support"] == "yes"
        outside = list(through.asked)
        row.side = "private"
        assert probe_deployment(row)["found"]["chat"]["support"] == "yes"
    assert len(outside) >= 8 and all(line.split()[1].startswith(server.url) for line in outside)
    assert through.asked == outside, "what is at home is asked directly"


def test_an_address_that_is_no_deployment_yet_goes_by_where_it_lies(through: FakeProxy) -> None:
    with FakeUpstream() as server:
        Target(server.url, api_key="upstream-key").send("GET", "/models")
    assert through.asked == [], "its network is a named one"
    with pytest.raises(UpstreamFailure):
        Target("https://no-such-name.invalid/v1").send("GET", "/models")
    [line] = through.asked
    assert line.startswith("CONNECT no-such-name.invalid:443 "), "the proxy knows names that we don't"


def test_where_no_call_may_go_none_goes_through_a_proxy_either(through: FakeProxy) -> None:
    for url in ("https://169.254.169.254/v1", "https://10.0.0.1/v1", "http://vendor.example/v1"):
        with pytest.raises(InvalidRequest):
            Target(url, leaves=True).send("GET", "/models")
    assert through.asked == []


def test_bills_fine_tuning_and_evaluations_of_a_vendor_go_through_it(through: FakeProxy) -> None:
    with FakeVendor() as vendor:
        row = deployment(
            vendor.url + "?api-version=preview", headers={"api-key": "of-azure"}, api_key=vendor.key
        )
        assert Vendor(row).find_file("none") == ""
        with pytest.raises(UpstreamFailure):
            fetch_bill(base_url=vendor.url, api_key="k", start=datetime.now(UTC), end=datetime.now(UTC))
        workload = factories.make_workload(row.lobs.first() or factories.make_lob(), "w", task="chat")
        Endpoint(row, workload, None).device()
    at = vendor.url.removesuffix("/v1")
    asked = [line.split()[1] for line in through.asked]
    assert asked[0] == f"{at}/v1/files?purpose=fine-tune&limit=100&api-version=preview"
    assert asked[1].startswith(f"{at}/bill?from=") and asked[2] == f"{at}/v1/models?api-version=preview"
    assert through.heard.count(b"api-key: of-azure") == 2


def test_its_user_and_password_are_told_to_the_proxy_alone(settings: Any) -> None:
    with FakeProxy() as proxy, FakeUpstream() as server:
        settings.SWITCHYARD = settings.SWITCHYARD | {
            "UPSTREAM_PROXY": proxy.url.replace("http://", "http://ann:s%40cret@")
        }
        Target(server.url, api_key="upstream-key", leaves=True).send("GET", "/models")
    assert b"Basic " + base64.b64encode(b"ann:s@cret") in proxy.heard


@pytest.mark.parametrize("url", ["socks5://127.0.0.1:1", "proxy.example:3128"])
def test_a_proxy_that_these_calls_can_not_speak_to_is_not_gone_round(settings: Any, url: str) -> None:
    settings.SWITCHYARD = settings.SWITCHYARD | {"UPSTREAM_PROXY": url}
    with FakeUpstream() as server:
        with pytest.raises(UpstreamMisconfigured, match="SWITCHYARD_UPSTREAM_PROXY"):
            Target(server.url, leaves=True).send("GET", "/models")
        with pytest.raises(UpstreamMisconfigured, match="SWITCHYARD_UPSTREAM_PROXY"):
            Vendor(deployment(server.url)).find_file("x")
    with pytest.raises(Undelivered, match="SWITCHYARD_UPSTREAM_PROXY"):
        webhook.post("https://no-such-name.invalid/", b"{}", {})


def test_an_alert_to_the_outside_is_a_tunnel_through_it_and_one_to_a_named_network_is_not(
    through: FakeProxy, tmp_path: Any, monkeypatch: Any, settings: Any
) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with receiving(tls=context) as receiver:
        webhook.post(receiver.url, b'{"at": "home"}', {})
        assert through.asked == [] and len(receiver.got) == 1
        monkeypatch.setattr("costs.notify.webhook.at_home", lambda addresses: False)
        webhook.post(receiver.url, b'{"to": "the outside"}', {})
        assert receiver.got[1][2] == b'{"to": "the outside"}'
    assert through.asked == ["CONNECT " + receiver.url.split("/")[2] + " HTTP/1.1"]
    assert b"the outside" not in through.heard, "it reads nothing of it"


@pytest.fixture
def encrypted(tmp_path: Any, monkeypatch: Any) -> ssl.SSLContext:
    """Of a server at 127.0.0.1 whose certificate is believed."""
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return context


def test_a_proxy_that_is_spoken_to_by_https_carries_all_of_them(
    settings: Any, encrypted: ssl.SSLContext, monkeypatch: Any
) -> None:
    monkeypatch.setattr("costs.notify.webhook.at_home", lambda addresses: False)
    with FakeProxy(tls=encrypted) as proxy, FakeUpstream() as plain, receiving(tls=encrypted) as server:
        settings.SWITCHYARD = settings.SWITCHYARD | {"UPSTREAM_PROXY": proxy.url}
        status, body = fetch(plain.url, "/v1/models", headers={}, timeout_s=5, max_bytes=10**6, leaves=True)
        assert status in (401, 404, 405) and body
        long = b"a secret" * 40_000
        status, _, _ = call(
            server.url, "/hooks/money?team=a", headers={}, timeout_s=5, max_bytes=10**6, method="POST", body=long,
            leaves=True,
        )  # fmt: skip
        assert status == 200 and server.got[0][2] == long
        webhook.post(server.url, b'{"to": "the outside"}', {})
        assert server.got[1][2] == b'{"to": "the outside"}'
    place = server.url.split("/")[2]
    asked = [line.rpartition(" ")[0] for line in proxy.asked]
    assert asked == [f"GET {plain.url}/models", f"CONNECT {place}", f"CONNECT {place}"]
    assert b"a secret" not in proxy.heard and b"the outside" not in proxy.heard


def test_neither_a_proxy_nor_a_server_with_a_strangers_certificate_is_believed(
    settings: Any, encrypted: ssl.SSLContext, monkeypatch: Any
) -> None:
    monkeypatch.setattr("costs.notify.webhook.at_home", lambda addresses: False)
    with FakeProxy(tls=encrypted) as proxy, receiving(tls=encrypted) as server:
        named = proxy.url.replace("127.0.0.1", "localhost")  # not what the certificate says
        for url, to in ((named, server.url), (proxy.url, server.url.replace("127.0.0.1", "localhost"))):
            settings.SWITCHYARD = settings.SWITCHYARD | {"UPSTREAM_PROXY": url}
            with pytest.raises(Undelivered, match="secure connection"):
                webhook.post(to, b"{}", {})
            with pytest.raises(UpstreamFailure, match="SSLCertVerificationError"):
                fetch(to, "/", headers={}, timeout_s=5, max_bytes=10, leaves=True)
    assert server.got == []


@pytest.mark.parametrize(("refuses", "words"), [(407, "answered 407"), (503, "answered 503")])
def test_a_proxy_that_refuses_an_alert_is_told_in_words(settings: Any, refuses: int, words: str) -> None:
    with FakeProxy(refuses=refuses) as proxy:
        settings.SWITCHYARD = settings.SWITCHYARD | {"UPSTREAM_PROXY": proxy.url}
        with pytest.raises(Undelivered, match=words):
            webhook.post("https://no-such-name.invalid/hook", b"{}", {})
