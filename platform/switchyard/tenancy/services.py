"""Writes: keys, tokens, the version of the configuration."""

import secrets
import zlib
from datetime import datetime

from django.db import transaction
from django.db.models import F

from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.crypto import keyed_digest
from switchyard.core.ids import ALPHABET
from switchyard.tenancy.models import AccessToken, ApiKey, Application, ConfigVersion, User


def bump_config() -> None:
    """Tell every process that what it keeps in memory is old (seen within SNAPSHOT_POLL_S)."""
    updated = ConfigVersion.objects.filter(pk=1).update(version=F("version") + 1, changed_at=now())
    if not updated:
        ConfigVersion.objects.get_or_create(pk=1)


def _with_check(body: str) -> str:
    """Six characters of CRC-32 at the end, so that a mistyped key is known without a look-up."""
    crc = zlib.crc32(body.encode())
    return body + "".join(ALPHABET[(crc >> shift) & 31] for shift in (27, 22, 17, 12, 7, 2))


def generate_secret(prefix: str) -> tuple[str, str]:
    """(public id, whole secret): `sy_live_<id>_<secret><crc>`."""
    public = secrets.token_hex(6)
    return public, _with_check(f"{prefix}_{public}_{secrets.token_urlsafe(24).replace('_', '-')}")


@transaction.atomic
def create_key(
    *,
    application: Application,
    name: str,
    actor: User | None,
    expires_at: datetime | None = None,
    rpm: int | None = None,
    tpm: int | None = None,
    concurrency: int | None = None,
) -> tuple[ApiKey, str]:
    """The row and the plain key, which is shown once and stored nowhere."""
    public, plain = generate_secret("sy_live")
    key = ApiKey.objects.create(
        id=f"key_{public}",
        application=application,
        name=name,
        digest=keyed_digest(plain),
        hint=f"{plain[:14]}…{plain[-4:]}",
        expires_at=expires_at,
        rpm=rpm,
        tpm=tpm,
        concurrency=concurrency,
    )
    record(
        actor=actor,
        action="key.created",
        target=f"key:{key.pk}",
        lob=application.lob.slug,
        organisation_id=application.lob.organisation_id,
        detail={"name": name},
    )
    bump_config()
    return key, plain


@transaction.atomic
def revoke_key(*, key: ApiKey, actor: User | None) -> None:
    key.revoked_at = now()
    key.save(update_fields=["revoked_at"])
    record(
        actor=actor,
        action="key.revoked",
        target=f"key:{key.pk}",
        lob=key.application.lob.slug,
        organisation_id=key.application.lob.organisation_id,
    )
    bump_config()


@transaction.atomic
def create_token(*, user: User, name: str, expires_at: datetime | None = None) -> tuple[AccessToken, str]:
    _, plain = generate_secret("syt")
    token = AccessToken.objects.create(
        user=user,
        name=name,
        digest=keyed_digest(plain),
        hint=f"{plain[:10]}…{plain[-4:]}",
        expires_at=expires_at,
    )
    return token, plain
