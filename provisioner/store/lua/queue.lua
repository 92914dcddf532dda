-- The operations of one target and their states. One script, so that every change of state is one step for everybody.
--
-- Keys: none are passed; all are made from the target's and the run's name as store/keys.py lists them (one server,
--   no cluster): run:<run>:t:<target>, run:<run>:ops:<target>, run:<run>:op:<target>:<id>, run:<run>:stage:<target>,
--   run:<run>:by:<target>:<status>, q:, parked:, leases:, slots:, ledger:, leavers:, sent:, added:, decisions:, target: each
--   followed by <target>, history:<person>, totals and tally:<day>.
-- ARGV[1] the command, ARGV[2] the target, then:
--   install  run, began (epoch seconds), scope (JSON list of persons, or "*"), links (JSON list)  -> dropped count
--   add      run, tokens (JSON id -> token)  staged operations beside what stands, once for ever per token -> added count
--   claim    lease seconds, token, limits (JSON group -> size, "*" the default), only urgent (1/0) -> list of rows
--   done     run, id, token, patch (JSON), account, person, claimed (epoch seconds) -> 1 if taken, 2 if only remembered
--   fail     run, id, token, error (JSON), patch (JSON) of what must not be asked for again        -> 1 if taken
--   park     run, id, token, seconds, error (JSON), unclear (1/0), spend a try (1/0)              -> 1 if taken
--   give     run, id, token, group (or empty)       back to the queue, unsent -> 1 if taken
--   drop     run, id, token, reason (JSON)                              superseded                -> 1 if taken
--   renew    token, lease seconds, members…                                                       -> renewed count
--   reap                                                                expired leases            -> count
--   release  run, id, by (JSON), token                                  held or failed to pending -> 1 if released
--   refuse   run, id, by (JSON), token                                  held to rejected          -> 1 if refused
--   next                                                                -> {ready, leased, seconds to next due or -1}
--   bands                                           what is ready or parked -> counts by urgency, one for each of its six
--
-- A client whose answer was lost sends its command again, so each of them does the same twice as once: a claim with a
-- token that was used returns what that token still holds, the ends of an operation ask for its token and take it away,
-- and a plan is installed once per run and target.

local P = 'provisioner:'
local command, target = ARGV[1], ARGV[2]
local Q, PARKED, LEASES = P .. 'q:' .. target, P .. 'parked:' .. target, P .. 'leases:' .. target
local SLOTS, LEDGER = P .. 'slots:' .. target, P .. 'ledger:' .. target
local LEAVERS = P .. 'leavers:' .. target
local HISTORY_LENGTH = 200
-- Failed tries that are kept of one operation, the newest.
local TRIES_KEPT = 20
-- Seconds for which a claim can be asked for again; longer than any client goes on trying.
local CLAIM_KEPT = 120

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
local TALLY_DAYS = 40

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
    if status == 'succeeded' or status == 'rejected' then
      redis.call('ZREM', LEAVERS, person)
    elseif status ~= 'superseded' then
      redis.call('ZADD', LEAVERS, 'NX', now(), person)
    end
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

-- Change an operation's status and everything that counts it.
local function become(run, id, status, extra)
  local key = op_key(run, id)
  local was, kind = unpack(redis.call('HMGET', key, 'status', 'kind'))
  redis.call('HSET', key, 'status', status, 'changed', tostring(now()))
  if extra then redis.call('HSET', key, unpack(extra)) end
  if was ~= status then
    if was then redis.call('HINCRBY', run_key(run), 'n:' .. was .. ':' .. kind, -1) end
    redis.call('HINCRBY', run_key(run), 'n:' .. status .. ':' .. kind, 1)
    list_by_status(run, id, was, status)
    tally(run, id, kind, status)
  end
end

-- Remember one failed try, so that a person can be told of each.
local function failed_try(run, id, error)
  local key = op_key(run, id)
  local text, attempts = unpack(redis.call('HMGET', key, 'tries', 'attempts'))
  local tries = text and cjson.decode(text) or {}
  local what = error ~= '' and cjson.decode(error) or {}
  table.insert(tries, { at = now(), attempt = tonumber(attempts or '0'), code = what.code, message = what.message })
  while #tries > TRIES_KEPT do table.remove(tries, 1) end
  redis.call('HSET', key, 'tries', cjson.encode(tries))
