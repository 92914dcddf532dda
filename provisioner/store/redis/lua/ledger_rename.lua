-- Let a link go on under a person's new key, unless that key has one already.
--
-- KEYS[1] the ledger of a target: person -> entry
-- ARGV[1] the person's old key
-- ARGV[2] the new one
-- Returns 1 if this call did it.
local text = redis.call('HGET', KEYS[1], ARGV[1])
if not text or redis.call('HSETNX', KEYS[1], ARGV[2], text) == 0 then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
