"""Carry out what matching proposes, through the books' own service: all of a bill or nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from costs.books.corrections import book_missing, correct_attempt
from costs.models import Attempt
from costs.reconciliation.lines import CAUSES, Fix
from costs.rollups import Refresher
from switchyard.core.clock import now
from switchyard.core.errors import Conflict

# A call may be under way, or lost and waiting for its reservation's end, before its event reaches the books: what is
# younger than this isn't corrected yet, or it would be booked twice.
SETTLE = timedelta(minutes=15)


@transaction.atomic
def correct_books(
    *,
    organisation_id: int,
    deployment_of: Callable[[str], str],
    fixes: Iterable[Fix],
    reason: str,
    actor: Any = None,
    settle: timedelta = SETTLE,
) -> int:
    """Correct and book; gives how many. Running it again finds nothing to do. `deployment_of`: whose a line's model is.

    Raises Conflict when the books moved.
    """
    last = now() - settle
    fixes = list(fixes)
    rows = Attempt.objects.in_bulk([fix.ref for fix in fixes if fix.ref is not None])
    times: list[datetime] = []
    made = 0
    for fix in fixes:
        attempt = rows.get(fix.ref) if fix.ref is not None else None
        moment = attempt.at if attempt is not None else fix.at
        if moment is None or moment > last:
            continue
        words = f"{CAUSES[fix.cause]} ({reason})"
        try:
            if attempt is None:
                fresh = _book(organisation_id, deployment_of(fix.model), fix, words, actor)
            else:
                fresh = correct_attempt(
                    attempt=attempt, cost_nusd=fix.cost_nusd, tokens_in=fix.tokens_in, tokens_out=fix.tokens_out,
                    reason=words, actor=actor, refresh=False,
                )  # fmt: skip
        except ValueError as error:
            raise Conflict(f"Nothing was corrected: {error}", code="books_moved") from None
        made += 1
        times += [moment, fresh.at]
    refresher = Refresher()
    refresher.touch(times)
    if times:
        refresher.run(force=True)
    return made


def _book(organisation_id: int, deployment: str, fix: Fix, reason: str, actor: Any) -> Attempt:
    """Ids of others may be longer than ours: the whole one is kept beside."""
    assert fix.at is not None
    fits = len(fix.id) <= 40
    request_id = fix.id if fits else f"bill_{hashlib.sha256(fix.id.encode()).hexdigest()[:32]}"
    return book_missing(
        organisation_id=organisation_id, request_id=request_id, deployment=deployment, model=fix.model, lob=fix.lob,
        tokens_in=fix.tokens_in, tokens_out=fix.tokens_out, cost_nusd=fix.cost_nusd, at=fix.at, reason=reason,
        upstream_id="" if fits else fix.id, actor=actor, refresh=False,
    )  # fmt: skip
