-- Give back a slot for which no request was sent: it is free at once.
--
-- KEYS[1…] sorted set for each window: slot -> the time at which it is free again
-- ARGV[1]  the slot's name
for _, key in ipairs(KEYS) do
  redis.call('ZREM', key, ARGV[1])
end
return 1
