-- What the queue's scripts share: the change of an operation's state, and of the ledger.
-- It has no KEYS of its own; ARGV[1] is the command and ARGV[2] the target in each of the scripts.

local P = 'provisioner:'
local command, target = ARGV[1], ARGV[2]
local Q, PARKED, LEASES = P .. 'q:' .. target, P .. 'parked:' .. target, P .. 'leases:' .. target
local SLOTS, LEDGER = P .. 'slots:' .. target, P .. 'ledger:' .. target
local LEAVERS = P .. 'leavers:' .. target
local INSTALLING, FRESH = P .. 'slots:installing:' .. target, P .. 'slots:fresh:' .. target
local LOOKED, HEALTH = P .. 'looked:' .. target, P .. 'target:' .. target
local NAMES, ROSTERED = P .. 'names:' .. target, P .. 'rostered:' .. target
local MARK = P .. 'mark'
local HISTORY_LENGTH = 200
-- Seconds for which it is noted what is added while a plan is being installed, should that never end.
local FRESH_KEPT = 86400

local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end

local function op_key(run, id) return P .. 'run:' .. run .. ':op:' .. target .. ':' .. id end
local function run_key(run) return P .. 'run:' .. run .. ':t:' .. target end
local function split(member)
  local at = string.find(member, '|', 1, true)
  return string.sub(member, 1, at - 1), string.sub(member, at + 1)
end

local OPEN = { pending = true, sending = true, waiting = true }
-- A run's operations of these few statuses are listed apart, so that nobody has to look through all for them.
local LISTED = { held = true, failed = true, waiting = true, rejected = true }
local OVER = { succeeded = true, failed = true, rejected = true, superseded = true }
-- Days for which changes are counted by the hour.
local TALLY_DAYS = 100

-- include: receipts

-- What ended is counted for good, and by the hour; and since when a leaver is unfinished is remembered across runs.
local function tally(run, id, kind, status)
  if OVER[status] then
    redis.call('HINCRBY', P .. 'totals', target .. '|' .. kind .. '|' .. status, 1)
    local hours = math.floor(now() / 3600)
    local day = P .. 'tally:' .. math.floor(hours / 24)
    redis.call('HINCRBY', day, hours % 24 .. '|' .. kind .. '|' .. status, 1)
    redis.call('EXPIRE', day, TALLY_DAYS * 86400)
  end
  if kind == 'leave' then
    local person = redis.call('HGET', op_key(run, id), 'person')
    -- What became of an operation finishes nobody: the ledger does, see `record`
    if status ~= 'succeeded' and status ~= 'superseded' then leaves(person) end
    receipt(run, id, person, status)
    look_again(person)
  end
end

local function list_by_status(run, id, was, status)
  local key = P .. 'run:' .. run .. ':by:' .. target .. ':'
  if was and LISTED[was] then redis.call('ZREM', key .. was, id) end
  if LISTED[status] then
    local place = redis.call('ZSCORE', P .. 'run:' .. run .. ':ops:' .. target, id)
    redis.call('ZADD', key .. status, place or 0, id)
  end
end

-- Seconds for which it is known what went out without approval.
local SENT_KEPT = 2678400

local function sent_key(guard) return P .. 'sent:' .. target .. ':' .. guard end
local function unsent_key(guard) return P .. 'unsent:' .. target .. ':' .. guard end

-- Count what was sent at some time before now; once, whatever comes.
local function count_as_sent(guard, id)
  redis.call('ZADD', sent_key(guard), 'NX', now(), id)
  redis.call('EXPIRE', sent_key(guard), SENT_KEPT)
end

