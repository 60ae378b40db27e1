"""Responses on the shelf: sealed under the key of their line of business, thirty days at most, never restricted ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Protocol

import orjson
from cryptography.exceptions import InvalidTag
from django.db import IntegrityError, OperationalError
from redis.exceptions import RedisError

from costs.fresh import fresh_event
from routing.contracts import Facts, KeyInfo
from routing.selectors.decisions import record_of
from switchyard.core.clock import now
from switchyard.core.crypto import open_for_lob, seal_for_lob
from switchyard.core.errors import InvalidRequest, NotFound
from switchyard.gateway.desk import Office
from switchyard.gateway.models import StoredResponse
from switchyard.gateway.snapshot import SnapshotKeeper
from switchyard.gateway.threads import in_thread
from switchyard.tenancy.models import LineOfBusiness

log = logging.getLogger(__name__)
KEPT = timedelta(days=30)
LONGEST_CHAIN = 200
Item = dict[str, Any]


class Front(Protocol):
    keeper: SnapshotKeeper
    office: Office | None


class Shelf:
    """What a call needs of what was kept, and where its own answer goes."""

    def __init__(self, front: Front | None) -> None:
        self._front = front

    async def conversation(self, previous_id: Any, key: KeyInfo) -> list[Item]:
        """Items of the responses before this one, oldest first. Raises InvalidRequest, NotFound."""
        if previous_id is None:
            return []
        if not isinstance(previous_id, str) or not previous_id:
            raise InvalidRequest(
                "`previous_response_id` must be the id of a response.", param="previous_response_id"
            )
        return await in_thread(lambda: _chain(previous_id, key))

    async def keep(self, response: dict[str, Any], items: list[Item], key: KeyInfo, mark: str) -> bool:
        """Whether it was kept. What can't be known not to be restricted isn't."""
        if not await self.may_keep(key, mark):
            return False
        try:
            await in_thread(lambda: write(response, items, key))
        except Exception:
            log.exception("response %s could not be kept", response["id"])
            return False
        return True

    async def may_keep(self, key: KeyInfo, mark: str) -> bool:
        """By the decision's record, which is there before an answer's last byte."""
        assert self._front is not None and self._front.office is not None
        decision_id = f"dec_{mark}"
        try:
            event = await fresh_event(self._front.office.fresh, decision_id)
            if event is None:  # the books were quicker
                event = await in_thread(lambda: record_of(decision_id, key.organisation_id, key.lob))
        except (RedisError, OSError, OperationalError):
            event = None
        if not event:
            return False
        facts = Facts(event["facts"])
        world = self._front.keeper.world.organisations.get(key.organisation_id)
        return world is not None and allowed(facts, world.policies.keeps)


def allowed(facts: Facts, keeps: Callable[[Facts, Any], bool]) -> bool:
    return bool(facts.values) and facts.sensitivity != "restricted" and keeps(facts, "log")


# -------------------------------------------------------------------------------------------------- with the database
def lob_of(key: KeyInfo) -> LineOfBusiness:
    return LineOfBusiness.objects.get(organisation_id=key.organisation_id, slug=key.lob)


def write(response: dict[str, Any], items: list[Item], key: KeyInfo) -> None:
    """Kept once: the same answer told again under an idempotency key is the same row."""
    sealed = seal_for_lob(key.lob, orjson.dumps({"response": response, "input": items}))
    try:
        StoredResponse.objects.create(
            id=response["id"], organisation_id=key.organisation_id, lob=lob_of(key), application=key.application,
            previous_id=response.get("previous_response_id") or "", status=response["status"],
            background=response["background"], sealed=sealed, expires_at=now() + KEPT,
        )  # fmt: skip
    except IntegrityError:
        log.info("response %s is kept already", response["id"])


def rows_of(key: KeyInfo) -> Any:
    return StoredResponse.objects.filter(
        organisation_id=key.organisation_id, lob__slug=key.lob, expires_at__gt=now()
    ).select_related("lob")


def find(response_id: str, key: KeyInfo) -> StoredResponse:
    """A neighbour's is as unknown as none. Raises NotFound."""
    row = None if "\x00" in response_id else rows_of(key).filter(pk=response_id).first()
    if row is None:
        raise NotFound(
            f"There is no response {response_id[:60]!r} of this line of business: it was not stored, was deleted, or "
            "its thirty days are over.",
            param="response_id",
        )
    return row


def opened(row: StoredResponse) -> tuple[dict[str, Any], list[Item]]:
    """(response, input items). Raises NotFound when the seal doesn't hold."""
    try:
        told: Mapping[str, Any] = orjson.loads(open_for_lob(row.lob.slug, row.sealed))
    except (InvalidTag, ValueError):
        log.exception("response %s can't be opened", row.pk)
        raise NotFound(f"Response {row.pk} can't be read any more.", param="response_id") from None
    return told["response"], told["input"]


def save(row: StoredResponse, response: dict[str, Any], items: list[Item]) -> bool:
    """Write over one that isn't final; False when it was ended meanwhile."""
    sealed = seal_for_lob(row.lob.slug, orjson.dumps({"response": response, "input": items}))
    rows = StoredResponse.objects.filter(pk=row.pk, status__in=("queued", "in_progress"))
    return bool(rows.update(status=response["status"], sealed=sealed))


def _chain(previous_id: str, key: KeyInfo) -> list[Item]:
    links: list[list[Item]] = []
    wanted = previous_id
    while wanted:
        if len(links) == LONGEST_CHAIN:
            raise InvalidRequest(
                f"The conversation is longer than {LONGEST_CHAIN} responses: send what matters of it in `input`.",
                param="previous_response_id",
            )
        row = _link(wanted, previous_id, key)
        response, items = opened(row)
        links.append([*items, *response["output"]])
        wanted = row.previous_id
    return [item for link in reversed(links) for item in link]


def _link(wanted: str, asked: str, key: KeyInfo) -> StoredResponse:
    try:
        row = find(wanted, key)
    except NotFound:
        if wanted == asked:
            raise NotFound(
                f"There is no response {asked[:60]!r} to go on from.",
                param="previous_response_id",
                code="previous_response_not_found",
            ) from None
        raise InvalidRequest(
            "An earlier response of this conversation was deleted or its thirty days are over: send it whole in `input`.",
            param="previous_response_id",
        ) from None
    if row.status not in ("completed", "incomplete"):
        raise InvalidRequest(
            f"Response {row.pk} is {row.status}: only a finished one can be gone on from.",
            param="previous_response_id",
        )
    return row


def purge_expired() -> int:
    """Delete what was kept for as long as may be; gives how many."""
    return StoredResponse.objects.filter(expires_at__lte=now()).delete()[0]
