-- One loop turn of one gateway process in one atomic call: counters to set, settlements, events, a sweep, reservations.
--
-- args[1]  JSON {lease, ttl, n: how many paths, i: counters, s: settlements, x: [events, their decisions], w: sweep?,
--          r: reservations}; settle and reserve say what is in theirs
-- args[2…] the paths as JSON, named by their index: {b: [counter, limit, action], k: the counters' names,
--          l: [scope, rpm, tpm, concurrency], n: what breakers' names begin with}; then bodies of events, named by theirs
-- Returns  JSON {r: one reply a reservation, w: swept}; money travels as strings, for it outgrows a double's printing.
--
-- sy:b:<budget>:<start>  hash spent, reserved, limit      sy:r:<request>  hash w worst, b counters, e event, c its cost
-- sy:leases              zset request → ends (ms)         sy:rl:<scope>   hash w window, rc rp requests, tc tp tokens
-- sy:cc:<scope>          zset request → ends (ms)         sy:cb:<org>:<deployment>  hash: breaker
-- sy:dec:<decision>      the stream's entry that its event stands in, one of several lines
--
-- admission_state.lua stands before this file in the library: what passengers share, read and written once.
local leases, ended -- what to add to sy:leases, and what to take away

local function in_parts(command, values) -- Lua gives a function some thousands of arguments at most
  for first = 1, #values, 2000 do
    call(command, 'sy:leases', unpack(values, first, math.min(#values, first + 1999)))
  end
end

local function point(decisions, at)
  for _, decision in ipairs(decisions) do call('SET', 'sy:dec:' .. decision, at, 'EX', turn.ttl) end
end

local function settle(q)
  local id, place, held, worst, cost, tokens, began, probe, outcomes = unpack(q)
  local path = turn.p[place]
  if held == 1 then
    local live = call('DEL', 'sy:r:' .. id) == 1
    ended[#ended + 1] = id
    local back = live and '-' .. worst or '0'
    local ds, dr = tonumber(cost), tonumber(back)
    for _, b in ipairs(path.b) do move(b[1], ds, dr, cost, back) end
  end
  for _, l in ipairs(path.l) do
    local scope = l[1]
    if l[4] > 0 then call('ZREM', 'sy:cc:' .. scope, id) end
    if l[3] > 0 and tokens ~= 0 then
      local s = window(scope)
      if not s.none and began == minute then s.tc = s.tc + tokens; count(scope, s)
      elseif not s.none and began == minute - 1 then s.tp = s.tp + tokens; count(scope, s) end
    end
  end
  local probed = probe == ''
  for _, o in ipairs(outcomes) do
    local key = 'sy:cb:' .. path.n .. o[1]
    outcome(key, o[2] == 1, id)
    if o[3] > 0 then -- it named a time (Retry-After): nobody of any process asks it before
      call('HSET', key, 'ru', now + o[3])
      call('EXPIRE', key, 3600)
      if breakers[key] then breakers[key].ru = now + o[3] end
    end
    probed = probed or o[1] == probe
  end
  if not probed then -- the probe never called: the next caller may
    local key = 'sy:cb:' .. path.n .. probe
    if breaker(key).pr == id then
      call('HSET', key, 'pu', 0, 'pr', '', 'st', 1)
      breakers[key] = nil
    end
  end
end

local function sweep()
  local late = call('ZRANGEBYSCORE', 'sy:leases', '-inf', now, 'LIMIT', 0, 200)
  for _, id in ipairs(late) do
    local v = call('HMGET', 'sy:r:' .. id, 'w', 'b', 'e', 'c', 'd')
    if v[1] then
      local cost, back = v[4] or '0', '-' .. v[1]
      for key in string.gmatch(v[2], '%S+') do move(key, tonumber(cost), tonumber(back), cost, back) end
      if v[3] then
        local at = call('XADD', 'sy:usage', '*', 'd', v[3])
        if v[5] ~= '' then point({v[5]}, at) end
      end
    end
    call('DEL', 'sy:r:' .. id)
    call('ZREM', 'sy:leases', id)
  end
  return #late
end

local function wait_ms(current, previous, more, limit)
  if current + more <= limit then
    if previous <= 0 then return 1000 end
    return max(1, math.ceil((1 - gone - (limit - current - more) / previous) * MINUTE))
  end
  local fade = current > 0 and math.min(1, max(0, 1 - (limit - more) / current)) or 0
  return math.ceil((1 - gone + fade) * MINUTE)
end

-- The sliding minute: this window's count and the share of the last one that still lies within sixty seconds.
local function rates(limits, factor, tokens)
  for i, l in ipairs(limits) do
    local scope, rpm, tpm, most = unpack(l)
    if rpm > 0 or tpm > 0 then
      local s = window(scope)
      local cap = max(1, floor(rpm * factor))
      if rpm > 0 and s.rc + s.rp * (1 - gone) + 1 > cap then
        return {'rate', i - 1, 'rpm', cap, wait_ms(s.rc, s.rp, 1, cap), scope}
      end
      cap = max(1, floor(tpm * factor))
      if tpm > 0 and s.tc + max(0, s.tp) * (1 - gone) + tokens > cap then
        return {'rate', i - 1, 'tpm', cap, wait_ms(s.tc, max(0, s.tp), tokens, cap), scope}
      end
    end
    if most > 0 then
      local key = 'sy:cc:' .. scope
      call('ZREMRANGEBYSCORE', key, '-inf', now)
      local cap = max(1, floor(most * factor))
      if call('ZCARD', key) >= cap then return {'rate', i - 1, 'concurrency', cap, 1000, scope} end
    end
  end
end

-- What each budget of the path says (spent, reserved) before this one is added; or a refusal.
local function budgets(path, worst)
  local used, factor, slow, missing = {}, 1, nil, nil
  for i, b in ipairs(path.b) do
    local c = counter(b[1])
    if not c then
      missing = missing or {}
      missing[#missing + 1] = i - 1
    else
      used[i] = {spent_text(c), reserved_text(c)}
      if c.s + c.r + worst > b[2] then
        if b[3] == 2 then return nil, {'budget', i - 1, used[i][1], used[i][2]} end
        if b[3] == 1 then factor, slow = 0.5, slow or b[1] end
      end
    end
  end
  if missing then return nil, {'unseeded', missing} end
  return used, nil, factor, slow
end

local function choose(path, deployments)
  local chosen, probe, open, busy = '', false, {}, 0
  for _, deployment in ipairs(deployments) do
    local b = breaker('sy:cb:' .. path.n .. deployment)
    local rest = b.ru > 0 and b.ru - now or 0
    if rest > 0 then
      open[#open + 1] = deployment
      busy = busy > 0 and math.min(busy, rest) or rest
    elseif b.st == '0' then
      if chosen == '' then chosen = deployment end
    elseif chosen == '' and now >= b.ou and now >= b.pu then
      chosen, probe = deployment, true
    else open[#open + 1] = deployment end
  end
  return chosen, probe, open, busy
end

local function throttled(limits, slow)
  local all = {}
  for i, l in ipairs(limits) do
    if l[2] > 0 then return limits end
    all[i] = l
  end
  all[#all + 1] = {slow, THROTTLE_RPM * 2, 0, 0}
  return all
end

local function reserve(q)
  local id, place, held, worst, tokens, deployments, event, cost, decision = unpack(q)
  local path = turn.p[place]
  local most = tonumber(worst)
  local used, refused, factor, slow = budgets(path, most)
  if refused then return refused end
  local limits = slow and throttled(path.l, slow) or path.l
  refused = rates(limits, factor, tokens)
  if refused then return refused end
  local chosen, probe, open, busy = choose(path, deployments)
  if #deployments > 0 and chosen == '' then return {'none', open, busy} end
  local ends = now + turn.lease
  for _, b in ipairs(path.b) do move(b[1], 0, most, '0', worst) end
  local shown = {}
  for i, l in ipairs(limits) do
    local scope = l[1]
    if l[2] > 0 or l[3] > 0 then
      local s = window(scope)
      s.rc, s.tc = s.rc + 1, s.tc + tokens
      count(scope, s)
      shown[i] = {s.rc + s.rp * (1 - gone), s.tc + max(0, s.tp) * (1 - gone)}
    else
      shown[i] = {1, tokens}
    end
    if l[4] > 0 then call('ZADD', 'sy:cc:' .. scope, ends, id); call('PEXPIRE', 'sy:cc:' .. scope, turn.lease) end
  end
  if probe then
    local key = 'sy:cb:' .. path.n .. chosen
    call('HSET', key, 'st', 2, 'pu', now + PROBE_MS, 'pr', id)
    breakers[key] = nil
  end
  if held == 1 then
    if event > 0 then call('HSET', 'sy:r:' .. id, 'w', worst, 'b', path.k, 'e', turn.args[turn.first + event], 'c', cost, 'd', decision)
    else call('HSET', 'sy:r:' .. id, 'w', worst, 'b', path.k) end
    leases[#leases + 1] = ends
    leases[#leases + 1] = id
  end
  return {'ok', chosen, probe and 1 or 0, open, used, shown, minute}
end

local function admit(_, args)
  begin(args)
  leases, ended = {}, {}
  for _, c in ipairs(turn.i) do
    call('HSETNX', c[1], 'spent', c[2])
    call('HSETNX', c[1], 'reserved', 0)
    call('HSET', c[1], 'limit', c[3])
    if c[4] > 0 then call('EXPIREAT', c[1], c[4]) end
  end
  for _, q in ipairs(turn.s) do settle(q) end
  in_parts('ZREM', ended)
  for _, x in ipairs(turn.x) do point(x[2], call('XADD', 'sy:usage', '*', 'd', turn.args[turn.first + x[1]])) end
  local swept = turn.w == 1 and sweep() or 0
  local replies = {}
  for i, q in ipairs(turn.r) do replies[i] = reserve(q) end
  in_parts('ZADD', leases)
  for _, key in ipairs(moved) do
    if counters[key] then write_counter(key, counters[key]) end
  end
  for _, scope in ipairs(counted) do
    local key, s = 'sy:rl:' .. scope, windows[scope]
    call('HSET', key, 'w', minute, 'rc', s.rc, 'rp', s.rp, 'tc', s.tc, 'tp', s.tp)
    if s.new then call('EXPIRE', key, 180) end
  end
  for _, key in ipairs(well_done) do
    if breakers[key] then write_well(key, breakers[key]) end
  end
  return cjson.encode({r = replies, w = swept})
end

redis.register_function('FUNCTION_NAME', admit)