-- What somebody has not approved counts for its guard from the decision on, once: until it is sent as unsent, then by the
-- time of its sending. What may go again counts as unsent again. `sent`: how often it went out before, by another plan
-- too. Returns whether it counted as sent until now.
local function count_for_guard(run, id, status, guard, sent)
  local member = run .. '|' .. id
  if status == 'pending' or status == 'waiting' then
    redis.call('SADD', unsent_key(guard), member)
    return redis.call('ZREM', sent_key(guard), id) == 1
  end
  redis.call('SREM', unsent_key(guard), member)
  if status == 'sending' then redis.call('ZREM', sent_key(guard), id) end
  -- A Redis that was put back knows of no attempt of what was done since
  local perhaps = status == 'succeeded' or (status == 'superseded' and sent > 0)
  if status == 'sending' or perhaps then count_as_sent(guard, id) end
end

-- Change an operation's status and everything that counts it.
local function become(run, id, status, extra)
  local key = op_key(run, id)
  local was, kind, guard, attempts, removes, went = unpack(
    redis.call('HMGET', key, 'status', 'kind', 'guard', 'attempts', 'removes', 'went'))
  local sent = (tonumber(attempts) or 0) + (tonumber(went) or 0)
  if guard and guard ~= '' and count_for_guard(run, id, status, guard, sent) and sent == 0 then
    redis.call('HSET', key, 'went', '1')
  end
  -- This guard counts values: each has a name of its own
  for one = 1, tonumber(removes) or 0 do count_for_guard(run, id .. '|' .. one, status, 'removals', sent) end
  redis.call('HSET', key, 'status', status, 'changed', tostring(now()), unpack(extra or {}))
  -- By this number a Redis that was put back to an earlier state is known
  redis.call('HINCRBY', MARK, 'position', 1)
  if was ~= status then
    if was then redis.call('HINCRBY', run_key(run), 'n:' .. was .. ':' .. kind, -1) end
    redis.call('HINCRBY', run_key(run), 'n:' .. status .. ':' .. kind, 1)
    list_by_status(run, id, was, status)
    tally(run, id, kind, status)
    if status == 'superseded' then explain(run, id, kind, extra) end
  end
end

local function leave_queues(member)
  redis.call('ZREM', Q, member)
  redis.call('ZREM', PARKED, member)
  redis.call('ZREM', LEASES, member)
end

