-- One loop turn of one gateway process in one atomic call: counters to set, settlements, events, a sweep, reservations.
--
-- ARGV[1]  JSON {lease, ttl, i: counters, s: settlements, x: events, w: sweep?, r: reservations}
-- ARGV[2…] bodies of events, named by their index
-- Returns  JSON {r: one reply a reservation, w: swept}; money travels as strings, for it outgrows a double's printing.
--
-- sy:b:<budget>:<start>  hash spent, reserved, limit      sy:r:<request>  hash w worst, b counters, e event, c its cost
-- sy:leases              zset request → ends (ms)         sy:rl:<scope>   hash w window, rc rp requests, tc tp tokens
-- sy:cc:<scope>          zset request → ends (ms)         sy:cb:<org>:<deployment>  hash: breaker
local call = redis.call
local turn = cjson.decode(ARGV[1])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local MINUTE, SLOT, SLOTS = 60000, 5000, 6
local FAILURES_IN_A_ROW, MIN_CALLS, OPEN_MS, OPEN_MAX_MS, PROBE_MS = 5, 20, 10000, 60000, 30000
local THROTTLE_RPM = 60

-- Breakers: st 0 closed, 1 open, 2 half-open · cf failures in a row · ou open until · pu probe until · pr its request ·
-- dl how long it opens · ru asked to be left alone until · s0…s5 slot stamps, n0… calls, f0… failures: six slots of 5 s make the 30 s window.
local function open_breaker(key, delay)
  call('HSET', key, 'st', 1, 'ou', now + delay, 'pu', 0, 'pr', '', 'dl', delay, 'cf', 0)
  for slot = 0, SLOTS - 1 do call('HDEL', key, 's' .. slot, 'n' .. slot, 'f' .. slot) end
end

local function failing_share(key, stamp)
  local calls, failures = 0, 0
  for slot = 0, SLOTS - 1 do
    local v = call('HMGET', key, 's' .. slot, 'n' .. slot, 'f' .. slot)
    if v[1] and stamp - tonumber(v[1]) < SLOTS then
      calls, failures = calls + tonumber(v[2] or 0), failures + tonumber(v[3] or 0)
    end
  end
  return calls, failures
end

local function outcome(key, well, request)
  local stamp = math.floor(now / SLOT)
  local slot = stamp % SLOTS
  local v = call('HMGET', key, 'st', 'cf', 'pr', 'dl', 's' .. slot)
  local state = v[1] or '0'
  if state ~= '0' then
    -- Only the probe may judge an open breaker; calls that began before it opened say nothing new.
    if state == '2' and v[3] == request then
      if well then call('DEL', key)
      else open_breaker(key, math.min((tonumber(v[4]) or OPEN_MS) * 2, OPEN_MAX_MS)) end
    end
    return
  end
  if v[5] ~= tostring(stamp) then
    call('HSET', key, 's' .. slot, stamp, 'n' .. slot, 0, 'f' .. slot, 0)
    call('EXPIRE', key, 3600)
  end
  call('HINCRBY', key, 'n' .. slot, 1)
  if well then
    if v[2] and v[2] ~= '0' then call('HSET', key, 'cf', 0) end
    return
  end
  call('HINCRBY', key, 'f' .. slot, 1)
  local in_a_row = call('HINCRBY', key, 'cf', 1)
  local calls, failures = failing_share(key, stamp)
  if in_a_row >= FAILURES_IN_A_ROW or (calls >= MIN_CALLS and failures * 2 >= calls) then
    open_breaker(key, OPEN_MS)
  end
end

local function emit(index, decision)
  local body = ARGV[index + 1]
  if decision ~= '' then call('SET', 'sy:dec:' .. decision, body, 'EX', turn.ttl) end
  call('XADD', 'sy:usage', '*', 'd', body)
end

local function give_back(counters, worst, spent)
  for _, key in ipairs(counters) do
    if call('HEXISTS', key, 'spent') == 1 then -- a counter that is gone is rebuilt from the ledger, never begun at zero
      if worst then call('HINCRBY', key, 'reserved', '-' .. worst) end
      if spent ~= '0' then call('HINCRBY', key, 'spent', spent) end
    end
  end
end

