-- What the passengers of a turn share (counters, windows, breakers): read when the first one needs it, written once at the
-- end. A command costs Valkey more than all of a passenger's arithmetic. admission.lua says what lies where.
--
-- A library of functions: it is read once, so that a call doesn't make forty functions before it begins. What belongs to one
-- call is set anew by `begin`; only the paths that were decoded before outlive it, and those follow from their text.
local MINUTE, SLOT, SLOTS = 60000, 5000, 6
local FAILURES_IN_A_ROW, MIN_CALLS, OPEN_MS, OPEN_MAX_MS, PROBE_MS = 5, 20, 10000, 60000, 30000
local THROTTLE_RPM = 60
local EXACT = 9e15 -- below it a double is a whole number of nano-dollars, and so is its sum with another one
local MOST_PATHS = 2000

local call, format, floor, max -- what a library may only look at when it is called
local turn, now, minute, gone, stamp, slot
local counters, moved, windows, counted, breakers, well_done

-- Paths: what the requests of a key have in common, by its text.
local paths, known = {}, 0

local function path_of(text)
  local path = paths[text]
  if not path then
    if known >= MOST_PATHS then paths, known = {}, 0 end
    path = cjson.decode(text)
    paths[text], known = path, known + 1
  end
  return path
end

local function begin(args)
  call, format, floor, max = redis.call, string.format, math.floor, math.max
  turn = cjson.decode(args[1])
  local clock = call('TIME')
  now = clock[1] * 1000 + floor(clock[2] / 1000)
  minute, gone = floor(now / MINUTE), (now % MINUTE) / MINUTE
  stamp = floor(now / SLOT)
  slot = stamp % SLOTS
  counters, moved, windows, counted, breakers, well_done = {}, {}, {}, {}, {}, {}
  local p = {}
  for i = 1, turn.n do p[i] = path_of(args[i + 1]) end
  turn.p, turn.args, turn.first = p, args, turn.n + 1
end

local function small(x) return x < EXACT and x > -EXACT end

-- Counters: s spent, r reserved, and the text of both until they move. Sums that a double can't hold are left to HINCRBY.
local function counter(key)
  local c = counters[key]
  if c == nil then
    local v = call('HMGET', key, 'spent', 'reserved')
    c = v[1] and {s = tonumber(v[1]), r = tonumber(v[2] or 0), ts = v[1], tr = v[2] or '0'} or false
    if c then c.fits = small(c.s) and small(c.r) end
    counters[key] = c
  end
  return c
end

local function spent_text(c)
  local text = c.ts
  if not text then text = format('%.0f', c.s); c.ts = text end
  return text
end

local function reserved_text(c)
  local text = c.tr
  if not text then text = format('%.0f', c.r); c.tr = text end
  return text
end

local function write_counter(key, c)
  if c.moved then
    c.moved = false
    call('HSET', key, 'spent', spent_text(c), 'reserved', reserved_text(c))
  end
end

