-- Take one slot of a resource in all of its windows, or in none.
--
-- KEYS[1]  string: the time until which the resource is blocked
-- KEYS[2]  hash: share, since, lowered, struck, ceiling: how far the limit is lowered
-- KEYS[3…] sorted set for each window: slot -> the time at which it is free again
-- ARGV[1]  the slot's name, made by the caller; the same name again gets the same slot
-- ARGV[2]  1 if it is for single-person work, which may use the reserve
-- ARGV[3]  the span after which the request is over even if nothing more is heard
-- ARGV[4]  the claims that the request is sent for, or empty: JSON of target, token, lease (seconds), members, position
--          (the newest that the caller knows of). No slot is granted once one of them is lost; else their leases are
--          renewed. Their keys are leases:<target>, run:<run>:op:<target>:<id> and mark, made from these names
-- ARGV[5…] limit, window; limit, window; … in the order of the keys
--
-- Returns {1, time of the grant}, {0, span after which a slot may be free}, or {-1, 0} where a claim is lost.
-- include: pace_common
-- include: lease

local slot, urgent, deadline = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])
local windows, longest = windows_from(5)
local now = now_by_redis()

if ARGV[4] ~= '' then
  local claims = cjson.decode(ARGV[4])
  local till = now / 1000000 + claims.lease
  local renewed = renew_leases(claims.target, claims.token, till, claims.members, claims.position)
  if renewed < #claims.members then return {-1, 0} end
end

local held = redis.call('ZSCORE', KEYS[3], slot)
if held then
  return {1, written(tonumber(held) - deadline - windows[1].span)}
end

local wait = blocked_for(KEYS[1], now)
local share = share_of(KEYS[2], now, longest)
for i, window in ipairs(windows) do
  local key = KEYS[2 + i]
  -- This also sweeps the slots of senders that died
  redis.call('ZREMRANGEBYSCORE', key, '-inf', written(now))
  local room = limit_in_force(window.limit, share)
  if not urgent then
    room = room - reserve_of(room)
  end
  local over = redis.call('ZCARD', key) - room
  if over >= 0 then
    local frees = tonumber(redis.call('ZRANGE', key, over, over, 'WITHSCORES')[2]) - now
    -- One that is in flight may be answered at once, and is then free a window later
    wait = math.max(wait, math.min(frees, window.span))
  end
end
if wait > 0 then
  return {0, written(wait)}
end

for i, window in ipairs(windows) do
  redis.call('ZADD', KEYS[2 + i], written(now + deadline + window.span), slot)
  keep_for(KEYS[2 + i], deadline + window.span)
end
return {1, written(now)}
