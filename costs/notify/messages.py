"""What an alert says, by the kind of its target."""

from __future__ import annotations

import json
from typing import Any

from cryptography.fernet import InvalidToken
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from costs.models import Alert, AlertDelivery
from costs.notify import mail, webhook
from costs.notify.errors import Undelivered
from costs.notify.signing import HEADER, signature
from switchyard.core.clock import now
from switchyard.core.conf import conf
from switchyard.core.crypto import open_secret

# Kind of alert → its name in the subject of an e-mail and on the page.
KINDS = {
    "anomaly": _("anomaly"), "bias": _("bias"), "bill_gap": _("gap in a bill"), "books": _("books"),
    "budget_limit": _("budget limit"), "budget_warning": _("budget warning"), "clock_skew": _("clock skew"),
    "event_conflict": _("event conflict"), "event_rejected": _("event rejected"),
    "guard_self_test": _("guard's self-test"), "label_budget": _("label budget"), "late_event": _("late event"),
    "missing_exchange_rate": _("missing exchange rate"), "missing_price": _("missing price"),
    "node_unbilled": _("machine not billed"), "policy_rolled_back": _("policy taken back"),
    "policy_worse": _("policy does worse"), "price_ends": _("price ends"), "test": _("test"),
    "upstream_misconfigured": _("upstream misconfigured"),
}  # fmt: skip


def send(delivery: AlertDelivery) -> None:
    """Raises Undelivered."""
    alert, target = delivery.alert, delivery.target
    if not target.active:
        raise Undelivered("The target is switched off.")
    if target.kind == "email":
        mail.send(target.address, subject_of(alert), text_of(alert))
        return
    try:
        secret = open_secret(target.secret_sealed)
    except InvalidToken:
        raise Undelivered("The secret can't be opened with the present keys: set another one.") from None
    body = json.dumps(body_of(alert), ensure_ascii=False).encode()
    headers = {
        HEADER: signature(secret, body, int(now().timestamp())),
        "X-Switchyard-Delivery": str(delivery.pk),  # the same at every try, so a receiver can tell a repeat
    }
    webhook.post(target.address, body, headers)


def body_of(alert: Alert) -> dict[str, Any]:
    return {
        "kind": alert.kind, "message": alert.message, "cause": alert.cause, "lob": alert.lob or None,
        "subject": alert.subject, "at": alert.at.isoformat().replace("+00:00", "Z"), "url": url_of(alert), "id": alert.pk,
    }  # fmt: skip


def url_of(alert: Alert) -> str:
    return f"{conf('PUBLIC_URL')}{reverse('dashboards:alerts')}#alert-{alert.pk}"


def subject_of(alert: Alert) -> str:
    return f"Switchyard: {kind_name(alert.kind)}, {alert.subject}"


def kind_name(kind: str) -> str:
    """What a reader calls a kind of alert; one that nobody wrote a name for is its own, with spaces."""
    return str(KINDS[kind]) if kind in KINDS else kind.replace("_", " ")


def text_of(alert: Alert) -> str:
    lines = [alert.message, alert.cause, "", f"{alert.at:%Y-%m-%d %H:%M} UTC", url_of(alert)]
    return "\n".join(line for index, line in enumerate(lines) if line or index == 2)
