"""One company with two lines of business, and clients that speak as its people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rest_framework.test import APIClient

from switchyard.tenancy.models import LineOfBusiness, Organisation, User
from switchyard.tenancy.services import create_token
from tests import factories


class Caller:
    """A client with somebody's token; answers are checked for their status where they are made."""

    def __init__(self, token: str = "") -> None:
        self.client = APIClient(raise_request_exception=True)
        if token:
            self.client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")

    def get(self, path: str, expect: int = 200, **query: Any) -> Any:
        return self._checked(self.client.get(f"/api/v1/{path}", query), expect)

    def post(self, path: str, body: Any = None, expect: int = 201) -> Any:
        return self._checked(
            self.client.post(f"/api/v1/{path}", {} if body is None else body, "json"), expect
        )

    def patch(self, path: str, body: Any, expect: int = 200) -> Any:
        return self._checked(self.client.patch(f"/api/v1/{path}", body, "json"), expect)

    def delete(self, path: str, expect: int = 204) -> Any:
        return self._checked(self.client.delete(f"/api/v1/{path}"), expect)

    @staticmethod
    def _checked(response: Any, expect: int) -> Any:
        assert response.status_code == expect, (response.status_code, response.content[:500])
        if response.status_code >= 400:
            assert response["content-type"] == "application/problem+json"
        return response.json() if response.content else None


def caller_of(user: User) -> Caller:
    return Caller(create_token(user=user, name="test")[1])


@dataclass
class Company:
    organisation: Organisation
    service: LineOfBusiness
    legal: LineOfBusiness
    alice: Caller  # administers everything
    bob: Caller  # administers customer-service, and sees nothing else
    charlie: Caller  # belongs nowhere

    def person(self, name: str, role: str, *lobs: LineOfBusiness) -> Caller:
        return caller_of(factories.make_user(name, self.organisation, role, lobs))


def make_company() -> Company:
    organisation = factories.make_organisation()
    service = factories.make_lob(organisation, "customer-service")
    legal = factories.make_lob(organisation, "legal")
    return Company(
        organisation,
        service,
        legal,
        caller_of(factories.make_user("alice", organisation, "admin")),
        caller_of(factories.make_user("bob", organisation, "admin", (service,))),
        caller_of(factories.make_user("charlie")),
    )
