"""The demonstration company in the database: made once and whole; later starts only refresh what moved."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.db import transaction

from costs.models import Budget, Price
from costs.nodes.changes import create_node
from modelhub.models import Deployment
from routing.models import Policy
from routing.services import policies
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.crypto import keyed_digest
from switchyard.core.money import usd_to_nusd
from switchyard.demo import company, guard, plans, versions
from switchyard.supervisor.prices import node_rate, stand_in_prices
from switchyard.tenancy.models import (
    AccessToken,
    ApiKey,
    Application,
    LineOfBusiness,
    Membership,
    Organisation,
    User,
    Workload,
)
from switchyard.tenancy.services import bump_config, create_key, create_token

POLICIES = Path(__file__).with_name("policies")


@dataclass(frozen=True)
class Upstream:
    """Where one side's server listens this time, and its key."""

    url: str
    key: str


def ensure_organisation(slug: str, name: str) -> Organisation:
    """The installation's one organisation; an existing one keeps its name."""
    found = Organisation.objects.order_by("pk").first()
    return found or Organisation.objects.create(slug=slug, name=name)


def ensure_person(
    *, organisation: Organisation, username: str, role: str, password: str, lobs: list[LineOfBusiness] | None = None
) -> User:  # fmt: skip
    """Somebody with a role; the password of an existing person is left alone."""
    user = User.objects.filter(username=username).first()
    if user is None:
        user = User(username=username, is_staff=role == "admin", is_superuser=role == "admin")
        user.set_password(password)
        user.save()
        record(actor=None, action="user.created", target=f"user:{username}", organisation_id=organisation.pk)
    membership, created = Membership.objects.get_or_create(user=user, organisation=organisation, role=role)
    if created and lobs:
        membership.lobs.set(lobs)
    return user


def ensure_accounts(organisation: Organisation, kept: Mapping[str, Any]) -> dict[str, Any]:
    """The administrator with a working token: {"username", "password", "token"}."""
    admin = dict(kept.get("admin") or {})
    admin.setdefault("username", "admin")
    admin.setdefault("password", secrets.token_urlsafe(12))
    user = ensure_person(
        organisation=organisation, username=admin["username"], role="admin", password=admin["password"]
    )
    digest = keyed_digest(admin.get("token", ""))
    if not AccessToken.objects.filter(user=user, digest=digest, revoked_at__isnull=True).exists():
        _, admin["token"] = create_token(user=user, name="demonstration")
    return admin


def ensure_keys(organisation: Organisation, kept: Mapping[str, Any]) -> dict[str, str]:
    """A working key per line of business; those already known keep working."""
    keys = {}
    for plan in company.LOBS:
        application = Application.objects.filter(
            lob__organisation=organisation, lob__slug=plan.slug, slug=plan.application
        ).first()
        if application is None:
            continue  # somebody removed it: it stays removed
        plain = (kept.get("keys") or {}).get(plan.slug, "")
        known = ApiKey.objects.filter(digest=keyed_digest(plain), revoked_at__isnull=True)
        if not known.filter(application=application).exists():
            _, plain = create_key(application=application, name="demonstration", actor=None)
        keys[plan.slug] = plain
    return keys


def ensure_viewer(organisation: Organisation, kept: Mapping[str, Any]) -> dict[str, str]:
    """Somebody who sees one line of business only."""
    viewer = dict(kept.get("viewer") or {})
    viewer.setdefault("username", "viewer")
    viewer.setdefault("password", secrets.token_urlsafe(12))
    lobs = list(LineOfBusiness.objects.filter(organisation=organisation, slug=company.VIEWER_LOB))
    if lobs:
        ensure_person(
            organisation=organisation, username=viewer["username"], role="viewer",
            password=viewer["password"], lobs=lobs,
        )  # fmt: skip
    return viewer


@transaction.atomic
def create_company(organisation: Organisation, upstreams: Mapping[str, Upstream]) -> None:
    """Everything the demonstration company owns, in one transaction."""
    lobs = {plan.slug: _create_lob(organisation, plan) for plan in company.LOBS}
    rate = node_rate()
    node = create_node(
        organisation_id=organisation.pk, actor=None, name=company.NODE, pool=company.POOL,
        usd_per_hour=Decimal(rate.usd_per_hour), planned_utilisation=Decimal(company.PLANNED_UTILISATION),
        source=rate.source,
    )  # fmt: skip
    for deployment in company.DEPLOYMENTS:
        row = Deployment(
            organisation=organisation, name=deployment.name, side=deployment.side, model=deployment.model,
            base_url=upstreams[deployment.side].url, tasks=list(deployment.tasks), heads=bool(deployment.heads),
            region="on-premises" if deployment.side == "private" else "vendor", note=deployment.note,
            node=node if deployment.side == "private" else None,
        )  # fmt: skip
        row.api_key = upstreams[deployment.side].key
        row.save()
    _create_prices(organisation)
    _create_budgets(organisation, lobs)
    plans.create(organisation)
    versions.create(organisation)
    _create_policies(organisation, lobs)
    record(
        actor=None, action="demonstration.created", target=f"organisation:{organisation.slug}",
        organisation_id=organisation.pk, detail={"lobs": sorted(lobs)},
    )  # fmt: skip
    bump_config()


