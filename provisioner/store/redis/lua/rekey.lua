-- What is kept of one person, moved to another key. Done twice, it does the same as once.
--
-- Keys: none are passed; all are made from the names as store/keys.py lists them (one server, no cluster): those of
--   queue.lua, and unlinked:<target>; history:<person>, heard:<person>, facts:<person>, receipt:<person>, receipts and
--   roster:newcomers.
-- ARGV[1] the command, ARGV[2] the target, ARGV[3] the old key, ARGV[4] the new one:
--   link    the part of one target  -> {1, run of each operation taken away…}; {0} and no change where both keys have a
--           link there; {-1} and no change where something about one of them is being sent
--   person  what belongs to no one target  -> {1}
-- include: queue_common

local old, new = ARGV[3], ARGV[4]
local commands = {}

local function standing(person)
  local found, cursor, prefix = {}, '0', person .. '\31'
  repeat
    local answer = redis.call('HSCAN', SLOTS, cursor, 'COUNT', 10000)
    cursor = answer[1]
    for i = 1, #answer[2], 2 do
      if string.sub(answer[2][i], 1, #prefix) == prefix then table.insert(found, answer[2][i + 1]) end
    end
  until cursor == '0'
  return found
end

-- A field of a hash under the new key, unless that has one.
local function move(key)
  local text = redis.call('HGET', key, old)
  if text and redis.call('HSETNX', key, new, text) == 1 then redis.call('HDEL', key, old) end
end

function commands.link()
  if redis.call('HEXISTS', LEDGER, old) == 1 and redis.call('HEXISTS', LEDGER, new) == 1 then return { 0 } end
  local members = standing(old)
  for _, member in ipairs(standing(new)) do table.insert(members, member) end
  for _, member in ipairs(members) do
    local run, id = split(member)
    if redis.call('HGET', op_key(run, id), 'status') == 'sending' then return { -1 } end
  end
  local told = { 1 }
  local why = cjson.encode({ code = 'rekeyed', message = 'this person goes on under another key; the next run plans with it' })
  for _, member in ipairs(members) do
    local run, id = split(member)
    local status = redis.call('HGET', op_key(run, id), 'status')
    if status and not OVER[status] then
      finish(run, id, 'superseded', { 'error', why })
      table.insert(told, run)
    end
  end
  move(LEDGER)
  move(P .. 'unlinked:' .. target)
  local since = redis.call('ZSCORE', LEAVERS, old)
  if since then
    redis.call('ZADD', LEAVERS, 'NX', since, new)
    redis.call('ZREM', LEAVERS, old)
  end
  return told
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
