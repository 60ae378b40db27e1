"""Small companies for tests. Alice administers everything, Bob sees customer-service only, Charlie belongs nowhere."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

from costs.models import Budget, Node, Price
from modelhub.models import Deployment, ModelVersion
from switchyard.tenancy.models import Application, LineOfBusiness, Membership, Organisation, User, Workload
from switchyard.tenancy.services import create_key

_numbers = itertools.count(1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

ORGANISATION_POLICY = """\
invariants:
  - name: restricted data stays home
    never: data.sensitivity >= confidential && target.side == "external"
rules: []
default: deny
"""


def make_organisation(**kwargs: Any) -> Organisation:
    number = next(_numbers)
    return Organisation.objects.create(**{"slug": f"org-{number}", "name": f"Company {number}"} | kwargs)


def make_lob(
    organisation: Organisation | None = None, slug: str = "customer-service", **kwargs: Any
) -> LineOfBusiness:
    organisation = organisation or make_organisation()
    return LineOfBusiness.objects.create(organisation=organisation, slug=slug, name=slug.title(), **kwargs)


def make_application(lob: LineOfBusiness, slug: str = "", **kwargs: Any) -> Application:
    slug = slug or f"{lob.slug}-app"
    return Application.objects.create(lob=lob, slug=slug, name=slug, **kwargs)


def make_key(application: Application, **kwargs: Any) -> tuple[Any, str]:
    return create_key(application=application, name="test key", actor=None, **kwargs)


def make_workload(lob: LineOfBusiness, name: str = "support-sentiment", **kwargs: Any) -> Workload:
    values = {"task": "classification", "tier": "edge", "correct_rule": {"kind": "label"}}
    return Workload.objects.create(organisation=lob.organisation, lob=lob, name=name, **values | kwargs)


def make_node(organisation: Organisation, name: str = "node-1", **kwargs: Any) -> Node:
    return Node.objects.create(organisation=organisation, name=name, **{"usd_per_hour": "0.10"} | kwargs)


def make_price(organisation: Organisation, deployment: str, **kwargs: Any) -> Price:
    values = {
        "valid_from": LONG_AGO, "input_nusd_per_munit": 50_000_000, "output_nusd_per_munit": 400_000_000,
        "source": "a public book, 2026-08-05",
    }  # fmt: skip
    return Price.objects.create(organisation=organisation, deployment=deployment, **values | kwargs)


def make_deployment(
    organisation: Organisation, name: str, side: str = "external", **kwargs: Any
) -> Deployment:
    """With a price (external) or a node (private), unless `bare=True`."""
    bare, api_key = kwargs.pop("bare", False), kwargs.pop("api_key", "upstream-key")
    lobs = kwargs.pop("lobs", ())
    values = {
        "base_url": "http://127.0.0.1:9/v1", "model": "txt-edge" if side == "external" else "txt-base",
        "tasks": ["classification"], "heads": True,
    }  # fmt: skip
    deployment = Deployment(organisation=organisation, name=name, side=side, **values | kwargs)
    deployment.api_key = api_key
    if side == "private" and not bare and deployment.node is None:
        deployment.node = Node.objects.filter(organisation=organisation).first() or make_node(organisation)
    deployment.save()
    deployment.lobs.set(lobs)
    if side == "external" and not bare:
        make_price(organisation, name)
    return deployment


def make_version(
    deployment: Deployment, workload: Workload, stage: str = "live", **kwargs: Any
) -> ModelVersion:
    values = {"version": "1", "upstream_model": f"{deployment.model}/{workload.name}"}
    return ModelVersion.objects.create(
        deployment=deployment, workload=workload, stage=stage, **values | kwargs
    )


def make_budget(
    organisation: Organisation, scope: str = "organisation", usd: str = "1.00", **kwargs: Any
) -> Budget:
    from switchyard.core.money import usd_to_nusd

    lob = LineOfBusiness.objects.filter(organisation=organisation, slug=scope.partition(":")[2]).first()
    return Budget.objects.create(
        organisation=organisation, scope=scope, lob=lob, limit_nusd=usd_to_nusd(usd), **kwargs
    )


def make_user(
    name: str,
    organisation: Organisation | None = None,
    role: str = "viewer",
    lobs: tuple[LineOfBusiness, ...] = (),
    **kwargs: Any,
) -> User:
    user = User.objects.create_user(name, password="correct horse battery", **kwargs)
    if organisation is not None:
        Membership.objects.create(user=user, organisation=organisation, role=role).lobs.set(lobs)
    return user


def make_policy(
    organisation: Organisation, document: str = ORGANISATION_POLICY, lob: LineOfBusiness | None = None
) -> Any:
    """A live policy, through the services."""
    from routing.services.policies import create_draft, publish

    policy = create_draft(organisation=organisation, lob=lob, document=document, user=None)
    return publish(policy=policy, user=None)
