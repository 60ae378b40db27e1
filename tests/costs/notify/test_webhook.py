"""Webhooks over real sockets: signed, bounded in time, and never where they may not go."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from costs.notify import webhook
from costs.notify.errors import Undelivered
from costs.notify.signing import signature
from tests.costs.notify.receiver import receiving


def test_a_body_arrives_whole_at_the_path_with_its_headers():
    body = '{"message": "80 % ist verbraucht, 八成"}'.encode()
    with receiving() as receiver:
        webhook.post(receiver.url, body, {"X-Switchyard-Signature": "t=1,v1=ab"})
    [(path, headers, got)] = receiver.got
    assert (path, got) == ("/hooks/money?team=a", body)
    assert headers["x-switchyard-signature"] == "t=1,v1=ab" and headers["content-type"] == "application/json"


def test_the_signature_is_the_hmac_of_time_and_body():
    """As a receiver checks it, with nothing of ours."""
    told = dict(part.split("=") for part in signature("s3cret", b'{"a": 1}', 1_700_000_000).split(","))
    expected = hmac.new(b"s3cret", b'1700000000.{"a": 1}', hashlib.sha256).hexdigest()
    assert told == {"t": "1700000000", "v1": expected}


@pytest.mark.parametrize(
    ("status", "words"), [(500, "answered 500"), (404, "answered 404"), (302, "redirects are not followed")]
)
def test_an_answer_that_is_no_2xx_is_told(status, words):
    answers = {"status": status, "headers": {"Location": "http://169.254.169.254/"}}
    with receiving(**answers) as receiver, pytest.raises(Undelivered, match=words):
        webhook.post(receiver.url, b"{}", {})
    assert len(receiver.got) == 1


def test_a_target_that_drips_its_answer_holds_nobody_past_the_deadline():
    with receiving(drip_s=0.2) as receiver:
        began = time.monotonic()
        with pytest.raises(Undelivered, match="within 0.5 s"):
            webhook.post(receiver.url, b"{}", {}, timeout_s=0.5)
        assert time.monotonic() - began < 1.5


def test_an_interim_answer_is_passed_over_and_noise_is_told():
    assert _answered(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n") is None
    for noise in (b"SSH-2.0-OpenSSH\r\n", b"", b"x" * 40_000):
        assert "doesn't speak HTTP" in str(_answered(noise))


def _answered(raw: bytes) -> Undelivered | None:
    """What becomes of a call that a bare socket answers with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(raw)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            webhook.post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"{}", {}, timeout_s=5)
        except Undelivered as error:
            return error
        finally:
            thread.join(timeout=5)
    return None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://169.254.169.254/latest/meta-data", "never an upstream"),
        ("http://10.0.0.1/", "private address"),
        ("http://[::ffff:10.0.0.1]/", "private address"),
        ("http://2130706433/", "form that hides it"),
        ("http://8.8.8.8/", "called by https"),
        ("ftp://127.0.0.1/", "not an http"),
        ("http://user:pw@127.0.0.1/", "without user and password"),
        ("http://127.0.0.1/a b", "space"),
        ("http://127.0.0.1/\r\nX-Evil: 1", "space"),
        ("http://127.0.0.1:99999/", "not a URL"),
        ("https://no-such-name.invalid/", "doesn't resolve"),
    ],
)  # fmt: skip
def test_where_no_call_may_go_none_goes(url, words, monkeypatch):
    def connect(*_args, **_kwargs):
        raise AssertionError("it connected")

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(Undelivered, match=words):
        webhook.post(url, b"{}", {})


def test_loopback_is_refused_where_no_operator_named_it(settings):
    settings.SWITCHYARD = settings.SWITCHYARD | {"UPSTREAM_CIDRS": []}
    with receiving() as receiver, pytest.raises(Undelivered, match="private address"):
        webhook.post(receiver.url, b"{}", {})
    assert receiver.got == []


def test_a_name_is_resolved_once_so_it_cannot_change_its_mind(monkeypatch):
    """The first answer is allowed, a second would be the metadata service: nobody asks a second time."""
    asked = []

    def resolve(host, port, *args, **kwargs):
        if host != "hooks.example":
            return real(host, port, *args, **kwargs)
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "169.254.169.254"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with receiving() as receiver:
        webhook.post(receiver.url.replace("127.0.0.1", "hooks.example"), b"{}", {})
        assert receiver.got[0][1]["host"].startswith("hooks.example:")
    assert asked == ["hooks.example"]


def test_nobody_listening_is_told_in_words():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Undelivered, match="can't be reached"):
        webhook.post(f"http://127.0.0.1:{port}/", b"{}", {}, timeout_s=2)


def test_plain_http_behind_an_https_address_gets_nothing():
    with receiving() as receiver, pytest.raises(Undelivered, match="secure connection"):
        webhook.post(receiver.url.replace("http:", "https:"), b"{}", {}, timeout_s=3)
    assert receiver.got == []


def test_a_certificate_is_checked_against_who_vouches_for_it_and_its_name(tmp_path, monkeypatch):
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with receiving(tls=context) as receiver:
        with pytest.raises(Undelivered, match="secure connection"):
            webhook.post(receiver.url, b"{}", {}, timeout_s=3)
        assert receiver.got == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        webhook.post(receiver.url, b"{}", {}, timeout_s=3)
        assert len(receiver.got) == 1
        with pytest.raises(Undelivered, match="secure connection"):  # the right key under another name
            webhook.post(receiver.url.replace("127.0.0.1", "127.0.0.2"), b"{}", {}, timeout_s=3)


def self_signed(folder):
    """A certificate that vouches for itself as 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks")])
    at = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return folder / "cert.pem", folder / "key.pem"
