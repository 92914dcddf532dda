-- What the pace scripts share. Times and spans are microseconds; times are of Redis's own clock.
-- It has no KEYS of its own; of ARGV it reads the (limit, window) pairs that end it in each of the scripts.

-- How much of the configured limit comes back after each window without a 429.
local CREEP = 0.05
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

-- The share of the configured limit that is in force: 1, or less after a 429 of a target without a published limit.
local function share_of(key, now, longest)
  local kept = redis.call('HMGET', key, 'share', 'since')
  if not kept[1] then
    return 1
  end
  local quiet = math.floor(math.max(0, now - tonumber(kept[2])) / longest)
  return math.min(1, tonumber(kept[1]) + CREEP * quiet)
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
