"""Several people publish in the same moment, on the database of production: one after the other, and never two live."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from routing.models import Policy
from routing.services import policies
from switchyard.core.errors import SwitchyardError
from tests import factories as make

TEXT = "rules:\n  - {name: all, when: 'data.sensitivity <= internal', route: {prefer: [private-a]}}\n"


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.skipif(bool(os.environ.get("DATABASE_URL")), reason="the whole run is on PostgreSQL already")
def test_publishing_at_once_on_postgresql(postgres_url: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", str(Path(__file__))]
    environment = os.environ | {"DATABASE_URL": postgres_url}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.parametrize("careful", [True, False], ids=["said what they saw", "said nothing"])
@pytest.mark.django_db(transaction=True)
def test_one_is_live_in_the_end_and_who_saw_another_is_told(careful: bool) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("one connection of the SQLite in memory can't wait for another")
    organisation = make.make_organisation()
    lob = make.make_lob(organisation, "sales")
    make.make_deployment(organisation, "private-a", "private")
    make.make_policy(organisation, "rules: []\ndefault: deny\n")
    seen = make.make_policy(organisation, TEXT, lob).pk
    drafts = [
        policies.create_draft(organisation=organisation, lob=lob, document=TEXT + "#" * n, user=None)
        for n in range(1, 5)
    ]
    refused = publish_at_once([draft.pk for draft in drafts], seen if careful else None)
    rows = Policy.objects.filter(organisation=organisation, lob=lob)
    assert rows.filter(state="live").count() == 1
    assert refused == (["live_changed"] * 3 if careful else [])
    # Each that was live for a moment has a place of its own in the order, so that rolling back knows the one before.
    times = list(rows.exclude(published_at=None).values_list("published_at", flat=True))
    assert len(set(times)) == len(times) == (2 if careful else 5)


def publish_at_once(drafts: list[str], expected: str | None) -> list[Any]:
    """What was refused, by code; anything else that goes wrong by its name."""
    barrier, refused = threading.Barrier(len(drafts)), []

    def publish(pk: str) -> None:
        try:
            own = Policy.objects.select_related("organisation", "lob").get(pk=pk)
            barrier.wait(20)
            policies.publish(policy=own, user=None, expected=expected)
        except SwitchyardError as error:
            refused.append(error.code)
        except Exception as error:
            refused.append(repr(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=publish, args=(pk,)) for pk in drafts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return refused
