-- How busy a resource is; changes nothing.
--
-- KEYS[1]  string: the time until which the resource is blocked
-- KEYS[2]  hash: share, since, lowered, struck, ceiling: how far the limit is lowered
-- KEYS[3…] sorted set for each window: slot -> the time at which it is free again
-- ARGV[1…] limit, window; limit, window; … in the order of the keys
--
-- Returns {span for which it is blocked, then for each window: slots taken, limit in force, slots kept in reserve}.
-- include: pace_common

local windows, longest = windows_from(1)
local now = now_by_redis()
local share = share_of(KEYS[2], now, longest)
local answer = {written(blocked_for(KEYS[1], now))}
for i, window in ipairs(windows) do
  local limit = limit_in_force(window.limit, share)
  answer[#answer + 1] = redis.call('ZCOUNT', KEYS[2 + i], '(' .. written(now), '+inf')
  answer[#answer + 1] = limit
  answer[#answer + 1] = reserve_of(limit)
end
return answer