end

local function leave_queues(member)
  redis.call('ZREM', Q, member)
  redis.call('ZREM', PARKED, member)
  redis.call('ZREM', LEASES, member)
end

local function free_slot(run, id)
  local slot = redis.call('HGET', op_key(run, id), 'slot')
  if slot and redis.call('HGET', SLOTS, slot) == run .. '|' .. id then redis.call('HDEL', SLOTS, slot) end
end

local function followers(run, id)
  local text = redis.call('HGET', op_key(run, id), 'followers')
  return text and cjson.decode(text) or {}
end

local function finish(run, id, status, extra)
  leave_queues(run .. '|' .. id)
  become(run, id, status, extra)
  free_slot(run, id)
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

local function supersede(member)
  local run, id = split(member)
  finish(run, id, 'superseded')
  finish_followers(run, id, 'superseded', '')
end

local function enqueue(run, id)
  local score = redis.call('HGET', op_key(run, id), 'score')
  redis.call('ZADD', Q, score, run .. '|' .. id)
end

local function mine(run, id, token)
  return redis.call('HGET', op_key(run, id), 'token') == token
end

local function record(person, patch)
  local text = redis.call('HGET', LEDGER, person)
  -- What was told about a person without an account has nobody to be kept for
  if not text and not patch.account then return end
  local entry = text and cjson.decode(text) or { values = {}, owed = {}, enrolled = {}, version = 0, recorded = 0 }
  if patch.account then
    if entry.account and entry.account ~= patch.account then
      entry.values, entry.created = {}, false
    end
    entry.account = patch.account
  end
  if patch.values then
    if type(entry.values) ~= 'table' then entry.values = {} end
    for name, value in pairs(patch.values) do entry.values[name] = value end
  end
  if patch.state then entry.state = patch.state end
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
end

local function recorded_since(person, began)
  local text = redis.call('HGET', LEDGER, person)
  return text and (tonumber(cjson.decode(text).recorded) or 0) > began
end

-- Whether an event or an enrolment of the person was accepted since: a plan from before would ask for it once more.
local function told_since(person, began)
  local text = redis.call('HGET', LEDGER, person)
  return text and (tonumber(cjson.decode(text).told) or 0) > began
end

-- What an event's slot is about: a fact that is owed has its moment in the slot, the same fact anew has not.
local function fact_of(slot) return string.match(slot, '^(.*\31event:[^:]+)') or slot end

-- A create or a leave whose fate was unclear has come about if the plan found its account, or found it in leaver
-- state: it ends as done, or the fact that it brought about would never be told. Returns what ended, and what goes on.
local function settle_by_links(standing, links, persons, scope)
  local ended, goes_on, linked = {}, {}, {}
  for _, link in ipairs(links) do linked[link.person] = link end
  for i = 1, #standing, 2 do
    local slot, member = standing[i], standing[i + 1]
    local person = string.sub(slot, 1, string.find(slot, '\31', 1, true) - 1)
    local link = slot == person .. '\31account' and (scope == '*' or persons[person]) and linked[person]
    if link then
      local run, id = split(member)
      local status, unclear, kind, doc = unpack(
        redis.call('HMGET', op_key(run, id), 'status', 'unclear', 'kind', 'doc'))
      local came_about = kind == 'create' or (kind == 'leave' and link.state == 'left')
      if unclear == '1' and (status == 'pending' or status == 'waiting') and came_about then
        local patch = { account = link.account, state = link.state, owe = cjson.decode(doc).owes }
        if kind == 'create' then patch.matched, patch.created = 'created', true end
        record(person, patch)
        finish(run, id, 'succeeded', { 'token', '', 'unclear', '0', 'error', '' })
        ended[member] = true
        for _, other in ipairs(followers(run, id)) do
          if redis.call('HGET', op_key(run, other), 'status') == 'pending' then
            redis.call('HSET', op_key(run, other), 'account', link.account)
            -- What travelled in the same request may have come about with it
            local rides = redis.call('HGET', op_key(run, other), 'rides')
            if rides and rides ~= '' then redis.call('HSET', op_key(run, other), 'unclear', '1') end
            enqueue(run, other)
            goes_on[run .. '|' .. other] = true
          end
        end
      end
    end
  end
  return ended, goes_on
end

local commands = {}

