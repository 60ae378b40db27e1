"""Writes of people and service accounts. Nobody makes, changes or removes an account that outranks them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction

from switchyard.audit.services import record
from switchyard.core.errors import Conflict
from switchyard.tenancy.models import LineOfBusiness, Membership, User
from switchyard.tenancy.querysets import Scope


@transaction.atomic
def create_account(
    *,
    actor: User,
    organisation_id: int,
    name: str,
    role: str,
    lobs: Sequence[LineOfBusiness] = (),
    password: str | None = None,
    email: str = "",
    is_service: bool = False,
) -> User:
    """A person (with a password) or a service account (without one, tokens only)."""
    user = User(username=name, email=email, is_service=is_service)
    user.set_password(password)
    user.save()
    membership = Membership.objects.create(user=user, organisation_id=organisation_id, role=role)
    membership.lobs.set(lobs)
    _note(actor, "created", user, organisation_id, role=role, service=is_service)
    return user


@transaction.atomic
def change_account(
    *,
    actor: User,
    scope: Scope,
    user: User,
    role: str | None = None,
    lobs: Sequence[LineOfBusiness] = (),
    email: str | None = None,
    is_active: bool | None = None,
) -> User:
    """A role replaces those there were. Raises PermissionDenied or Conflict (one's own account)."""
    refuse_if_outranked(scope, user)
    if user.pk == actor.pk and (role is not None or is_active is False):
        raise Conflict("Your own role and standing are changed by somebody else.", code="own_account")
    if role is not None:
        user.memberships.filter(organisation_id=scope.organisation_id).delete()
        Membership.objects.create(user=user, organisation_id=scope.organisation_id, role=role).lobs.set(lobs)
    if email is not None:
        user.email = email
    if is_active is not None:
        user.is_active = is_active
    user.save(update_fields=["email", "is_active"])
    _note(actor, "changed", user, scope.organisation_id, role=role, is_active=is_active)
    return user


@transaction.atomic
def remove_account(*, actor: User, scope: Scope, user: User) -> None:
    """With its tokens; what it did stays in the audit log under its name."""
    refuse_if_outranked(scope, user)
    if user.pk == actor.pk:
        raise Conflict("Your own account is removed by somebody else.", code="own_account")
    _note(actor, "removed", user, scope.organisation_id)
    user.delete()


def refuse_if_outranked(scope: Scope, user: User) -> None:
    """Raises PermissionDenied when the account holds a role, or reaches a line of business, that the asker doesn't."""
    for membership in user.memberships.prefetch_related("lobs"):
        lobs = {lob.pk for lob in membership.lobs.all()}
        reaches_further = scope.lob_ids is not None and (not lobs or not lobs <= scope.lob_ids)
        foreign = membership.organisation_id != scope.organisation_id
        if foreign or reaches_further or not scope.has_role(membership.role):
            raise PermissionDenied(
                "This account holds more than you do: it takes somebody who holds as much."
            )


def _note(actor: User, action: str, user: User, organisation_id: int | None, **detail: Any) -> None:
    record(
        actor=actor, action=f"account.{action}", target=f"user:{user.username}", organisation_id=organisation_id,
        detail={name: value for name, value in detail.items() if value is not None},
    )  # fmt: skip