-- What a create keeps for its person is free again if it was not made. Once it was made, the ledger has it; a plan that
-- read the ledger before that still has to find it here.
local function free_slot(run, id, status)
  local slot, names = unpack(redis.call('HMGET', op_key(run, id), 'slot', 'names'))
  local member = run .. '|' .. id
  if slot and redis.call('HGET', SLOTS, slot) == member then redis.call('HDEL', SLOTS, slot) end
  if not names or status == 'succeeded' then return end
  for name in pairs(cjson.decode(names)) do
    local kept = redis.call('HGET', NAMES, name)
    if kept and string.sub(kept, 1, #member + 1) == member .. '\31' then redis.call('HDEL', NAMES, name) end
  end
end

local function followers(run, id)
  local text = redis.call('HGET', op_key(run, id), 'followers')
  return text and cjson.decode(text) or {}
end

local function finish(run, id, status, extra)
  leave_queues(run .. '|' .. id)
  become(run, id, status, extra)
  free_slot(run, id, status)
  local person = redis.call('HGET', op_key(run, id), 'person')
  local story = P .. 'history:' .. person
  redis.call('LPUSH', story, target .. '|' .. run .. '|' .. id)
  redis.call('LTRIM', story, 0, HISTORY_LENGTH - 1)
end

local function finish_followers(run, id, status, error)
  for _, other in ipairs(followers(run, id)) do
    local at = redis.call('HGET', op_key(run, other), 'status')
    if at and (OPEN[at] or at == 'held') then finish(run, other, status, { 'error', error }) end
  end
end

-- Make an operation the open one of its person and slot; whoever installs a plan for everybody meanwhile learns of it.
local function stand(slot, member, watched)
  redis.call('HSET', SLOTS, slot, member)
  if watched then
    redis.call('SADD', FRESH, slot)
    redis.call('EXPIRE', FRESH, FRESH_KEPT)
  end
end

-- Whether somebody else has a name that a create chose, since its plan was made.
local function is_taken(names, person)
  for name in pairs(names) do
    local kept = redis.call('HGET', NAMES, name)
    local owner = kept and string.match(kept, '^[^\31]*\31([^\31]*)\31')
    if owner and owner ~= person then return true end
  end
  return false
end

-- Keep what a create chose for its person until it is done.
local function keep_names(run, id, person, names)
  for name, value in pairs(names) do
    redis.call('HSET', NAMES, name, run .. '|' .. id .. '\31' .. person .. '\31' .. value)
  end
end

local function enqueue(run, id)
  local score = redis.call('HGET', op_key(run, id), 'score')
  redis.call('ZADD', Q, score, run .. '|' .. id)
end

local function record(person, patch)
  local text = redis.call('HGET', LEDGER, person)
  -- What was reported about a person without an account has nobody to be kept for
  if not text and not patch.account then return end
  local entry = text and cjson.decode(text) or { values = {}, owed = {}, enrolled = {}, version = 0, recorded = 0 }
  if patch.account then
    if entry.account and entry.account ~= patch.account then
      entry.values, entry.created, entry.perhaps, entry.makes, entry.loops = {}, false, nil, nil, nil
      entry.left, entry.step = nil, nil
    end
    if entry.account ~= patch.account or patch.makes then entry.linked = now() end
    entry.account = patch.account
  end
  -- How often in a row it was made before any listing showed it
  if patch.makes then entry.makes = patch.makes end
  if patch.shown then entry.makes = nil end
  if patch.loops then entry.loops = next(patch.loops) and patch.loops or nil end
  -- What an answer showed otherwise; what runs counted of the same two values (2 and 3) goes on
  for name, loop in pairs(patch.unkept or {}) do
    entry.loops = entry.loops or {}
    local known = entry.loops[name]
    if not (known and known[2] == loop[2] and known[3] == loop[3]) then entry.loops[name] = loop end
  end
  if patch.values then
    if type(entry.values) ~= 'table' then entry.values = {} end
    for name, value in pairs(patch.values) do entry.values[name] = value end
  end
  if patch.state then entry.state = patch.state end
  -- Since when somebody has left, and in how many steps; whoever is back begins from the front
  if patch.left and patch.left ~= '' then entry.left, entry.step = patch.left, patch.step end
  if patch.state == 'active' then entry.left, entry.step = nil, nil end
  if patch.matched then entry.matched = patch.matched end
  if patch.created ~= nil then entry.created = patch.created end
  for fact, moment in pairs(patch.owe or {}) do entry.owed[fact] = moment end
  for _, fact in ipairs(patch.paid or {}) do entry.owed[fact] = nil end
  for _, code in ipairs(patch.enrolled or {}) do
    local known = false
    for _, other in ipairs(entry.enrolled) do known = known or other == code end
    if not known then table.insert(entry.enrolled, code) end
  end
  if patch.values or patch.state or patch.account then
    entry.version, entry.recorded = (entry.version or 0) + 1, now()
  end
  if patch.paid or patch.enrolled then entry.told = now() end
  redis.call('HSET', LEDGER, person, cjson.encode(entry))
  -- What says nothing of the leave ends no later step of it
  if (patch.state or patch.loops) and entry.state == 'left' and not entry.loops then leaves_no_more(person) end
end

local function exactly(moment) return string.format('%.17g', moment) end

-- Whether an observation began after another. A moment to come is of a clock that was set back since.
local function is_later(observed, began)
  observed = tonumber(observed) or 0
  return observed > began and observed <= now() + 1
end

-- Whether a plan that was observed later decided about a person, be it that it wanted nothing. One about everybody is
-- looked for where that is asked.
local function decided_later(person, began, by_everybody)
  return is_later(redis.call('ZSCORE', LOOKED, person), began)
    or (by_everybody and is_later(redis.call('HGET', HEALTH, 'planned'), began))
end

local function recorded_since(person, began)
  local text = redis.call('HGET', LEDGER, person)
  return text and (tonumber(cjson.decode(text).recorded) or 0) > began
end
