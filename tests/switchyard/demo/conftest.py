"""A demonstration company in the test's database, and servers of both sides that answer by a fixed rule."""

from __future__ import annotations

import pytest

from switchyard.demo import bootstrap, company
from switchyard.tenancy.models import Organisation

UPSTREAMS = {
    "private": bootstrap.Upstream("http://127.0.0.1:9001/v1", "up_private"),
    "external": bootstrap.Upstream("http://127.0.0.1:9002/v1", "up_external"),
}


@pytest.fixture
def organisation(db) -> Organisation:
    found = bootstrap.ensure_organisation(*company.ORGANISATION)
    bootstrap.create_company(found, UPSTREAMS)
    bootstrap.ensure_keys(found, {})
    return found
