"""The outbox: written with the alert, tried again with growing pauses, given up in words; each target hears its own."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail
from django.db import transaction

from costs import tasks
from costs.alerts import raise_alert, resolve
from costs.models import Alert, AlertDelivery, AlertTarget
from costs.notify import outbox, targets
from switchyard.audit.models import AuditEvent
from switchyard.core.errors import ValidationFailed
from tests import factories
from tests.costs.notify.receiver import receiving

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture
def legal(db, time_machine):
    time_machine.move_to(NOON, tick=False)
    return factories.make_lob(factories.make_organisation(), slug="legal")


def target_for(lob, address, kind="webhook", *, whole=False, **values):
    made, _ = targets.create_target(
        organisation_id=lob.organisation_id, lob=None if whole else lob, kind=kind, address=address, user=None,
        **({"secret": "sixteen letters!"} if kind == "webhook" else {}) | values,
    )  # fmt: skip
    return made


def tell(owner, number=1, **changes):
    values = {
        "organisation_id": owner.organisation_id, "kind": "budget_warning", "lob": owner.slug, "subject": "lob:legal",
        "message": "80 % is spent.", "cause": "contract-clauses on ext-mini: 62 % of it", "unique_key": f"k{number}",
    }  # fmt: skip
    return raise_alert(**values | changes)


def test_an_alert_reaches_a_webhook_signed_and_with_its_cause(legal):
    with receiving() as receiver:
        target_for(legal, receiver.url)
        alert = tell(legal)
        assert tasks.send_alerts() == 1 and tasks.send_alerts() == 0
    [(_, headers, body)] = receiver.got
    assert json.loads(body) == {
        "kind": "budget_warning", "message": "80 % is spent.", "cause": "contract-clauses on ext-mini: 62 % of it",
        "lob": "legal", "subject": "lob:legal", "at": "2026-11-03T12:00:00Z",
        "url": f"http://127.0.0.1:8000/alerts/#alert-{alert.pk}", "id": alert.pk,
    }  # fmt: skip
    digest = hmac.new(b"sixteen letters!", b"%d." % NOON.timestamp() + body, hashlib.sha256).hexdigest()
    assert headers["x-switchyard-signature"] == f"t={int(NOON.timestamp())},v1={digest}"
    delivery = AlertDelivery.objects.get()
    assert (delivery.state, delivery.attempts, delivery.sent_at) == ("sent", 1, NOON)


def test_an_alert_reaches_an_address_by_mail(legal):
    target_for(legal, "money@legal.example", "email")
    alert = tell(legal, subject="lob:legal\r\nBcc: all@example")
    assert tasks.send_alerts() == 1
    [message] = mail.outbox
    assert message.to == ["money@legal.example"]
    assert message.subject == "Switchyard: budget warning, lob:legal Bcc: all@example"
    assert message.body.splitlines() == [
        "80 % is spent.", "contract-clauses on ext-mini: 62 % of it", "", "2026-11-03 12:00 UTC",
        f"http://127.0.0.1:8000/alerts/#alert-{alert.pk}",
    ]  # fmt: skip


def test_without_a_mail_server_the_delivery_says_so(legal, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = ""
    target_for(legal, "money@legal.example", "email")
    tell(legal)
    assert tasks.send_alerts() == 0
    assert "EMAIL_URL" in AlertDelivery.objects.get().error


def test_what_fails_is_tried_eight_times_over_growing_pauses_and_given_up_in_words(legal, time_machine):
    with receiving(status=503) as receiver:
        target_for(legal, receiver.url)
        tell(legal)
        at, pauses = NOON, []
        for attempt in range(1, 9):
            time_machine.move_to(at - timedelta(seconds=1), tick=False)
            if attempt > 1:
                assert outbox.send_due() == (0, 0)  # not a second before its time
            time_machine.move_to(at, tick=False)
            assert outbox.send_due() == (0, 1)
            delivery = AlertDelivery.objects.get()
            assert delivery.attempts == attempt == len(receiver.got)
            pauses.append(int((delivery.next_at - at).total_seconds()) // 60)
            at = delivery.next_at
        assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
        assert delivery.state == "failed"
        assert delivery.error == "Given up after 8 attempts. 127.0.0.1 answered 503."
        time_machine.move_to(at + timedelta(days=1), tick=False)
        assert outbox.send_due() == (0, 0)
        assert len({headers["x-switchyard-delivery"] for _, headers, _ in receiver.got}) == 1


def test_a_target_that_recovers_gets_what_it_missed(legal, time_machine):
    with receiving(status=500) as receiver:
        target_for(legal, receiver.url)
        tell(legal)
        tasks.send_alerts()
        receiver.status = 204
        time_machine.move_to(NOON + timedelta(minutes=1), tick=False)
        assert tasks.send_alerts() == 1
    delivery = AlertDelivery.objects.get()
    assert (delivery.state, delivery.attempts, delivery.error) == ("sent", 2, "")


def test_two_workers_send_it_once(legal, monkeypatch):
    """The second looks while the first is sending: what is claimed is nobody else's."""
    with receiving() as receiver:
        target_for(legal, receiver.url)
        tell(legal)
        real, seen = outbox.due, []

        def both(limit):
            rows = list(real(limit))
            if not seen:
                seen.append(1)
                assert outbox.send_due() == (1, 0)
            return rows

        monkeypatch.setattr(outbox, "due", both)
        assert outbox.send_due() == (0, 0)
    assert len(receiver.got) == 1