function commands.install()
  local run, began, scope, links = ARGV[3], tonumber(ARGV[4]), ARGV[5], cjson.decode(ARGV[6])
  local stage = P .. 'run:' .. run .. ':stage:' .. target
  local before_this = redis.call('HGET', run_key(run), 'installed')
  if before_this then
    redis.call('DEL', stage)
    return tonumber(before_this)
  end
  local inherited, busy, doubtful = {}, {}, {}
  local persons = {}
  if scope ~= '*' then for _, person in ipairs(cjson.decode(scope)) do persons[person] = true end end
  local standing = redis.call('HGETALL', SLOTS)
  local ended, goes_on = settle_by_links(standing, links, persons, scope)
  for i = 1, #standing, 2 do
    local slot, member = standing[i], standing[i + 1]
    local person = string.sub(slot, 1, string.find(slot, '\31', 1, true) - 1)
    if (scope == '*' or persons[person]) and not ended[member] then
      local other, id = split(member)
      local key = op_key(other, id)
      local status, attempts, since, unclear, due, error, follows, tries, kept = unpack(
        redis.call('HMGET', key, 'status', 'attempts', 'since', 'unclear', 'due', 'error', 'follows', 'tries', 'kept'))
      local leader = follows and follows ~= '' and redis.call('HGET', op_key(other, follows), 'status')
      -- What follows an operation in flight belongs to it: the plan cannot have seen what it will have done
      if status == 'sending' or (status == 'pending' and leader == 'sending') or goes_on[member] then
        busy[slot], busy[fact_of(slot)] = true, true
        -- Tags on their way are part of the account: a plan that has not seen them would take them away
        if kept == 'tag' then busy[person .. '\31account'] = true end
      elseif status and kept then
        -- It came from outside, so no plan can ask for it again
        busy[slot] = true
      elseif status then
        inherited[slot] = { id = id, status = status, attempts = attempts, since = since, unclear = unclear,
          due = due, error = error, tries = tries }
        local rides = follows and follows ~= '' and redis.call('HGET', key, 'rides')
        local carried = rides and rides ~= '' and redis.call('HGET', op_key(other, follows), 'unclear') == '1'
        if unclear == '1' or carried then doubtful[fact_of(slot)] = true end
        supersede(member)
      else
        redis.call('HDEL', SLOTS, slot)
      end
    end
  end
  local dropped = 0
  -- Each once: a client without an answer adds its identifiers a second time
  local ids, seen = {}, {}
  for _, id in ipairs(redis.call('LRANGE', stage, 0, -1)) do
    if not seen[id] then
      seen[id] = true
      table.insert(ids, id)
    end
  end
  local fresh = {}
  for _, id in ipairs(ids) do
    local key = op_key(run, id)
    local slot, person, wanted, follows, kind = unpack(
      redis.call('HMGET', key, 'slot', 'person', 'wanted_status', 'follows', 'kind'))
    redis.call('HDEL', key, 'wanted_status')
    local leaderless = follows ~= '' and not fresh[follows]
    local overtaken = leaderless or busy[slot] or busy[fact_of(slot)] or busy[person .. '\31account']
      or recorded_since(person, began)
      or (slot ~= person .. '\31account' and told_since(person, began))
    if overtaken then
      dropped = dropped + 1
      become(run, id, 'superseded', { 'error', cjson.encode({ code = 'overtaken',
        message = 'something newer about this person was sent or recorded meanwhile; the next run takes it' }) })
    else
      local before = inherited[slot]
      become(run, id, wanted)
      redis.call('HSET', SLOTS, slot, run .. '|' .. id)
      if doubtful[fact_of(slot)] then redis.call('HSET', key, 'unclear', '1') end
      if before then
        if before.id == id and before.attempts then
          redis.call('HSET', key, 'attempts', before.attempts, 'since', before.since or '', 'error', before.error or '')
          if before.tries then redis.call('HSET', key, 'tries', before.tries) end
        end
      end
      if wanted == 'rejected' then
        redis.call('HDEL', SLOTS, slot)
      elseif wanted == 'pending' and follows == '' then
        if before and before.id == id and before.status == 'waiting' and before.due
          and tonumber(before.due) > now() then
          become(run, id, 'waiting', { 'due', before.due })
          redis.call('ZADD', PARKED, before.due, run .. '|' .. id)
        else
          enqueue(run, id)
        end
      end
      fresh[id] = true
    end
  end
  if scope == '*' then
    local leaving = {}
    for _, id in ipairs(ids) do
      local person, kind = unpack(redis.call('HMGET', op_key(run, id), 'person', 'kind'))
      if kind == 'leave' then leaving[person] = true end
    end
    for _, person in ipairs(redis.call('ZRANGE', LEAVERS, 0, -1)) do
      if not (leaving[person] or busy[person .. '\31account']) then redis.call('ZREM', LEAVERS, person) end
    end
  end
  redis.call('DEL', stage)
  redis.call('HSET', run_key(run), 'installed', dropped)
  for _, link in ipairs(links) do
    if link.enrolled then
      record(link.person, { enrolled = link.enrolled })
    elseif not recorded_since(link.person, began) then
      record(link.person, { account = link.account, state = link.state, matched = link.matched })
    end
  end
  return dropped
