-- Release locks, each if it still holds the token of whoever asks; a lock of somebody else stays.
--
-- KEYS[1…] the locks
-- ARGV[1…] the token of each, in the same order
-- Returns how many were released.
local released = 0
for place, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[place] then released = released + redis.call('DEL', key) end
end
return released
