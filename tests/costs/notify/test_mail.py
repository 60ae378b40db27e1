"""An alert by e-mail over real SMTP: through Django's own backend to a server that speaks the protocol."""

from __future__ import annotations

import email
import email.policy
import ssl
from email.message import EmailMessage
from typing import Any

import pytest

from costs import tasks
from costs.alerts import raise_alert
from costs.models import AlertDelivery
from costs.notify import mail, targets
from costs.notify.errors import Undelivered
from switchyard.settings.env import env_email
from tests import factories
from tests.costs.notify.test_webhook import self_signed
from tests.fakes.smtp import MailServer, serving_mail

pytestmark = pytest.mark.django_db


@pytest.fixture
def legal(db) -> Any:
    return factories.make_lob(factories.make_organisation(), slug="legal")


def use(
    settings: Any, monkeypatch: pytest.MonkeyPatch, server: MailServer, who: str = "", scheme: str = "smtp"
) -> None:
    """The settings as a start with this EMAIL_URL makes them."""
    monkeypatch.setenv("EMAIL_URL", f"{scheme}://{who}127.0.0.1:{server.port}")
    for name, value in env_email("EMAIL_URL").items():
        setattr(settings, name, value)


def tell(legal: Any, address: str = "money@legal.example", **changes: Any) -> None:
    targets.create_target(
        organisation_id=legal.organisation_id, lob=legal, kind="email", address=address, user=None
    )
    values = {
        "organisation_id": legal.organisation_id, "kind": "budget_warning", "lob": "legal", "subject": "lob:legal",
        "message": "80 % is spent – 合同.", "cause": "contract-clauses on ext-mini: 62 % of it", "unique_key": "k1",
    }  # fmt: skip
    raise_alert(**values | changes)


def parsed(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=email.policy.default)


def test_an_alert_arrives_at_a_mail_server(legal, settings, monkeypatch):
    with serving_mail() as server:
        use(settings, monkeypatch, server)
        tell(legal)
        assert tasks.send_alerts() == 1 and tasks.send_alerts() == 0
    [(sender, receivers, raw)] = server.got
    message = parsed(raw)
    assert (sender, receivers) == ("switchyard@localhost", ["money@legal.example"])
    assert (
        message["To"] == "money@legal.example"
        and message["Subject"] == "Switchyard: budget warning, lob:legal"
    )
    lines = message.get_content().splitlines()
    assert lines[:2] == ["80 % is spent – 合同.", "contract-clauses on ext-mini: 62 % of it"]
    assert AlertDelivery.objects.get().state == "sent"


def test_the_server_may_ask_who_sends(legal, settings, monkeypatch):
    with serving_mail(login=("alerts", "s3cret")) as server:
        use(settings, monkeypatch, server, "alerts:wrong@")
        tell(legal)
        assert tasks.send_alerts() == 0
        delivery = AlertDelivery.objects.get()
        assert delivery.state == "pending" and "SMTPAuthenticationError" in delivery.error
        assert "wrong" not in delivery.error and server.got == []
        use(settings, monkeypatch, server, "alerts:s3cret@")
        mail.send("money@legal.example", "Once more", "now it goes")
    assert len(server.got) == 1


def test_an_address_the_server_refuses_is_told_and_tried_again(legal, settings, monkeypatch):
    with serving_mail(refuses="gone@legal.example") as server:
        use(settings, monkeypatch, server)
        tell(legal, "gone@legal.example")
        tell(legal, "here@legal.example", unique_key="k2")
        assert tasks.send_alerts() == 1, "the first alert was raised before the second address was there"
    refused = AlertDelivery.objects.filter(state="pending")
    assert {d.target.address for d in refused} == {"gone@legal.example"}
    assert {d.error for d in refused} == {"The mail server refuses this address."}
    assert {tuple(to) for _, to, _ in server.got} == {("here@legal.example",)}


def test_a_message_of_dots_and_an_injected_header_arrives_as_it_was_written(legal, settings, monkeypatch):
    with serving_mail() as server:
        use(settings, monkeypatch, server)
        tell(legal, subject="x\r\nBcc: all@example", message=".\n..two\n.", cause="")
        assert tasks.send_alerts() == 1
    [(_, receivers, raw)] = server.got
    message = parsed(raw)
    assert receivers == ["money@legal.example"] and message["Bcc"] is None
    assert message.get_content().splitlines()[:3] == [".", "..two", "."]


def test_over_tls_the_certificate_is_checked_before_anything_is_said(settings, monkeypatch, tmp_path):
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving_mail(context, login=("alerts", "s3cret")) as server:
        use(settings, monkeypatch, server, "alerts:s3cret@", scheme="smtp+tls")
        with pytest.raises(Undelivered):
            mail.send("money@legal.example", "s", "t")
        assert server.got == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        mail.send("money@legal.example", "s", "t")
    assert server.secured == [True]


def test_a_server_that_is_not_there_is_told_in_words(settings, monkeypatch):
    with serving_mail() as server:
        use(settings, monkeypatch, server)
    with pytest.raises(Undelivered, match="can't be reached: Connection refused"):
        mail.send("money@legal.example", "s", "t")
