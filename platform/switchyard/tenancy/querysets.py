"""for_tenant(): the one way to reach rows that belong to somebody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    from switchyard.tenancy.models import Membership, User


@dataclass(frozen=True)
class Scope:
    """What somebody may see: an organisation, and in it all lines of business or the named ones."""

    organisation_id: int | None
    lob_ids: frozenset[int] | None  # None: every LOB of the organisation
    lob_slugs: frozenset[str] | None
    roles: frozenset[str]
    grants: tuple[Scope, ...] = ()  # one a membership: which role reaches how far

    def allows_lob(self, slug: str) -> bool:
        return self.organisation_id is not None and (self.lob_slugs is None or slug in self.lob_slugs)

    def has_role(self, *roles: str) -> bool:
        return "admin" in self.roles or bool(self.roles.intersection(roles))

    def narrowed(self, *roles: str) -> Scope:
        """The part in which somebody holds one of the roles: administering one line of business and reading all of them
        is not administering all of them. NOBODY when there is no such part."""
        holding = [grant for grant in self.grants or (self,) if grant.has_role(*roles)]
        return _union(self.organisation_id, holding) if holding else NOBODY


NOBODY = Scope(None, frozenset(), frozenset(), frozenset())


def scope_of(user: User) -> Scope:
    """The union of somebody's memberships in their (first) organisation. Anonymous users get nothing."""
    if not getattr(user, "is_authenticated", False):
        return NOBODY
    memberships = list(user.memberships.select_related("organisation").prefetch_related("lobs"))
    if not memberships:
        return NOBODY
    organisation_id = memberships[0].organisation_id
    grants = [_grant(m) for m in memberships if m.organisation_id == organisation_id]
    return _union(organisation_id, grants)


def _grant(membership: Membership) -> Scope:
    lobs = list(membership.lobs.all())
    ids = frozenset(lob.pk for lob in lobs) if lobs else None
    slugs = frozenset(lob.slug for lob in lobs) if lobs else None
    return Scope(membership.organisation_id, ids, slugs, frozenset({membership.role}))


def _union(organisation_id: int | None, grants: Sequence[Scope]) -> Scope:
    roles = frozenset[str]().union(*(grant.roles for grant in grants))
    if any(grant.lob_ids is None for grant in grants):
        return Scope(organisation_id, None, None, roles, tuple(grants))
    ids = frozenset[int]().union(*(grant.lob_ids or () for grant in grants))
    slugs = frozenset[str]().union(*(grant.lob_slugs or () for grant in grants))
    return Scope(organisation_id, ids, slugs, roles, tuple(grants))


class TenantQuerySet(models.QuerySet):
    """Models declare `tenant_path`: the lookup that leads to their LineOfBusiness ("" is the LOB itself),
    or `tenant_lob_field`: a field that holds the LOB's slug (rows that keep names as they were)."""

    def for_tenant(self, scope: Scope) -> Any:
        if scope.organisation_id is None:
            return self.none()
        slug_field = getattr(self.model, "tenant_lob_field", None)
        if slug_field is not None:
            rows = self.filter(organisation_id=scope.organisation_id)
            return rows if scope.lob_slugs is None else rows.filter(**{f"{slug_field}__in": scope.lob_slugs})
        path = self.model.tenant_path
        prefix = f"{path}__" if path else ""
        organisation = getattr(self.model, "tenant_organisation", f"{prefix}organisation_id")
        rows = self.filter(**{organisation: scope.organisation_id})
        if scope.lob_ids is None:
            return rows
        return rows.filter(**{f"{path}__in" if path else "pk__in": scope.lob_ids})