local function settle(q)
  if q.p == 1 then
    local live = call('DEL', 'sy:r:' .. q.id) == 1
    call('ZREM', 'sy:leases', q.id)
    give_back(q.b, live and q.w or nil, q.c)
  end
  for _, l in ipairs(q.l) do
    if l[4] > 0 then call('ZREM', 'sy:cc:' .. l[1], q.id) end
    if l[3] > 0 and q.t ~= 0 then
      local key = 'sy:rl:' .. l[1]
      local window = tonumber(call('HGET', key, 'w') or -1)
      if window == q.m then call('HINCRBY', key, 'tc', q.t)
      elseif window == q.m + 1 then call('HINCRBY', key, 'tp', q.t) end
    end
  end
  local probed = q.g == ''
  for _, o in ipairs(q.o) do
    local key = 'sy:cb:' .. q.n .. o[1]
    outcome(key, o[2] == 1, q.id)
    if o[3] > 0 then -- it named a time (Retry-After): nobody of any process asks it before
      call('HSET', key, 'ru', now + o[3])
      call('EXPIRE', key, 3600)
    end
    probed = probed or o[1] == q.g
  end
  if not probed then -- the probe never called: the next caller may
    local key = 'sy:cb:' .. q.n .. q.g
    if call('HGET', key, 'pr') == q.id then call('HSET', key, 'pu', 0, 'pr', '', 'st', 1) end
  end
  if q.e > 0 then emit(q.e, q.d) end
end