end

function commands.add()
  local run, tokens = ARGV[3], cjson.decode(ARGV[4])
  local stage = P .. 'run:' .. run .. ':stage:' .. target
  local added = 0
  for _, id in ipairs(redis.call('LRANGE', stage, 0, -1)) do
    local key = op_key(run, id)
    local slot, kind, status = unpack(redis.call('HMGET', key, 'slot', 'kind', 'status'))
    local fresh = not status and redis.call('ZADD', P .. 'added:' .. target, 'NX', now(), tokens[id]) == 1
    if fresh and not redis.call('HGET', SLOTS, slot) then
      redis.call('HDEL', key, 'wanted_status')
      become(run, id, 'pending')
      redis.call('HSET', SLOTS, slot, run .. '|' .. id)
      redis.call('HINCRBY', run_key(run), 'planned:' .. kind, 1)
      enqueue(run, id)
      added = added + 1
    elseif not status then
      redis.call('DEL', key)
      redis.call('ZREM', P .. 'run:' .. run .. ':ops:' .. target, id)
    end
  end
  redis.call('DEL', stage)
  return added
end

-- The codes of those enrolments that still are to travel with an operation.
local function aboard(run, id)
  local codes = {}
  for _, other in ipairs(followers(run, id)) do
    local at, rides = unpack(redis.call('HMGET', op_key(run, other), 'status', 'rides'))
    if at == 'pending' and rides and rides ~= '' then table.insert(codes, rides) end
  end
  return cjson.encode(codes)
end

local function row_of(run, id)
  local key = op_key(run, id)
  local group, doc, attempts, unclear, since, account, claimed = unpack(
    redis.call('HMGET', key, 'group', 'doc', 'attempts', 'unclear', 'since', 'account', 'claimed'))
  return { run, group, doc, attempts, unclear or '0', since, account or '', claimed, aboard(run, id) }
end

function commands.claim()
  local lease, token, limits, urgent = tonumber(ARGV[3]), ARGV[4], cjson.decode(ARGV[5]), ARGV[6] == '1'
  local at = now()
  local rows = {}
  local kept = P .. 'claim:' .. target .. ':' .. token
  local held = redis.call('GET', kept)
  if held then
    for _, member in ipairs(cjson.decode(held)) do
      local run, id = split(member)
      if mine(run, id, token) then
        redis.call('ZADD', LEASES, at + lease, member)
        table.insert(rows, row_of(run, id))
      end
    end
    return rows
  end
  local paused, quarantined = unpack(redis.call('HMGET', P .. 'target:' .. target, 'paused', 'quarantined'))
  if paused == '1' or quarantined == '1' then return rows end
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', PARKED, '-inf', at, 'LIMIT', 0, 1000)) do
    local run, id = split(member)
    redis.call('ZREM', PARKED, member)
    become(run, id, 'pending')
    enqueue(run, id)
  end
  local group, limit, members = nil, 1, {}
  local candidates = redis.call('ZRANGEBYSCORE', Q, '-inf', urgent and '(0' or '+inf', 'LIMIT', 0, 2000)
  for _, member in ipairs(candidates) do
    local run, id = split(member)
    local key = op_key(run, id)
    local mygroup, doc, attempts, since, counted = unpack(
      redis.call('HMGET', key, 'group', 'doc', 'attempts', 'since', 'guard'))
    if not doc then
      redis.call('ZREM', Q, member)
    else
      if not group then
        group = mygroup
        -- What follows # in a group's name keeps the halves of a batch apart, and is no part of its kind
        limit = limits[string.match(group, '^[^#]*')] or limits['*'] or 1
      end
      if mygroup == group and #rows < limit then
        redis.call('ZREM', Q, member)
        redis.call('ZADD', LEASES, at + lease, member)
        attempts = tonumber(attempts or '0') + 1
        become(run, id, 'sending', { 'token', token, 'attempts', attempts,
          'since', (since and since ~= '') and since or tostring(at), 'claimed', tostring(at) })
        if counted and counted ~= '' then
          local sent = P .. 'sent:' .. target .. ':' .. counted
          redis.call('ZADD', sent, at, id)
          redis.call('EXPIRE', sent, 2678400)
        end
        table.insert(members, member)
        table.insert(rows, row_of(run, id))
      end
    end
    if #rows >= limit and group then break end
  end
  if #members > 0 then redis.call('SET', kept, cjson.encode(members), 'EX', CLAIM_KEPT) end
  return rows
