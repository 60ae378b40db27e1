"""How long a server asked to be left alone, however it says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from routing.contracts import DeploymentInfo
from routing.execution.refusals import asked_to_wait, failure
from tests.routing.execution.test_clients import target


@pytest.mark.parametrize(
    ("headers", "wait"),
    [({"retry-after": "7"}, 7.0), ({"retry-after": "0"}, 1.0), ({"retry-after": "-3"}, 1.0), ({"retry-after": "2.5"}, 2.5),
     ({"retry-after": "900"}, 900.0), ({"retry-after": "999999999999"}, 3600.0), ({"retry-after": "inf"}, 3600.0),
     ({"retry-after": "nan"}, None), ({"retry-after": "soon"}, None), ({"retry-after": ""}, None), ({}, None),
     ({"retry-after-ms": "1500", "retry-after": "60"}, 1.5), ({"retry-after-ms": "x", "retry-after": "60"}, 60.0),
     ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 1.0), ({"retry-after": "Thu, 99 Jan 1970 00:00:00 GMT"}, None)],
)  # fmt: skip
def test_a_number_thousandths_or_a_date(headers: dict[str, str], wait: float | None) -> None:
    assert asked_to_wait(headers) == wait


def test_a_date_is_so_far_away_as_it_is() -> None:
    wait = asked_to_wait(
        {"retry-after": format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)}
    )
    assert wait is not None and 500 < wait <= 600


@pytest.mark.parametrize(
    ("status", "headers", "kind", "wait"),
    [(429, {"retry-after": "90"}, "busy", 90.0), (503, {"retry-after": "90"}, "busy", 90.0), (503, {}, "status", None),
     (429, {}, "busy", None), (529, {"retry-after": "9"}, "busy", 9.0), (408, {}, "timeout", None),
     (504, {}, "timeout", None), (413, {}, "rejected", None), (404, {}, "misconfigured", None), (302, {}, "status", None)],
)  # fmt: skip
def test_every_refusal_has_its_kind_and_its_rest(
    status: int, headers: dict[str, str], kind: str, wait: float | None
) -> None:
    who: DeploymentInfo = target("http://127.0.0.1:1/v1")
    told = failure(who, status, headers, b"{}")
    assert (told.kind, told.retry_after_s, told.http_status) == (kind, wait, status)
