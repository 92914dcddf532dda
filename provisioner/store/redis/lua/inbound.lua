-- Events from outside: accepted once each, facts kept by their time, dead letters replayed.
--
-- Keys: none are passed; all are made as store/keys.py lists them (one server, no cluster).
-- ARGV[1] the command, then:
--   accept   target, digest, event, counted name, body                       -> 1 if new, 0 if it came before
--   facts    per fact: person, field, at (epoch seconds), JSON               -> how many were newer than what was known
--   orphan   target, account                                                 -> 1 if it was not listed yet
--   todo     target, person, sentence                                        -> 1 if it was not listed yet
--   bury     id, JSON of the dead letter, group                              -> 1 if this call did it
--   later    id, JSON of the event, due (epoch seconds), group              -> 1 if this call did it
--   due      now (epoch seconds)                 -> how many that were put off went back into the stream
--   replay   ids…                                                            -> how many went back into the stream

local P = 'provisioner:'
local STREAM, DEAD, COUNTS = P .. 'inbound', P .. 'inbound:dead', P .. 'inbound:counts'
local LATER = P .. 'inbound:later'
local commands = {}

function commands.accept()
  local target, digest, event, counted, body = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
  local time = redis.call('TIME')
  local now = time[1] .. '.' .. string.format('%06d', tonumber(time[2]))
  if redis.call('ZADD', P .. 'inbound:seen', 'NX', now, digest) == 0 then
    redis.call('HINCRBY', COUNTS, target .. '|duplicate', 1)
    return 0
  end
  redis.call('XADD', STREAM, '*', 'target', target, 'event', event, 'digest', digest, 'body', body, 'at', now)
  redis.call('HINCRBY', COUNTS, target .. '|' .. counted, 1)
  return 1
end

function commands.facts()
  local newer = 0
  for i = 2, #ARGV, 4 do
    local key, field, at, text = P .. 'facts:' .. ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
    local known = redis.call('HGET', key, field)
    if not known or (tonumber(cjson.decode(known).at) or 0) < at then
      redis.call('HSET', key, field, text)
      newer = newer + 1
    end
  end
  return newer
end

function commands.orphan()
  local key, account = P .. 'lists:' .. ARGV[2], ARGV[3]
  local text = redis.call('HGET', key, 'orphans')
  local listed = text and cjson.decode(text) or {}
  for _, other in ipairs(listed) do
    if other == account then return 0 end
  end
  table.insert(listed, account)
  redis.call('HSET', key, 'orphans', cjson.encode(listed))
  return 1
end

function commands.todo()
  local key, person, sentence = P .. 'lists:' .. ARGV[2], ARGV[3], ARGV[4]
  local text = redis.call('HGET', key, 'todos')
  local listed = text and cjson.decode(text) or {}
  for _, other in ipairs(listed) do
    if other.person == person and other.message == sentence then return 0 end
  end
  table.insert(listed, { person = person, message = sentence })
  redis.call('HSET', key, 'todos', cjson.encode(listed))
  return 1
end

function commands.bury()
  local id, letter, group = ARGV[2], ARGV[3], ARGV[4]
  if redis.call('XDEL', STREAM, id) == 0 then return 0 end
  redis.call('XACK', STREAM, group, id)
  redis.call('HSET', DEAD, id, letter)
  redis.call('HDEL', P .. 'inbound:errors', id)
  return 1
end

local function back_into_stream(text)
  local letter = cjson.decode(text)
  redis.call('XADD', STREAM, '*', 'target', letter.target, 'event', letter.event, 'digest', letter.digest,
    'body', letter.body, 'at', string.format('%.6f', letter.at))
end

function commands.later()
  local id, text, due, group = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
  if redis.call('XDEL', STREAM, id) == 0 then return 0 end
  redis.call('XACK', STREAM, group, id)
  redis.call('ZADD', LATER, due, text)
  return 1
end

function commands.due()
  local found = redis.call('ZRANGEBYSCORE', LATER, '-inf', ARGV[2], 'LIMIT', 0, 1000)
  for _, text in ipairs(found) do
    back_into_stream(text)
    redis.call('ZREM', LATER, text)
  end
  return #found
end

function commands.replay()
  local count = 0
  for i = 2, #ARGV do
    local text = redis.call('HGET', DEAD, ARGV[i])
    if text then
      back_into_stream(text)
      redis.call('HDEL', DEAD, ARGV[i])
      count = count + 1
    end
  end
  return count
end

return commands[ARGV[1]]()
