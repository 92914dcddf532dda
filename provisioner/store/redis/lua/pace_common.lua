-- What the pace scripts share. Times and spans are microseconds; times are of Redis's own clock.
-- It has no KEYS of its own; of ARGV it reads the (limit, window) pairs that end it in each of the scripts.

-- How much of the configured limit comes back after each window without a 429.
local CREEP = 0.05
-- A limit at which a 429 came is not tried again for so many windows without one, and for an hour at most.
local HOLD, HOLD_AT_MOST = 30, 3600000000
-- A published limit is lowered by a 429 that comes within so many windows of another.
local STRUCK = 10
-- The part of the slots that is kept for single-person work.
local RESERVE = 0.05

local function now_by_redis()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Redis and Lua write large numbers with an exponent, which loses digits.
local function written(number)
  return string.format('%.0f', number)
end

-- The (limit, window) pairs from ARGV[first] on, and the longest of the windows.
local function windows_from(first)
  local windows, longest = {}, 0
  for i = first, #ARGV, 2 do
    local window = {limit = tonumber(ARGV[i]), span = tonumber(ARGV[i + 1])}
    windows[#windows + 1] = window
    longest = math.max(longest, window.span)
  end
  return windows, longest
end

local function blocked_for(key, now)
  return math.max(0, tonumber(redis.call('GET', key) or 0) - now)
end

local function windows_of_hold(longest)
  return math.max(1, math.min(HOLD, math.floor(HOLD_AT_MOST / longest)))
end

-- The share of the configured limit that is in force: 1, or less after a 429. It comes back with each window; where a
-- published limit was lowered, first up to just below the share at which that 429 came, and above it only much later.
local function share_of(key, now, longest)
  local kept = redis.call('HMGET', key, 'share', 'since', 'ceiling')
  if not kept[1] then
    return 1
  end
  local share, ceiling = tonumber(kept[1]), tonumber(kept[3] or 2)
  local quiet = math.floor(math.max(0, now - tonumber(kept[2])) / longest)
  local below = math.max(share, ceiling - CREEP) + CREEP * math.max(0, quiet - windows_of_hold(longest))
  return math.min(1, below, share + CREEP * quiet)
end

local function limit_in_force(limit, share)
  -- The addition keeps 120 * 0.55 at 66
  return math.max(1, math.floor(limit * share + 0.000001))
end

local function reserve_of(limit)
  return math.floor(limit * RESERVE + 0.000001)
end

-- A key lives at least this long from now; never shorter than before. (PEXPIRE ... GT needs Redis 7.)
local function keep_for(key, span)
  local milliseconds = math.ceil(span / 1000) + 1000
  if redis.call('PTTL', key) < milliseconds then
    redis.call('PEXPIRE', key, written(milliseconds))
  end
end
