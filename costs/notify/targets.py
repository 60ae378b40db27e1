"""Where alerts go: made, changed, tried out and removed, each with its audit event."""

from __future__ import annotations

import logging
import re
import secrets
from typing import Any

from celery import current_app
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils.translation import gettext as _

from costs.models import Alert, AlertDelivery, AlertTarget
from costs.notify import outbox
from costs.notify.webhook import PLAIN
from switchyard.audit.services import record
from switchyard.core.addresses import AddressRefused, check_url
from switchyard.core.clock import now, now_ns
from switchyard.core.conf import conf
from switchyard.core.crypto import seal_secret
from switchyard.core.errors import ValidationFailed
from switchyard.tenancy.models import LineOfBusiness, User

log = logging.getLogger(__name__)
KINDS = ["webhook", "email"]
TASK = "costs.send_alerts"
SECRET_MIN, SECRET_MAX = 16, 200
KIND = re.compile(r"[a-z][a-z0-9_]{0,39}")


@transaction.atomic
def create_target(
    *,
    organisation_id: int,
    lob: LineOfBusiness | None,
    kind: str,
    address: str,
    user: User | None,
    secret: str = "",
    kinds: list[str] | None = None,
) -> tuple[AlertTarget, str]:
    """The row and the secret that signs a webhook's messages, shown this once ("" for e-mail). Raises ValidationFailed."""
    address = check_address(kind, address)
    plain = check_secret(kind, secret) or (secrets.token_urlsafe(32) if kind == "webhook" else "")
    # Two rows with no line of business are never equal for the database, so they are looked for here.
    same = AlertTarget.objects.filter(organisation_id=organisation_id, lob=lob, kind=kind, address=address)
    if same.exists():
        raise ValidationFailed("Such a target exists already.", param="address")
    target = AlertTarget.objects.create(
        organisation_id=organisation_id, lob=lob, kind=kind, address=address, kinds=check_kinds(kinds or []),
        secret_sealed=seal_secret(plain) if plain else "",
    )  # fmt: skip
    _note(target, user, "created")
    return target, plain


@transaction.atomic
def change_target(
    *,
    target: AlertTarget,
    user: User | None,
    active: bool | None = None,
    kinds: list[str] | None = None,
    secret: str = "",
) -> AlertTarget:
    """Where it goes is said once; another address is another target. Raises ValidationFailed."""
    if active is not None:
        target.active = active
    if kinds is not None:
        target.kinds = check_kinds(kinds)
    if check_secret(target.kind, secret):
        target.secret_sealed = seal_secret(secret)
    target.save()
    _note(target, user, "changed", active=target.active, kinds=target.kinds, secret_changed=bool(secret))
    return target


@transaction.atomic
def delete_target(*, target: AlertTarget, user: User | None) -> None:
    _note(target, user, "deleted")
    target.delete()


@transaction.atomic
def send_test(*, target: AlertTarget, user: User | None) -> AlertDelivery:
    """Put a test alert into the outbox, for this target alone; it goes the way every other goes."""
    who = user.username if user else _("The command line")
    alert = Alert.objects.create(
        organisation_id=target.organisation_id, kind=outbox.TEST, lob=target.lob.slug if target.lob else "",
        subject=f"target {target.pk}", message=_("%(who)s tries out this target: alerts arrive here.") % {"who": who},
        cause=_("Nothing is wrong."), unique_key=f"test:{target.pk}:{now_ns()}", resolved_at=now(),
    )  # fmt: skip
    delivery = AlertDelivery.objects.create(alert=alert, target=target)
    _note(target, user, "tested")
    transaction.on_commit(wake)
    return delivery


def wake() -> None:
    """Tell a worker. When the broker is away, the next scheduled run sends it."""
    try:
        current_app.send_task(TASK, retry=False)
    except Exception as error:
        log.warning("alerts wait for the next run: the broker is out of reach (%s)", error)


def check_address(kind: str, address: str) -> str:
    """Names aren't resolved yet: that happens at each delivery."""
    address = address.strip()
    if kind == "email":
        try:
            validate_email(address)
        except ValidationError:
            raise ValidationFailed(f"{address!r} is no e-mail address.", param="address") from None
        return address
    if kind != "webhook":
        raise ValidationFailed("Expected webhook or email.", param="kind")
    if not PLAIN.fullmatch(address):
        raise ValidationFailed("Write the address in ASCII without spaces.", param="address")
    try:
        check_url(address, conf("UPSTREAM_CIDRS"))
    except AddressRefused as error:
        raise ValidationFailed(str(error), param="address") from None
    return address


def check_secret(kind: str, secret: str) -> str:
    if secret and kind == "email":
        raise ValidationFailed("An e-mail isn't signed: leave the secret out.", param="secret")
    if secret and not SECRET_MIN <= len(secret) <= SECRET_MAX:
        raise ValidationFailed(f"A secret has {SECRET_MIN} to {SECRET_MAX} characters.", param="secret")
    return secret


def check_kinds(kinds: list[str]) -> list[str]:
    wrong = next((k for k in kinds if not KIND.fullmatch(k)), None)
    if wrong is not None or len(kinds) > 40:
        raise ValidationFailed(f"{wrong!r} is no kind of alert, such as budget_warning.", param="kinds")
    return sorted(set(kinds))


def _note(target: AlertTarget, user: User | None, action: str, **detail: Any) -> None:
    record(
        actor=user, action=f"alert_target.{action}", target=f"alert-target:{target.pk}",
        lob=target.lob.slug if target.lob else "", organisation_id=target.organisation_id,
        detail={"kind": target.kind, "address": target.address, **detail},
    )  # fmt: skip
