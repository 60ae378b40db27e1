"""What a person says about an answer the guard found risky; each review is charged as a label."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from costs.labels import Labelled, charge
from routing.contracts import Facts
from routing.models import DecisionRecord, Interception, ReviewedText
from routing.policy.facts import FactError, whole
from routing.selectors.policies import compiled
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.crypto import open_for_lob, seal_for_lob
from switchyard.core.errors import InvalidRequest
from switchyard.tenancy.models import User


@transaction.atomic
def review(*, interception: Interception, state: str, user: User | None) -> Interception:
    """`confirmed`: rightly found; `released`: a false alarm. The last word counts, every word is audited.

    Saying the same again is no other review, so it isn't charged. Raises BudgetExhausted; the row stays as it is then.
    """
    if state not in ("confirmed", "released"):
        raise InvalidRequest("A review is `confirmed` or `released` (a false alarm).", param="state")
    at = now()
    before = Interception.objects.select_for_update().values_list("state", flat=True).get(pk=interception.pk)
    if before != state:
        charge([_charge_of(interception, state, at)])
    interception.state, interception.reviewed_at = state, at
    interception.reviewed_by = user.username if user else "system"
    interception.save(update_fields=["state", "reviewed_at", "reviewed_by"])
    _label(interception)
    record(
        actor=user, action=f"interception.{state}", target=f"decision:{interception.decision_id}", lob=interception.lob,
        organisation_id=interception.organisation_id, detail={"kind": interception.kind, "score": interception.score},
    )  # fmt: skip
    return interception


@transaction.atomic
def appeal(*, interception: Interception, user: User | None) -> Interception:
    """Somebody who met the block says that it was wrong: it goes to the top of the review list. Appealing twice is once."""
    if interception.appealed_at is None:
        interception.appealed_at, interception.appealed_by = now(), user.username if user else "system"
        interception.save(update_fields=["appealed_at", "appealed_by"])
        record(
            actor=user, action="interception.appealed", target=f"decision:{interception.decision_id}",
            lob=interception.lob, organisation_id=interception.organisation_id, detail={"kind": interception.kind},
        )  # fmt: skip
    return interception


def _label(interception: Interception) -> None:
    """Where the text is kept, the review is a labelled row for the next guard, sealed under the line of business's key."""
    if not interception.text or not _may_train(interception):
        return
    ReviewedText.objects.update_or_create(
        interception=interception,
        defaults={
            "organisation_id": interception.organisation_id, "lob": interception.lob, "kind": interception.kind,
            "sealed_text": seal_for_lob(interception.lob, interception.text.encode()),
            "harmful": interception.state == "confirmed", "at": interception.reviewed_at or now(),
        },
    )  # fmt: skip


def _may_train(interception: Interception) -> bool:
    """Whether the policies of today let what the decision was about be trained on. A text was only kept where it wasn't
    restricted: of a decision that nobody knows any more the strictest class below that is taken."""
    record = DecisionRecord.objects.filter(
        pk=interception.decision_id, organisation_id=interception.organisation_id
    ).first()
    unknown = {"lob.slug": interception.lob, "data.sensitivity": "confidential"}
    try:
        facts = whole(record.detail.get("facts", {}) if record is not None else unknown)
    except FactError:
        facts = whole(unknown)
    return compiled(interception.organisation_id).keeps(Facts(facts), "training")


def labelled_rows(organisation_id: int, lob: str) -> list[tuple[str, str, bool]]:
    """(text, kind, harmful) of a line of business's reviewed texts, oldest first: rows to fit or to examine a guard with."""
    rows = ReviewedText.objects.filter(organisation_id=organisation_id, lob=lob).order_by("at")
    return [(open_for_lob(lob, row.sealed_text).decode(), row.kind, row.harmful) for row in rows]


def _charge_of(interception: Interception, state: str, at: datetime) -> Labelled:
    return Labelled(
        event_id=f"review:{interception.pk}:{int(at.timestamp() * 1_000_000)}",
        organisation_id=interception.organisation_id, lob=interception.lob, workload=interception.workload,
        purpose="review", at=at, memo=f"review of {interception.decision_id}: {state}",
    )  # fmt: skip