def _create_lob(organisation: Organisation, plan: company.LobPlan) -> LineOfBusiness:
    setting = guard.setting_for(plan.slug)
    lob = LineOfBusiness.objects.create(
        organisation=organisation, slug=plan.slug, name=plan.name, guard_mode=setting.mode,
        guard_threshold=setting.threshold, label_price_nusd=usd_to_nusd(Decimal(plan.label_usd)),
    )  # fmt: skip
    Application.objects.create(lob=lob, slug=plan.application, name=plan.application_name)
    for workload in plan.workloads:
        Workload.objects.create(
            organisation=organisation, lob=lob, name=workload.name, task=workload.task, tier=workload.tier,
            sensitivity=workload.sensitivity, metric=workload.metric, correct_when=workload.correct_when,
            correct_rule=workload.correct_rule, data_set=workload.data_set, note=workload.note,
        )  # fmt: skip
    return lob


def _create_prices(organisation: Organisation) -> None:
    """From the day of the book, or from before the history, whichever is earlier."""
    by_model = {price.model: price for price in stand_in_prices()}
    for deployment in company.DEPLOYMENTS:
        if deployment.side != "external":
            continue
        price = by_model[deployment.model]
        published = datetime.fromisoformat(price.as_of).replace(tzinfo=UTC)
        Price.objects.create(
            organisation=organisation, deployment=deployment.name, source=price.source,
            valid_from=min(published, now() - timedelta(days=60)),
            input_nusd_per_munit=usd_to_nusd(Decimal(price.input_usd_per_mtok)),
            output_nusd_per_munit=usd_to_nusd(Decimal(price.output_usd_per_mtok)),
            batch_ppm=int(Decimal(price.batch_pct) * 10_000) if price.batch_pct else None,
        )  # fmt: skip


def _create_budgets(organisation: Organisation, lobs: Mapping[str, LineOfBusiness]) -> None:
    Budget.objects.create(
        organisation=organisation, scope="organisation",
        limit_nusd=usd_to_nusd(Decimal(company.ORGANISATION_BUDGET_USD)),
    )  # fmt: skip
    for slug, lob in lobs.items():
        Budget.objects.create(
            organisation=organisation, lob=lob, scope=f"lob:{slug}",
            limit_nusd=usd_to_nusd(Decimal(company.LOB_BUDGET_USD)),
        )  # fmt: skip
        Budget.objects.create(
            organisation=organisation, lob=lob, scope=f"lob:{slug}", covers="labels",
            limit_nusd=usd_to_nusd(Decimal(company.LABEL_BUDGET_USD)),
        )  # fmt: skip


def _create_policies(organisation: Organisation, lobs: Mapping[str, LineOfBusiness]) -> None:
    """The organisation's first: its invariants are what the others are proven against."""
    if Policy.objects.filter(organisation=organisation).exists():
        return
    for slug, lob in ((None, None), *lobs.items()):
        document = (POLICIES / f"{slug or 'organisation'}.yaml").read_text("utf-8")
        draft = policies.create_draft(
            organisation=organisation, lob=lob, document=document, user=None, note="demonstration"
        )
        policies.publish(policy=draft, user=None)


@transaction.atomic
def refresh_upstreams(organisation: Organisation, upstreams: Mapping[str, Upstream]) -> int:
    """The servers listen on other ports after a restart: rows changed."""
    changed = 0
    for plan in company.DEPLOYMENTS:
        row = Deployment.objects.filter(organisation=organisation, name=plan.name).first()
        if row is None or row.model != plan.model:
            continue
        wanted = upstreams[plan.side]
        if row.base_url != wanted.url or row.api_key != wanted.key:
            row.base_url, row.api_key = wanted.url, wanted.key
            row.save(update_fields=["base_url", "sealed_api_key"])
            changed += 1
    if changed:
        bump_config()
    return changed
