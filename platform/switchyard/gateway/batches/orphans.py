"""Reservations of calls whose worker was killed after their answers were written down: given back as a settlement would."""

from __future__ import annotations

import logging
from typing import Any

from redis.exceptions import RedisError

log = logging.getLogger(__name__)
# KEYS: the reservation, the set of leases. ARGV: request, what it cost.
FREE = """
local v = redis.call('HMGET', KEYS[1], 'w', 'b')
if not v[1] then return 0 end
for key in string.gmatch(v[2], '%S+') do
  if redis.call('HEXISTS', key, 'spent') == 1 then
    redis.call('HINCRBY', key, 'reserved', '-' .. v[1])
    redis.call('HINCRBY', key, 'spent', ARGV[2])
  end
end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
"""


async def free(connection: Any, request_id: str, cost_nusd: int) -> bool:
    """Whether there was one. Out of reach, its lease ends by itself, and the books know which of two tellings is true."""
    try:
        return bool(await connection.eval(FREE, 2, f"sy:r:{request_id}", "sy:leases", request_id, cost_nusd))
    except (RedisError, OSError):
        log.warning("the reservation of %s waits for its lease's end", request_id)
        return False
