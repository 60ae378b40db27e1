"""How an upstream is addressed and how it knows us."""

from __future__ import annotations

import pytest

from routing.execution.base import address_of, own_headers
from tests.routing.execution.test_balance import deployment


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://vendor.example/v1", "https://vendor.example/v1/chat/completions"),
        ("https://vendor.example/v1/", "https://vendor.example/v1/chat/completions"),
        (
            "https://x.openai.azure.com/openai/v1?api-version=preview",
            "https://x.openai.azure.com/openai/v1/chat/completions?api-version=preview",
        ),
    ],
)
def test_a_base_url_keeps_its_query_at_the_end(base: str, url: str) -> None:
    assert address_of(base, "/chat/completions") == url


def test_the_key_is_a_bearer_and_headers_stand_beside_it_or_in_its_place() -> None:
    assert own_headers(deployment("a", api_key="k")) == {"authorization": "Bearer k"}
    assert own_headers(deployment("a")) == {}
    assert own_headers(deployment("a", headers={"api-key": "k"})) == {"api-key": "k"}
    both = own_headers(deployment("a", api_key="k", headers={"x-project": "7"}))
    assert both == {"authorization": "Bearer k", "x-project": "7"}
