-- Let a link go on under a person's new key, unless that key has one already; likewise which accounts are not theirs.
--
-- KEYS[1] the ledger of a target: person -> entry
-- KEYS[2] the target's accounts that were unlinked by hand: person -> list
-- ARGV[1] the person's old key
-- ARGV[2] the new one
-- Returns 1 if this call moved the link.
local function move(key)
  local text = redis.call('HGET', key, ARGV[1])
  if not text or redis.call('HSETNX', key, ARGV[2], text) == 0 then return 0 end
  return redis.call('HDEL', key, ARGV[1])
end

move(KEYS[2])
return move(KEYS[1])
