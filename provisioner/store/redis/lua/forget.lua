-- Everything open for one person in one target, taken away in one step.
--
-- Keys: none are passed; all are made from the names as store/keys.py lists them (one server, no cluster): slots:, q:,
--   parked:, leases:, names:, ledger:, unlinked:, leavers:, looked:, rostered:, unsent: each followed by <target>, and
--   run:<run>:t:<target>, run:<run>:ops:<target>, run:<run>:by:<target>:<status>, run:<run>:op:<target>:<id>.
-- ARGV: target, person, and what is kept for them in names:<target>
-- Returns how many operations stood and are dropped, or -1 and changes nothing: one of them is being sent right now, and
--   its answer would be recorded.

local P = 'provisioner:'
local target, person = ARGV[1], ARGV[2]
local SLOTS = P .. 'slots:' .. target
local prefix = person .. '\31'

local standing = {}
local slots = redis.call('HGETALL', SLOTS)
for i = 1, #slots, 2 do
  if string.sub(slots[i], 1, #prefix) == prefix then
    local at = string.find(slots[i + 1], '|', 1, true)
    local run, id = string.sub(slots[i + 1], 1, at - 1), string.sub(slots[i + 1], at + 1)
    local key = P .. 'run:' .. run .. ':op:' .. target .. ':' .. id
    local status, kind, guard, removes = unpack(redis.call('HMGET', key, 'status', 'kind', 'guard', 'removes'))
    if status == 'sending' then return -1 end
    table.insert(standing, { slot = slots[i], member = slots[i + 1], run = run, id = id, key = key, status = status,
      kind = kind, guard = guard, removes = tonumber(removes) or 0 })
  end
end
for _, one in ipairs(standing) do
  for _, queue in ipairs({ 'q:', 'parked:', 'leases:' }) do redis.call('ZREM', P .. queue .. target, one.member) end
  if one.guard and one.guard ~= '' then
    redis.call('SREM', P .. 'unsent:' .. target .. ':' .. one.guard, one.member)
  end
  for value = 1, one.removes do
    redis.call('SREM', P .. 'unsent:' .. target .. ':removals', one.member .. '|' .. value)
  end
  if one.status then
    -- The run's figures go on adding up
    local run = P .. 'run:' .. one.run
    redis.call('HINCRBY', run .. ':t:' .. target, 'n:' .. one.status .. ':' .. one.kind, -1)
    redis.call('HINCRBY', run .. ':t:' .. target, 'n:superseded:' .. one.kind, 1)
    redis.call('ZREM', run .. ':by:' .. target .. ':' .. one.status, one.id)
    redis.call('ZREM', run .. ':ops:' .. target, one.id)
    redis.call('DEL', one.key)
  end
  redis.call('HDEL', SLOTS, one.slot)
end
for i = 3, #ARGV do redis.call('HDEL', P .. 'names:' .. target, ARGV[i]) end
redis.call('HDEL', P .. 'ledger:' .. target, person)
redis.call('HDEL', P .. 'unlinked:' .. target, person)
redis.call('ZREM', P .. 'leavers:' .. target, person)
redis.call('ZREM', P .. 'looked:' .. target, person)
redis.call('ZREM', P .. 'rostered:' .. target, person)
return #standing
