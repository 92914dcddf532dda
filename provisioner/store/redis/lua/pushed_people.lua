-- People that are pushed one by one, and whose changes wait for their run.
--
-- Keys: none are passed; all are made as store/keys.py lists them (one server, no cluster).
-- ARGV[1] the command, then:
--   put      id, version that is there ("" none), document, deleted (1/0), JSON list of names that nobody else who is
--            there may have, keys whose run is due…                      -> {"ok"}, {"conflict"} or {"taken", name}
--   index    id, document, deleted (1/0)                                 -> 1
--   forget   id                                                          -> 1 if there was one
--   heard    id of a webhook, keys…                                      -> 1 if it is new, 0 if it came before
--   taken    per key: key, number of its change                          -> how many of them had not changed since
--
-- A document has the names by which a person is found: "k:" and the key, "u:" and the user name, "e:" and the external
-- id. In the index each is followed by NUL and the person's id. Whoever was deleted keeps the key alone, until somebody
-- else comes with it.

local P = 'provisioner:'
local PEOPLE, LIVE, INDEX = P .. 'roster:scim', P .. 'roster:scim:live', P .. 'roster:scim:index'
local FACTS, CHANGED, HEARD = P .. 'roster:scim:meta', P .. 'roster:changed', P .. 'roster:webhooks'
local commands = {}

local function now()
  local time = redis.call('TIME')
  return time[1] .. '.' .. string.format('%06d', tonumber(time[2]))
end

local function owners(name)
  local found = {}
  for _, member in ipairs(redis.call('ZRANGEBYLEX', INDEX, '[' .. name .. '\0', '[' .. name .. '\0\255')) do
    table.insert(found, string.sub(member, #name + 2))
  end
  return found
end

local function remove(id, text)
  for _, name in ipairs(cjson.decode(text).names) do redis.call('ZREM', INDEX, name .. '\0' .. id) end
  redis.call('HDEL', PEOPLE, id)
  redis.call('ZREM', LIVE, id)
end

local function index(id, text, deleted)
  local document = cjson.decode(text)
  for _, name in ipairs(document.names) do redis.call('ZADD', INDEX, 0, name .. '\0' .. id) end
  if deleted == '1' then
    redis.call('ZREM', LIVE, id)
  else
    redis.call('ZADD', LIVE, 'NX', document.created, id)
  end
end

local function note(first)
  for i = first, #ARGV do
    redis.call('ZADD', CHANGED, redis.call('HINCRBY', FACTS, 'changes', 1), ARGV[i])
  end
end

function commands.put()
  local id, version, text, deleted, alone = ARGV[2], ARGV[3], ARGV[4], ARGV[5], cjson.decode(ARGV[6])
  local before = redis.call('HGET', PEOPLE, id)
  local there = before and tostring(cjson.decode(before).version) or ''
  if there ~= version then return { 'conflict' } end
  local replaced = {}
  for _, name in ipairs(alone) do
    for _, other in ipairs(owners(name)) do
      if other ~= id then
        local theirs = redis.call('HGET', PEOPLE, other)
        if theirs and not cjson.decode(theirs).deleted then return { 'taken', name } end
        table.insert(replaced, { other, theirs })
      end
    end
  end
  for _, one in ipairs(replaced) do
    if one[2] then remove(one[1], one[2]) end
  end
  if before then
    for _, name in ipairs(cjson.decode(before).names) do redis.call('ZREM', INDEX, name .. '\0' .. id) end
  end
  redis.call('HSET', PEOPLE, id, text)
  index(id, text, deleted)
  redis.call('HINCRBY', FACTS, 'revision', 1)
  redis.call('HSET', FACTS, 'pushed', now())
  -- By this number a Redis that was put back to an earlier state is known
  redis.call('HINCRBY', P .. 'mark', 'position', 1)
  note(7)
  return { 'ok' }
end

function commands.index()
  index(ARGV[2], ARGV[3], ARGV[4])
  return 1
end

function commands.forget()
  local text = redis.call('HGET', PEOPLE, ARGV[2])
  if not text then return 0 end
  remove(ARGV[2], text)
  redis.call('HINCRBY', FACTS, 'revision', 1)
  return 1
end

function commands.heard()
  if redis.call('ZADD', HEARD, 'NX', now(), ARGV[2]) == 0 then return 0 end
  note(3)
  return 1
end

function commands.taken()
  local count = 0
  for i = 2, #ARGV, 2 do
    local number = redis.call('ZSCORE', CHANGED, ARGV[i])
    if number and tonumber(number) == tonumber(ARGV[i + 1]) then
      count = count + redis.call('ZREM', CHANGED, ARGV[i])
    end
  end
  return count
end

return commands[ARGV[1]]()
