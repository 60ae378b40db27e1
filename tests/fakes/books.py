"""Lets tests that commit for real clean up after themselves: the ledger's triggers refuse Django's flush."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


def _commits(request: Any) -> bool:
    if {"transactional_db", "live_server"}.intersection(request.fixturenames):
        return True
    marker = request.node.get_closest_marker("django_db")
    return bool(marker and (marker.kwargs.get("transaction") or (marker.args and marker.args[0])))


@pytest.fixture(autouse=True)
def _ledger_that_can_be_flushed(request: Any) -> Iterator[None]:
    """Only for tests that commit: triggers are put in before and taken out before the flush."""
    if not _commits(request):
        yield
        return
    request.getfixturevalue("transactional_db")
    from django.db import connection

    from costs import triggers

    triggers.install(connection)
    yield
    triggers.remove(connection)
