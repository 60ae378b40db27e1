"""After publishing: what was foretold, and what then happened, kept with the version. A scheduled job."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from routing.models import RolloutWatch, WhatIf
from routing.selectors import policies as read
from routing.whatif import reading
from routing.whatif.columns import blocks_of
from routing.whatif.truth import LEAST_REQUESTS, as_told, hold_against
from switchyard.audit.services import record
from switchyard.core.clock import now

log = logging.getLogger(__name__)
LEAST = timedelta(hours=12)
AGAIN = timedelta(hours=20)


def compare_all() -> int:
    """Every live version's newest what-if that is due; gives how many were compared. One that fails is logged."""
    done = 0
    for row in due():
        try:
            done += bool(compare(row))
        except Exception:
            log.exception("the what-if %s could not be held against the truth", row.pk)
    return done


def due() -> Iterator[WhatIf]:
    """One a live version, until as many days have passed as it foretold."""
    rows = WhatIf.objects.filter(policy__state="live", policy__published_at__isnull=False).exclude(report={})
    seen: set[str] = set()
    for row in rows.select_related("policy__lob", "policy__organisation", "against__lob"):
        if row.policy_id in seen:
            continue
        seen.add(row.policy_id)
        since = went_live(row)
        whole = row.compared_at is not None and row.compared_at >= since + timedelta(days=row.days)
        fresh = row.compared_at is not None and row.compared_at > now() - AGAIN
        if not whole and not fresh and now() - since >= LEAST:
            yield row


def went_live(row: WhatIf) -> datetime:
    """When the version began to decide: its first watch, or as it was published."""
    first = RolloutWatch.objects.filter(policy=row.policy).order_by("began_at").first()
    published = row.policy.published_at
    assert published is not None
    return max(first.began_at if first is not None else published, row.until or published)


def compare(row: WhatIf) -> dict[str, Any]:
    """The truth beside the prediction (routing.whatif.truth.as_told, with "from", "to"), stored; {} while too little came.

    Only requests that the version decided are counted: during a rollout that is its share.
    """
    policy, lob = row.policy, row.policy.lob.slug if row.policy.lob else None
    organisation_id, since = row.policy.organisation_id, went_live(row)
    until = min(now(), since + timedelta(days=row.days))
    assert row.since is not None and row.until is not None
    question = reading.question(
        organisation=policy.organisation, before=row.against, after=policy, since=row.since, until=until
    )
    judged = reading.judgements(organisation_id, lob, row.since, row.until)
    judged |= reading.judgements(organisation_id, lob, since, until)
    reader = question.reader(since=row.since, until=row.until, judged=lambda pk: judged.get(pk, (0, 0)))
    reader.read(reading.records(organisation_id, lob, row.since, row.until))
    boundary, (_seconds, after) = reader.blocks, blocks_of(since, until)
    # Spans after it are as long as those before, or the shorter window's own where that is shorter.
    reader.block_s, _ = blocks_of(since, until)
    reader.go_on(since, first=boundary, blocks=after)
    reader.read(reading.records(organisation_id, lob, since, until, version=read.label_of(policy)))
    traffic = reader.traffic()
    if int((traffic.rows["block"] >= boundary).sum()) < LEAST_REQUESTS:
        return {}
    told = as_told(hold_against(question, traffic, boundary))
    row.truth = told | {"from": since.isoformat(), "to": until.isoformat()}
    row.compared_at = now()
    row.save(update_fields=["truth", "compared_at"])
    record(
        actor=None, action="policy.what_if_compared", target=f"policy:{policy.pk}", lob=lob or "",
        organisation_id=organisation_id,
        detail={"version": policy.version, "what_if": row.pk, "requests": told["requests"],
                "cost_error_pct": told["totals"]["cost"]["error_pct"], "held": told["totals"]["cost"]["held"]},
    )  # fmt: skip
    return row.truth
