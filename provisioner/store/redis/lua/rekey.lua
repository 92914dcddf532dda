-- What is kept of one person, moved to another key. Done twice, it does the same as once.
--
-- Keys: none are passed; all are made from the names as store/keys.py lists them (one server, no cluster): those of
--   queue.lua, and unlinked:<target>, looked:<target>, rostered:<target>, put_off:<target>, run:<run>:put_off:<target>,
--   overtaken, run:<run>:again:<target>, outdated; history:<person>, heard:<person>, facts:<person>, receipt:<person>, receipts and
--   roster:newcomers.
-- ARGV[1] the command, ARGV[2] the target, ARGV[3] the old key, ARGV[4] the new one:
--   link    the part of one target  -> {1, run of each operation taken away…}; {0} and no change where both keys have a
--           link there; {-1} and no change where something about one of them is being sent
--   person  what belongs to no one target  -> {1}
-- include: queue_common
-- include: queue_unsure
-- include: standing
-- include: move_field

local old, new = ARGV[3], ARGV[4]
local commands = {}

local function rename_in(set, run)
  if redis.call('SREM', set, old) == 1 then
    redis.call('SADD', set, new)
    redis.call('SADD', P .. 'outdated', run)
  end
end

function commands.link()
  if redis.call('HEXISTS', LEDGER, old) == 1 and redis.call('HEXISTS', LEDGER, new) == 1 then return { 0 } end
  local runs = drop_standing({ old, new }, 'rekeyed', 'this person goes on under another key; the next run plans with it')
  if not runs then return { -1 } end
  move_field(LEDGER, old, new)
  move_field(P .. 'unlinked:' .. target, old, new)
  local since = redis.call('ZSCORE', LEAVERS, old)
  if since then
    redis.call('ZADD', LEAVERS, 'LT', since, new)
    redis.call('ZREM', LEAVERS, old)
  end
  redis.call('ZREM', LOOKED, old)
  redis.call('ZREM', ROSTERED, old)
  -- Runs whose leave of this person something newer took, and those that plan them again, go on waiting for them
  for _, run in ipairs(redis.call('SMEMBERS', PUT_OFF)) do rename_in(put_off_key(run), run) end
  for _, part in ipairs(redis.call('SMEMBERS', P .. 'overtaken')) do
    local run, other = split(part)
    if other == target then rename_in(P .. 'run:' .. run .. ':again:' .. target, run) end
  end
  return { 1, unpack(runs) }
end

function commands.person()
  local story = P .. 'history:'
  -- The new key's own is the newer one
  for _, entry in ipairs(redis.call('LRANGE', story .. old, 0, -1)) do
    redis.call('RPUSH', story .. new, entry)
    -- Whoever erases the person finds their operations by this
    local key = P .. 'run:' .. string.gsub(entry, '^([^|]*)|([^|]*)|(.*)$', '%2:op:%1:%3')
    if redis.call('EXISTS', key) == 1 then redis.call('HSET', key, 'person', new) end
  end
  redis.call('LTRIM', story .. new, 0, HISTORY_LENGTH - 1)
  local heard = redis.call('ZRANGE', P .. 'heard:' .. old, 0, -1, 'WITHSCORES')
  for i = 1, #heard, 2 do redis.call('ZADD', P .. 'heard:' .. new, heard[i + 1], heard[i]) end
  local left = redis.call('PTTL', P .. 'heard:' .. old)
  if left > redis.call('PTTL', P .. 'heard:' .. new) then redis.call('PEXPIRE', P .. 'heard:' .. new, left) end
  for _, kind in ipairs({ 'facts:', 'receipt:' }) do
    local fields = redis.call('HGETALL', P .. kind .. old)
    for i = 1, #fields, 2 do redis.call('HSETNX', P .. kind .. new, fields[i], fields[i + 1]) end
  end
  local at = redis.call('ZSCORE', P .. 'receipts', old)
  if at then redis.call('ZADD', P .. 'receipts', 'NX', at, new) end
  redis.call('ZREM', P .. 'receipts', old)
  redis.call('HDEL', P .. 'roster:newcomers', old, new)
  redis.call('DEL', story .. old, P .. 'heard:' .. old, P .. 'facts:' .. old, P .. 'receipt:' .. old)
  return { 1 }
end

return commands[command]()
