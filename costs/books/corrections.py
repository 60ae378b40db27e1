"""Corrections of what was metered: a new revision of the attempt, its old transfer reversed, a new one booked."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Max

from costs import ledger, rollups
from costs.books.fiscal import first_open_moment
from costs.books.sanity import check_amounts
from costs.models import LEGS, Attempt, LedgerEntry
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.money import largest_remainder

CORRECTED, BILLED = "corrected", "billed"  # usage sources


@transaction.atomic
def correct_attempt(
    *,
    attempt: Attempt,
    cost_nusd: int,
    tokens_in: int,
    tokens_out: int,
    reason: str,
    actor: Any = None,
    refresh: bool = True,
) -> Attempt:
    """A new revision with these figures; gives it. The row it replaces is marked superseded, its transfer reversed.

    Figures that are the attempt's own already give the attempt back unchanged, so correcting twice does no harm. Cost is
    nano-dollars; its parts follow it in the old proportions. Who corrects many passes `refresh=False` and refreshes the
    roll-ups of all their hours once. ValueError for an absurd figure, a missing reason or a superseded attempt.
    """
    if not reason.strip():
        raise ValueError("A correction takes a reason.")
    check_amounts(cost_nusd=cost_nusd, tokens_in=tokens_in, tokens_out=tokens_out)
    if (attempt.cost_nusd, attempt.tokens_in, attempt.tokens_out) == (cost_nusd, tokens_in, tokens_out):
        return attempt
    fresh = replace_attempt(
        old=attempt, fresh=_revised(attempt, cost_nusd, tokens_in, tokens_out), reason=reason, actor=actor
    )
    if refresh:
        rollups.refresh(fresh.at, fresh.at)
    return fresh


@transaction.atomic
def replace_attempt(*, old: Attempt, fresh: Attempt, reason: str, actor: Any) -> Attempt:
    """`fresh` as the next revision of `old`; gives it. The roll-ups are the caller's.

    The attempt stays in the month the call was made in; its transfers are dated there too where that period is open, else
    now. ValueError when `old` is superseded already.
    """
    if not Attempt.objects.filter(pk=old.pk, superseded=False).update(superseded=True):
        raise ValueError(f"{old} revision {old.revision} is superseded: correct the newest revision.")
    old.superseded = True
    fresh.revision = old.revision + 1
    fresh.at = old.at
    fresh.save(force_insert=True)
    booked = LedgerEntry.objects.filter(event_id=entry_id(old)).first()
    if booked is not None:
        ledger.reverse(booked, memo=reason)
    _book(fresh, reason)
    record(
        actor=actor, action="attempt.corrected", target=f"attempt:{old.request_id}/{old.attempt}", lob=old.lob,
        organisation_id=old.organisation_id,
        detail={"reason": reason, "revision": fresh.revision, "cost_nusd": [old.cost_nusd, fresh.cost_nusd],
                "tokens_in": [old.tokens_in, fresh.tokens_in], "tokens_out": [old.tokens_out, fresh.tokens_out]},
    )  # fmt: skip
    return fresh


@transaction.atomic
def book_missing(
    *,
    organisation_id: int,
    request_id: str,
    deployment: str,
    model: str,
    tokens_in: int,
    tokens_out: int,
    cost_nusd: int,
    at: datetime,
    reason: str,
    lob: str = "",
    side: str = "external",
    upstream_id: str = "",
    actor: Any = None,
    refresh: bool = True,
) -> Attempt:
    """A call that somebody billed and we have no attempt of; gives its attempt. The same call twice gives the first.

    Without a line of business it is charged to the organisation's own account, `expense:unattributed`. It never counts
    as an answer. ValueError for an absurd figure or a missing reason.
    """
    if not reason.strip():
        raise ValueError("A booking of a bill's call takes a reason.")
    check_amounts(cost_nusd=cost_nusd, tokens_in=tokens_in, tokens_out=tokens_out)
    known = Attempt.objects.filter(request_id=request_id, organisation_id=organisation_id)
    if (
        same := known.filter(usage_source=BILLED, deployment=deployment, upstream_id=upstream_id).first()
    ) is not None:
        return same
    last = known.aggregate(n=Max("attempt"))["n"]
    when, late = first_open_moment(organisation_id, at)
    fresh = Attempt(
        request_id=request_id, attempt=0 if last is None else last + 1, organisation_id=organisation_id, at=when, lob=lob,
        deployment=deployment, side=side, model=model, upstream_id=upstream_id, tokens_in=tokens_in, tokens_out=tokens_out,
        usage_source=BILLED, price_version="bill", cost_nusd=cost_nusd, answered=False, answers=0,
        **{"compute_nusd" if side == "private" else "input_nusd": cost_nusd},
    )  # fmt: skip
    fresh.save(force_insert=True)
    _book(fresh, f"{late}: {reason}" if late else reason)
    record(
        actor=actor, action="attempt.booked_from_bill", target=f"attempt:{request_id}/{fresh.attempt}", lob=lob,
        organisation_id=organisation_id,
        detail={"reason": reason, "deployment": deployment, "cost_nusd": cost_nusd},
    )  # fmt: skip
    if refresh:
        rollups.refresh(when, when)
    return fresh


def entry_id(attempt: Attempt) -> str:
    return f"{attempt.request_id}/{attempt.attempt}/{attempt.revision}"


def _revised(attempt: Attempt, cost_nusd: int, tokens_in: int, tokens_out: int) -> Attempt:
    """The next revision: the old row's names, these figures, and parts in the old proportions."""
    values = {
        f.attname: getattr(attempt, f.attname) for f in Attempt._meta.concrete_fields if not f.primary_key
    }
    fresh = Attempt(**values)
    fresh.superseded = False
    fresh.cost_nusd, fresh.tokens_in, fresh.tokens_out = cost_nusd, tokens_in, tokens_out
    fresh.cached_tokens_in = min(attempt.cached_tokens_in, tokens_in)
    fresh.cache_write_tokens = min(attempt.cache_write_tokens, tokens_in)
    fresh.reasoning_tokens = min(attempt.reasoning_tokens, tokens_out)
    fresh.audio_tokens_in = min(attempt.audio_tokens_in, tokens_in)
    fresh.audio_tokens_out = min(attempt.audio_tokens_out, tokens_out)
    fresh.usage_source = CORRECTED
    weights = [getattr(attempt, f"{leg}_nusd") for leg in LEGS]
    if not any(weights):
        weights[LEGS.index("compute" if attempt.side == "private" else "input")] = 1
    for leg, amount in zip(LEGS, largest_remainder(cost_nusd, weights), strict=True):
        setattr(fresh, f"{leg}_nusd", amount)
    return fresh


def _book(attempt: Attempt, memo: str) -> None:
    if attempt.cost_nusd == 0:
        return
    ledger.append(
        event_id=entry_id(attempt), organisation_id=attempt.organisation_id, at=attempt.at, recorded_at=now(),
        debit=ledger.expense_account(attempt.lob), credit=ledger.credit_account(attempt.side, attempt.deployment, attempt.node),
        amount_nusd=attempt.cost_nusd,
        lob=attempt.lob, application=attempt.application, key_id=attempt.key_id, workload=attempt.workload,
        purpose=attempt.purpose, request_id=attempt.request_id, attempt=attempt.attempt, memo=memo[:200],
        price_version=attempt.price_version, origin=attempt.origin,
    )  # fmt: skip