-- By ds and dr; their texts are what HINCRBY is told where doubles don't do.
local function move(key, ds, dr, spent, reserved)
  local c = counters[key]
  if c == nil then c = counter(key) end
  if not c then return end -- a counter that is gone is rebuilt from the ledger, never begun at zero
  local s, r = c.s + ds, c.r + dr
  if c.fits and s < EXACT and s > -EXACT and r < EXACT and r > -EXACT -- written out: eight times a request
    and ds < EXACT and ds > -EXACT and dr < EXACT and dr > -EXACT then
    if ds ~= 0 then c.s, c.ts = s, nil end
    if dr ~= 0 then c.r, c.tr = r, nil end
    if not c.moved then c.moved = true; moved[#moved + 1] = key end
  else
    write_counter(key, c)
    if ds ~= 0 then call('HINCRBY', key, 'spent', spent) end
    if dr ~= 0 then call('HINCRBY', key, 'reserved', reserved) end
    counters[key] = nil
  end
end

-- Windows: rc, rp requests and tc, tp tokens of this minute and of the one before.
local function window(scope)
  local s = windows[scope]
  if s == nil then
    local v = call('HMGET', 'sy:rl:' .. scope, 'w', 'rc', 'rp', 'tc', 'tp')
    local at = tonumber(v[1] or -1)
    if at == minute then s = {rc = tonumber(v[2]), rp = tonumber(v[3]), tc = tonumber(v[4]), tp = tonumber(v[5])}
    elseif at == minute - 1 then s = {rc = 0, rp = tonumber(v[2]), tc = 0, tp = tonumber(v[4]), new = true}
    else s = {rc = 0, rp = 0, tc = 0, tp = 0, new = true, none = true} end
    if s.tp < 0 then s.tp = 0 end
    windows[scope] = s
  end
  return s
end

local function count(scope, s)
  if not s.counted then s.counted, s.none = true, false; counted[#counted + 1] = scope end
end

-- Breakers: st 0 closed, 1 open, 2 half-open · cf failures in a row · ou open until · pu probe until · pr its request ·
-- dl how long it opens · ru asked to be left alone until · s0…s5 slot stamps, n0… calls, f0… failures: six slots of 5 s make the 30 s window.
local function breaker(key)
  local b = breakers[key]
  if b == nil then
    local v = call('HMGET', key, 'st', 'ou', 'pu', 'ru', 'pr', 'cf', 'dl', 's' .. slot)
    b = {
      st = v[1] or '0', ou = tonumber(v[2] or 0), pu = tonumber(v[3] or 0), ru = tonumber(v[4] or 0), pr = v[5],
      cf = v[6] and v[6] ~= '0', dl = v[7], new = v[8] ~= tostring(stamp), well = 0,
    }
    breakers[key] = b
  end
  return b
end

local function write_well(key, b)
  if b.well == 0 then return end
  if b.new then
    call('HSET', key, 's' .. slot, stamp, 'n' .. slot, b.well, 'f' .. slot, 0)
    call('EXPIRE', key, 3600)
  else
    call('HINCRBY', key, 'n' .. slot, b.well)
  end
  if b.cf then call('HSET', key, 'cf', 0) end
  b.well, b.new, b.cf = 0, false, false
end

local function open_breaker(key, delay)
  call('HSET', key, 'st', 1, 'ou', now + delay, 'pu', 0, 'pr', '', 'dl', delay, 'cf', 0)
  for i = 0, SLOTS - 1 do call('HDEL', key, 's' .. i, 'n' .. i, 'f' .. i) end
end

local function failing_share(key)
  local calls, failures = 0, 0
  for i = 0, SLOTS - 1 do
    local v = call('HMGET', key, 's' .. i, 'n' .. i, 'f' .. i)
    if v[1] and stamp - tonumber(v[1]) < SLOTS then
      calls, failures = calls + tonumber(v[2] or 0), failures + tonumber(v[3] or 0)
    end
  end
  return calls, failures
end

local function failed(key, b)
  write_well(key, b) -- those that went well before it end the row of failures
  b.well, b.cf = 1, false
  write_well(key, b)
  call('HINCRBY', key, 'f' .. slot, 1)
  local in_a_row = call('HINCRBY', key, 'cf', 1)
  local calls, failures = failing_share(key)
  if in_a_row >= FAILURES_IN_A_ROW or (calls >= MIN_CALLS and failures * 2 >= calls) then
    open_breaker(key, OPEN_MS)
  end
  breakers[key] = nil
end

local function outcome(key, well, request)
  local b = breaker(key)
  if b.st == '0' then
    if not well then failed(key, b)
    elseif b.well == 0 then b.well = 1; well_done[#well_done + 1] = key
    else b.well = b.well + 1 end
  elseif b.st == '2' and b.pr == request then
    -- Only the probe may judge an open breaker; calls that began before it opened say nothing new.
    if well then call('DEL', key)
    else open_breaker(key, math.min((tonumber(b.dl) or OPEN_MS) * 2, OPEN_MAX_MS)) end
    breakers[key] = nil
  end
end