def test_what_a_worker_left_when_it_died_is_taken_up_by_another(legal, time_machine, monkeypatch):
    with receiving() as receiver:
        target_for(legal, receiver.url)
        tell(legal)
        with monkeypatch.context() as broken, pytest.raises(SystemExit):
            broken.setattr(outbox.messages, "send", lambda _: (_ for _ in ()).throw(SystemExit))
            outbox.send_due()
        assert outbox.send_due() == (0, 0)
        time_machine.move_to(NOON + outbox.CLAIM, tick=False)
        assert outbox.send_due() == (1, 0)
    assert len(receiver.got) == 1


def test_each_target_hears_what_is_its_own(legal):
    service = factories.make_lob(legal.organisation, "customer-service")
    stranger = factories.make_lob(factories.make_organisation(), "legal")
    addresses = {}
    for name, lob, options in (
        ("whole", legal, {"whole": True}), ("legal", legal, {}), ("service", service, {}), ("stranger", stranger, {}),
        ("limits", legal, {"kinds": ["budget_limit"]}), ("off", legal, {}),
    ):  # fmt: skip
        addresses[name] = target_for(lob, f"{name}@example.com", "email", **options)
    targets.change_target(target=addresses["off"], user=None, active=False)
    tell(legal, 1)
    assert sorted(d.target.address for d in AlertDelivery.objects.all()) == [
        "legal@example.com",
        "whole@example.com",
    ]
    AlertDelivery.objects.all().delete()
    tell(legal, 2, lob="", subject="ledger", kind="books")
    assert [d.target.address for d in AlertDelivery.objects.all()] == ["whole@example.com"]


def test_an_alert_and_its_deliveries_are_written_together_or_not_at_all(legal):
    target_for(legal, "money@legal.example", "email")
    with pytest.raises(RuntimeError), transaction.atomic():
        tell(legal)
        raise RuntimeError("whoever raised it failed afterwards")
    assert not Alert.objects.exists() and not AlertDelivery.objects.exists()
    assert tell(legal) is not None and tell(legal) is None
    assert AlertDelivery.objects.count() == 1


def test_alerts_that_others_wrote_are_gathered_but_none_from_before_the_target(legal, time_machine):
    def written(number, **changes):
        values = {
            "organisation_id": legal.organisation_id,
            "kind": "event_rejected",
            "lob": "legal",
            "subject": "e",
        }
        return Alert.objects.create(**values | {"message": "m", "unique_key": f"w{number}"} | changes)

    written(1)
    time_machine.move_to(NOON + timedelta(minutes=1), tick=False)
    target_for(legal, "money@legal.example", "email")
    fresh, seen_to = written(2), written(3)
    resolve(alert=seen_to, user=None)
    written(4, lob="elsewhere")
    assert outbox.gather() == 1 and outbox.gather() == 0
    assert AlertDelivery.objects.get().alert == fresh


def test_a_secret_is_sealed_made_where_none_is_given_and_told_once(legal):
    row, plain = targets.create_target(
        organisation_id=legal.organisation_id,
        lob=legal,
        kind="webhook",
        address="https://8.8.8.8/x",
        user=None,
    )
    assert len(plain) >= 32 and plain not in row.secret_sealed
    assert plain not in json.dumps([e.detail for e in AuditEvent.objects.all()])


@pytest.mark.parametrize(
    ("kind", "address", "extra", "words"),
    [
        ("webhook", "http://8.8.8.8/", {}, "https"),
        ("webhook", "http://169.254.169.254/", {}, "never an upstream"),
        ("webhook", "https://10.1.2.3/", {}, "private address"),
        ("webhook", "https://a.example/ b", {}, "ASCII"),
        ("webhook", "https://8.8.8.8/", {"secret": "short"}, "16 to 200"),
        ("email", "nobody", {}, "no e-mail address"),
        ("email", "a@b.example\nBcc: c@d.example", {}, "no e-mail address"),
        ("email", "a@b.example", {"secret": "sixteen letters!"}, "isn't signed"),
        ("email", "a@b.example", {"kinds": ["No Such"]}, "no kind of alert"),
        ("pigeon", "the roof", {}, "webhook or email"),
    ],
)  # fmt: skip
def test_a_target_that_nothing_may_or_can_reach_is_refused(legal, kind, address, extra, words):
    with pytest.raises(ValidationFailed, match=words):
        targets.create_target(
            organisation_id=legal.organisation_id, lob=legal, kind=kind, address=address, user=None, **extra
        )
    assert not AlertTarget.objects.exists()


def test_the_same_target_twice_is_refused_for_the_organisation_too(legal):
    for whole in (True, False):
        target_for(legal, "a@b.example", "email", whole=whole)
        with pytest.raises(ValidationFailed, match="exists already"):
            target_for(legal, "a@b.example", "email", whole=whole)
    assert AlertTarget.objects.count() == 2


def test_a_test_alert_goes_to_its_target_alone_and_is_nothing_open(legal):
    person = factories.make_user("fiona", legal.organisation, "finance")
    with receiving() as receiver:
        first = target_for(legal, receiver.url, kinds=["budget_limit"])
        target_for(legal, "other@legal.example", "email")
        delivery = targets.send_test(target=first, user=person)
        assert tasks.send_alerts() == 1
    assert AlertDelivery.objects.get() == delivery and mail.outbox == []
    assert "fiona tries out" in json.loads(receiver.got[0][2])["message"]
    assert not Alert.objects.filter(resolved_at__isnull=True).exists()