local function sweep()
  local ended = call('ZRANGEBYSCORE', 'sy:leases', '-inf', now, 'LIMIT', 0, 200)
  for _, id in ipairs(ended) do
    local v = call('HMGET', 'sy:r:' .. id, 'w', 'b', 'e', 'c', 'd')
    if v[1] then
      local counters = {}
      for key in string.gmatch(v[2], '%S+') do counters[#counters + 1] = key end
      give_back(counters, v[1], v[4] or '0')
      if v[3] then
        if v[5] ~= '' then call('SET', 'sy:dec:' .. v[5], v[3], 'EX', turn.ttl, 'NX') end
        call('XADD', 'sy:usage', '*', 'd', v[3])
      end
    end
    call('DEL', 'sy:r:' .. id)
    call('ZREM', 'sy:leases', id)
  end
  return #ended
end

-- The sliding minute: this window's count and the share of the last one that still lies within sixty seconds.
local minute = math.floor(now / MINUTE)
local gone = (now % MINUTE) / MINUTE

local function wait_ms(current, previous, more, limit)
  if current + more <= limit then
    if previous <= 0 then return 1000 end
    return math.max(1, math.ceil((1 - gone - (limit - current - more) / previous) * MINUTE))
  end
  local fade = current > 0 and math.min(1, math.max(0, 1 - (limit - more) / current)) or 0
  return math.ceil((1 - gone + fade) * MINUTE)
end

local function rates(q, limits, factor)
  local seen = {}
  for i, l in ipairs(limits) do
    local rpm, tpm, most = l[2], l[3], l[4]
    local s = {w = minute, rc = 0, rp = 0, tc = 0, tp = 0}
    if rpm > 0 or tpm > 0 then
      local v = call('HMGET', 'sy:rl:' .. l[1], 'w', 'rc', 'rp', 'tc', 'tp')
      local window = tonumber(v[1] or -1)
      if window == minute then s.rc, s.rp, s.tc, s.tp = tonumber(v[2]), tonumber(v[3]), tonumber(v[4]), tonumber(v[5])
      elseif window == minute - 1 then s.rp, s.tp = tonumber(v[2]), tonumber(v[4]) end
      s.tp = math.max(0, s.tp)
      local cap = math.max(1, math.floor(rpm * factor))
      if rpm > 0 and s.rc + s.rp * (1 - gone) + 1 > cap then
        return nil, {'rate', i - 1, 'rpm', cap, wait_ms(s.rc, s.rp, 1, cap), l[1]}
      end
      cap = math.max(1, math.floor(tpm * factor))
      if tpm > 0 and s.tc + s.tp * (1 - gone) + q.t > cap then
        return nil, {'rate', i - 1, 'tpm', cap, wait_ms(s.tc, s.tp, q.t, cap), l[1]}
      end
    end
    if most > 0 then
      local key = 'sy:cc:' .. l[1]
      call('ZREMRANGEBYSCORE', key, '-inf', now)
      local cap = math.max(1, math.floor(most * factor))
      if call('ZCARD', key) >= cap then return nil, {'rate', i - 1, 'concurrency', cap, 1000, l[1]} end
    end
    seen[i] = s
  end
  return seen, nil
end

local function budgets(q)
  local used, factor, slow, missing = {}, 1, nil, {}
  local worst = tonumber(q.w)
  for i, b in ipairs(q.b) do
    local v = call('HMGET', b[1], 'spent', 'reserved')
    if not v[1] then missing[#missing + 1] = i - 1
    else
      used[i] = {v[1], v[2] or '0'}
      if tonumber(v[1]) + tonumber(v[2] or '0') + worst > b[2] then
        if b[3] == 2 then return nil, {'budget', i - 1, v[1], v[2] or '0'} end
        if b[3] == 1 then factor, slow = 0.5, slow or b[1] end
      end
    end
  end
  if #missing > 0 then return nil, {'unseeded', missing} end
  return {used = used, factor = factor, slow = slow}, nil
end

local function breakers(q)
  local chosen, probe, open, busy = '', false, {}, 0
  for _, deployment in ipairs(q.d) do
    local v = call('HMGET', 'sy:cb:' .. q.n .. deployment, 'st', 'ou', 'pu', 'ru')
    local state = v[1] or '0'
    local rest = v[4] and tonumber(v[4]) - now or 0
    if rest > 0 then
      open[#open + 1] = deployment
      busy = busy > 0 and math.min(busy, rest) or rest
    elseif state == '0' then
      if chosen == '' then chosen = deployment end
    elseif chosen == '' and now >= tonumber(v[2]) and now >= tonumber(v[3]) then
      chosen, probe = deployment, true
    else open[#open + 1] = deployment end
  end
  return chosen, probe, open, busy
end

local function reserve(q)
  local money, refused = budgets(q)
  if refused then return refused end
  local limits = q.l
  if money.slow then
    local has_rpm = false
    for _, l in ipairs(limits) do has_rpm = has_rpm or l[2] > 0 end
    if not has_rpm then limits[#limits + 1] = {money.slow, THROTTLE_RPM * 2, 0, 0} end
  end
  local seen
  seen, refused = rates(q, limits, money.factor)
  if refused then return refused end
  local chosen, probe, open, busy = breakers(q)
  if #q.d > 0 and chosen == '' then return {'none', open, busy} end
  local ends = now + turn.lease
  for _, b in ipairs(q.b) do call('HINCRBY', b[1], 'reserved', q.w) end
  local shown = {}
  for i, l in ipairs(limits) do
    local s = seen[i]
    if l[2] > 0 or l[3] > 0 then
      local key = 'sy:rl:' .. l[1]
      call('HSET', key, 'w', minute, 'rc', s.rc + 1, 'rp', s.rp, 'tc', s.tc + q.t, 'tp', s.tp)
      call('EXPIRE', key, 180)
    end
    if l[4] > 0 then call('ZADD', 'sy:cc:' .. l[1], ends, q.id); call('PEXPIRE', 'sy:cc:' .. l[1], turn.lease) end
    shown[i] = {s.rc + 1 + s.rp * (1 - gone), s.tc + q.t + s.tp * (1 - gone)}
  end
  if probe then
    call('HSET', 'sy:cb:' .. q.n .. chosen, 'st', 2, 'pu', now + PROBE_MS, 'pr', q.id)
  end
  if q.p == 1 then
    local key, names = 'sy:r:' .. q.id, {}
    for i, b in ipairs(q.b) do names[i] = b[1] end
    call('HSET', key, 'w', q.w, 'b', table.concat(names, ' '))
    if q.e > 0 then call('HSET', key, 'e', ARGV[q.e + 1], 'c', q.c, 'd', q.k) end
    call('ZADD', 'sy:leases', ends, q.id)
  end
  return {'ok', chosen, probe and 1 or 0, open, money.used, shown, minute}
end

for _, c in ipairs(turn.i) do
  call('HSETNX', c[1], 'spent', c[2])
  call('HSETNX', c[1], 'reserved', 0)
  call('HSET', c[1], 'limit', c[3])
  if c[4] > 0 then call('EXPIREAT', c[1], c[4]) end
end
for _, q in ipairs(turn.s) do settle(q) end
for _, index in ipairs(turn.x) do emit(index, '') end
local swept = turn.w == 1 and sweep() or 0
local replies = {}
for i, q in ipairs(turn.r) do replies[i] = reserve(q) end
return cjson.encode({r = replies, w = swept})
