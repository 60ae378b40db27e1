"""Scheduled work of the money side. Each task is idempotent: running late, twice or side by side does no harm."""

from __future__ import annotations

from datetime import timedelta

import orjson
import redis
from celery import shared_task

from costs import budgets, rollups
from costs.courier import DECISION_TTL_S, FUNCTION, LIBRARY, Turn
from switchyard.core.clock import now


@shared_task(name="costs.refresh_rollups")
def refresh_rollups(hours: int = 3) -> int:
    """The hours before this one from their attempts again, should somebody have changed them by hand. Gives hourly rows. The
    present hour is left alone: who books into it would wait for the sum of all it holds."""
    return rollups.refresh(now() - timedelta(hours=hours), rollups.hour_of(now()) - rollups.HOUR)


@shared_task(name="costs.sweep_leases")
def sweep_leases() -> int:
    """Give back what crashed processes had reserved; gives how many reservations."""
    connection, swept = budgets.client(), 0
    while count := _swept(connection):
        swept += count
    return swept


def _swept(connection: redis.Redis) -> int:
    turn = Turn(sweep=True).parts(0, DECISION_TTL_S)
    try:
        told = connection.fcall(FUNCTION, 0, *turn)
    except redis.ResponseError as error:
        if "not found" not in str(error):
            raise
        connection.function_load(LIBRARY, replace=True)
        told = connection.fcall(FUNCTION, 0, *turn)
    return int(orjson.loads(told)["w"])