end

function commands.done()
  local run, id, token, patch, account = ARGV[3], ARGV[4], ARGV[5], cjson.decode(ARGV[6]), ARGV[7]
  local person, claimed = ARGV[8], tonumber(ARGV[9])
  local status = redis.call('HGET', op_key(run, id), 'status')
  if not status then
    -- Redis lost the operation, but the target did what it asked for
    if recorded_since(person, claimed) then return 0 end
    record(person, patch)
    return 2
  end
  -- Its lease expired, or Redis forgot the claim; in another worker's hand it is that one's to end
  local late = status == 'pending' or status == 'waiting'
  if not (mine(run, id, token) or late) then return 0 end
  -- A late answer must not overwrite what was recorded after it was sent
  if not (late and recorded_since(person, claimed)) then
    record(person, patch)
  elseif patch.enrolled then
    record(person, { enrolled = patch.enrolled })
  end
  finish(run, id, 'succeeded', { 'token', '', 'unclear', '0', 'error', '' })
  local carried = {}
  for _, code in ipairs(patch.enrolled or {}) do carried[code] = true end
  for _, other in ipairs(followers(run, id)) do
    local at, rides = unpack(redis.call('HMGET', op_key(run, other), 'status', 'rides'))
    if rides and carried[rides] and OPEN[at] then
      finish(run, other, 'succeeded', { 'error', '' })
    elseif at == 'pending' then
      if account ~= '' then redis.call('HSET', op_key(run, other), 'account', account) end
      enqueue(run, other)
    end
  end
  return 1
end

function commands.fail()
  local run, id, token, error = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
  if not mine(run, id, token) then return 0 end
  failed_try(run, id, error)
  local patch = cjson.decode(ARGV[7])
  if patch.enrolled then record(redis.call('HGET', op_key(run, id), 'person'), patch) end
  finish(run, id, 'failed', { 'token', '', 'error', error })
  finish_followers(run, id, 'failed', cjson.encode({ code = 'leader_failed',
    message = 'the operation that this one follows failed' }))
  return 1
end

function commands.park()
  local run, id, token, seconds, error = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7]
  if not mine(run, id, token) then return 0 end
  local member, due = run .. '|' .. id, now() + seconds
  redis.call('ZREM', LEASES, member)
  failed_try(run, id, error)
  become(run, id, 'waiting', { 'token', '', 'error', error, 'due', tostring(due) })
  if ARGV[8] == '1' then redis.call('HSET', op_key(run, id), 'unclear', '1') end
  if ARGV[9] ~= '1' then redis.call('HINCRBY', op_key(run, id), 'attempts', -1) end
  redis.call('ZADD', PARKED, due, member)
  return 1
end

function commands.give()
  local run, id, token, group = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
  if not mine(run, id, token) then return 0 end
  redis.call('ZREM', LEASES, run .. '|' .. id)
  become(run, id, 'pending', { 'token', '' })
  if group ~= '' then redis.call('HSET', op_key(run, id), 'group', group) end
  redis.call('HINCRBY', op_key(run, id), 'attempts', -1)
  enqueue(run, id)
  return 1
end

