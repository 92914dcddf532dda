-- Outgoing webhooks: each put there once, and taken by one sender at a time.
--
-- Keys: none are passed; all are made as store/keys.py lists them (one server, no cluster).
-- ARGV[1] the command, then:
--   add    now (epoch seconds), then per item: id, JSON         -> how many were never there before
--   take   now, lease (seconds), limit                          -> list of JSON
--   replay now, ids…   what nobody took is sent again           -> how many there were

local P = 'provisioner:'
local OUTBOX, ITEMS, SEEN = P .. 'outbox', P .. 'outbox:items', P .. 'outbox:seen'
local DEAD = P .. 'outbox:dead'
local commands = {}

function commands.add()
  local now, added = ARGV[2], 0
  for i = 3, #ARGV, 2 do
    local id, text = ARGV[i], ARGV[i + 1]
    if redis.call('ZADD', SEEN, 'NX', now, id) == 1 then
      redis.call('HSET', ITEMS, id, text)
      redis.call('ZADD', OUTBOX, now, id)
      added = added + 1
    end
  end
  return added
end

function commands.take()
  local now, lease, limit = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
  local rows = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', OUTBOX, '-inf', now, 'LIMIT', 0, limit)) do
    local text = redis.call('HGET', ITEMS, id)
    if text then
      redis.call('ZADD', OUTBOX, now + lease, id)
      table.insert(rows, text)
    else
      redis.call('ZREM', OUTBOX, id)
    end
  end
  return rows
end

function commands.replay()
  local now, count = ARGV[2], 0
  for i = 3, #ARGV do
    local id = ARGV[i]
    local text = redis.call('HGET', DEAD, id)
    if text then
      local item = cjson.decode(text)
      item.tries, item.since, item.error, item.died = 0, tonumber(now), nil, nil
      redis.call('HSET', ITEMS, id, cjson.encode(item))
      redis.call('ZADD', OUTBOX, now, id)
      redis.call('HDEL', DEAD, id)
      count = count + 1
    end
  end
  return count
end

return commands[ARGV[1]]()
