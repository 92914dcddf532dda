-- What is reported of operations besides their states: leavers' receipts, and why operations were superseded.
--
-- Included by queue_common.lua, whose P, target, LEAVERS, now(), op_key() and run_key() it uses.
-- Keys: receipt:<person>, receipts, leavers:<target>, ledger:<target>, unread, run:<run>:t:<target>, put_off:<target>,
-- run:<run>:put_off:<target>, outdated.
-- `leavers:<target>` is the one place that says whose leave is unfinished: a person is in it from when an accepted
-- roster says that they leave until their entry in the ledger says that they left, or nobody says so any more.

local PUT_OFF = P .. 'put_off:' .. target
local function put_off_key(run) return P .. 'run:' .. run .. ':put_off:' .. target end

-- Since when somebody is an unfinished leaver of a target: the first time that it is noted counts (epoch seconds).
local function note_leaver(name, person)
  if redis.call('ZADD', P .. 'leavers:' .. name, 'NX', now(), person) == 0 then return end
  local entry = { status = 'noted', since = now(), at = now(), run = '', operation = '' }
  redis.call('HSET', P .. 'receipt:' .. person, name, cjson.encode(entry))
  redis.call('ZADD', P .. 'receipts', now(), person)
end

-- Note a person as an unfinished leaver here, and in each target that was never read: nobody knows what they have there.
local function leaves(person)
  note_leaver(target, person)
  for _, other in ipairs(redis.call('SMEMBERS', P .. 'unread')) do
    if other ~= target and redis.call('HEXISTS', P .. 'ledger:' .. other, person) == 0 then note_leaver(other, person) end
  end
end

-- Let the runs whose leave of a person something newer took be looked at again.
local function look_again(person)
  for _, run in ipairs(redis.call('SMEMBERS', PUT_OFF)) do
    if redis.call('SISMEMBER', put_off_key(run), person) == 1 then redis.call('SADD', P .. 'outdated', run) end
  end
end

local function leaves_no_more(person)
  if redis.call('ZREM', LEAVERS, person) == 1 then look_again(person) end
end

-- A leave that something newer took is unfinished all the same, and with it the run that planned it.
local function put_off(run, person)
  redis.call('SADD', put_off_key(run), person)
  redis.call('SADD', PUT_OFF, run)
  redis.call('HSET', run_key(run), 'put_off', '1')
  redis.call('SADD', P .. 'outdated', run)
end

-- The state of one person's leave in this target.
local function receipt(run, id, person, status)
  local key = P .. 'receipt:' .. person
  local text = redis.call('HGET', key, target)
  local known = text and cjson.decode(text)
  -- One that was never open says nothing of the open one
  if status == 'superseded' and not (known and known.run == run and known.operation == id) then return end
  local since = tonumber(redis.call('ZSCORE', LEAVERS, person) or (known and known.since) or now())
  local entry = { status = status, since = since, at = now(), run = run, operation = id }
  redis.call('HSET', key, target, cjson.encode(entry))
  redis.call('ZADD', P .. 'receipts', now(), person)
end

-- Count a superseded operation by its reason, so that a run can tell what became of what it planned.
local function explain(run, id, kind, extra)
  local code = 'newer_plan'
  for place = 1, extra and #extra or 0, 2 do
    if extra[place] == 'error' and extra[place + 1] ~= '' then code = cjson.decode(extra[place + 1]).code or code end
  end
  redis.call('HINCRBY', run_key(run), 'why:' .. code .. ':' .. kind, 1)
  if kind == 'leave' and code ~= 'no_longer_leaving' then put_off(run, redis.call('HGET', op_key(run, id), 'person')) end
end
