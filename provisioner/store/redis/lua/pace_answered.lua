-- An answer is there: its slot is free again one window from now. A 429 stops everyone on the resource.
--
-- KEYS[1]  string: the time until which the resource is blocked
-- KEYS[2]  hash: share, since, lowered, struck, ceiling: how far the limit is lowered
-- KEYS[3…] sorted set for each window: slot -> the time at which it is free again
-- ARGV[1]  the slot's name
-- ARGV[2]  the time of its grant
-- ARGV[3]  the span for which the resource is blocked; 0 if the answer was no 429
-- ARGV[4]  1 if each 429 lowers the limit, because none is published; 0: only one that comes soon after another
-- ARGV[5…] limit, window; limit, window; … in the order of the keys
-- include: pace_common

local slot, granted, block, adaptive = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local windows, longest = windows_from(5)
local now = now_by_redis()

for i, window in ipairs(windows) do
  -- Also where it was swept as overdue: the vendor has counted it after all
  redis.call('ZADD', KEYS[2 + i], written(now + window.span), slot)
  keep_for(KEYS[2 + i], window.span)
end
if block == 0 then
  return 0
end

local ends = now + math.max(block, blocked_for(KEYS[1], now))
redis.call('SET', KEYS[1], written(ends), 'PX', written(math.ceil((ends - now) / 1000) + 1))

local share, back = share_of(KEYS[2], now, longest), STRUCK
-- Requests that were under way at the last 429 tell nothing about the limit that followed from it
local lowered, struck = unpack(redis.call('HMGET', KEYS[2], 'lowered', 'struck'))
if granted > tonumber(lowered or 0) then
  -- One alone may be for others who share the vendor's limit
  local soon = struck and now - tonumber(struck) <= STRUCK * longest
  if adaptive or share < 1 or soon then
    if not adaptive then redis.call('HSET', KEYS[2], 'ceiling', string.format('%.9f', share)) end
    share = share / 2
  end
  redis.call('HSET', KEYS[2], 'struck', written(ends), 'lowered', written(now))
end
if share < 1 then
  redis.call('HSET', KEYS[2], 'share', string.format('%.9f', share), 'since', written(ends))
  back = math.ceil((1 - share) / CREEP) + (adaptive and 0 or windows_of_hold(longest) + 1)
end
keep_for(KEYS[2], ends - now + back * longest)
return 1