function commands.drop()
  local run, id, token, reason = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
  if not mine(run, id, token) then return 0 end
  finish(run, id, 'superseded', { 'token', '', 'error', reason })
  finish_followers(run, id, 'superseded', reason)
  return 1
end

function commands.renew()
  local token, lease, count = ARGV[3], tonumber(ARGV[4]), 0
  for i = 5, #ARGV do
    local run, id = split(ARGV[i])
    if mine(run, id, token) and redis.call('ZSCORE', LEASES, ARGV[i]) then
      redis.call('ZADD', LEASES, now() + lease, ARGV[i])
      count = count + 1
    end
  end
  return count
end

function commands.reap()
  local expired = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now(), 'LIMIT', 0, 1000)
  for _, member in ipairs(expired) do
    local run, id = split(member)
    redis.call('ZREM', LEASES, member)
    if redis.call('HGET', op_key(run, id), 'status') == 'sending' then
      local error = cjson.encode({ code = 'lease_expired',
        message = 'the worker that sent it ended before it could say what became of it' })
      failed_try(run, id, error)
      become(run, id, 'pending', { 'token', '', 'unclear', '1', 'error', error })
      enqueue(run, id)
    end
  end
  return #expired
end

function commands.release()
  local run, id, by, said = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
  local key = op_key(run, id)
  local status, slot, follows, last = unpack(redis.call('HMGET', key, 'status', 'slot', 'follows', 'said'))
  if last == said then return 1 end
  if status ~= 'held' and status ~= 'failed' then return 0 end
  local member = run .. '|' .. id
  local standing = redis.call('HGET', SLOTS, slot)
  if standing and standing ~= member then return 0 end
  local leader = follows ~= '' and redis.call('HGET', op_key(run, follows), 'status') or nil
  -- It would wait for ever for what is held, or over without success
  if leader and leader ~= 'succeeded' and not OPEN[leader] then return 0 end
  redis.call('HSET', SLOTS, slot, member)
  become(run, id, 'pending', { 'by', by, 'said', said, 'guard', '', 'error', '', 'since', '', 'attempts', '0' })
  if not leader or leader == 'succeeded' then enqueue(run, id) end
  -- What failed only because this one did goes again with it
  for _, other in ipairs(followers(run, id)) do
    local behind, text, place = unpack(redis.call('HMGET', op_key(run, other), 'status', 'error', 'slot'))
    local error = text and text ~= '' and cjson.decode(text) or {}
    if behind == 'failed' and error.code == 'leader_failed' and not redis.call('HGET', SLOTS, place) then
      redis.call('HSET', SLOTS, place, run .. '|' .. other)
      become(run, other, 'pending', { 'error', '' })
    end
  end
  return 1
end

function commands.refuse()
  local run, id, by, said = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
  local status, last = unpack(redis.call('HMGET', op_key(run, id), 'status', 'said'))
  if last == said then return 1 end
  if status ~= 'held' then return 0 end
  finish(run, id, 'rejected', { 'by', by, 'said', said })
  return 1
end

commands['next'] = function()
  local ready, leased = redis.call('ZCARD', Q), redis.call('ZCARD', LEASES)
  local due = redis.call('ZRANGE', PARKED, 0, 0, 'WITHSCORES')
  local wait = due[2] and math.max(0, tonumber(due[2]) - now()) or -1
  return { ready, leased, tostring(wait) }
end

-- An operation's score begins with its urgency, see URGENCY in model/operation.py.
function commands.bands()
  local counts = {}
  for urgency = 0, 5 do
    local from, to = urgency * 1e9, '(' .. string.format('%.0f', (urgency + 1) * 1e9)
    local hasty = '(' .. string.format('%.0f', (urgency + 1) * 1e9 - 1e12)
    counts[urgency + 1] = redis.call('ZCOUNT', Q, string.format('%.0f', from), to)
      + redis.call('ZCOUNT', Q, string.format('%.0f', from - 1e12), hasty)
  end
  for _, member in ipairs(redis.call('ZRANGE', PARKED, 0, -1)) do
    local run, id = split(member)
    local score = tonumber(redis.call('HGET', op_key(run, id), 'score') or '0')
    if score < 0 then score = score + 1e12 end
    local urgency = math.min(5, math.floor(score / 1e9))
    counts[urgency + 1] = counts[urgency + 1] + 1
  end
  return counts
end

return commands[command]()
