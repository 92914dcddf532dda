-- The life of an operation in the queue. One script, so that every change of state is one step for everybody.
--
-- Keys: none are passed; all are made from the target's and the run's name as store/keys.py lists them (one server,
--   no cluster): run:<run>:t:<target>, run:<run>:ops:<target>, run:<run>:op:<target>:<id>,
--   run:<run>:by:<target>:<status>, q:, parked:, leases:, slots:, slots:installing:, slots:fresh:, names:, ledger:, leavers:,
--   sent:, unsent:, target:, claim: each followed by <target>, mark, history:<person>, receipt:<person>, receipts, totals
--   and tally:<day>.
-- ARGV[1] the command, ARGV[2] the target, then:
--   claim    lease seconds, token, limits (JSON group -> size, "*" the default), only urgent (1/0), position that the
--            caller knows of, mark that it has it from (or empty) -> list of rows; the name of the group that is next,
--            alone, where limits has neither it nor a default; -1 where Redis is at an earlier position, or is not the
--            one of that mark
--   done     run, id, token, patch (JSON), account, person, claimed (epoch seconds), guard that it counts for (or empty),
--            remark for the history (or empty)                          -> 1 if taken, 2 if only remembered
--   fail     run, id, token, error (JSON), patch (JSON) of what must not be asked for again, whether it was refused
--            as a whole (1/0)                                                                     -> 1 if taken
--   park     run, id, token, seconds, error (JSON), unclear (1/0), spend a try (1/0)              -> 1 if taken
--   give     run, id, token, group (or empty)       back to the queue, unsent -> 1 if taken
--   drop     run, id, token, reason (JSON)                              superseded                -> 1 if taken
--   renew    token, lease seconds, position that the caller knows of, members…                    -> renewed count
--   reap                                                                expired leases            -> count
--   release  run, id, by (JSON), token                                  held or failed to pending -> 1 if released
--   refuse   run, id, by (JSON), token                                  held to rejected          -> 1 if refused
--   restore  run, id, error (JSON)                                      rejected to held          -> 1 if held again
--   next                                                                -> {ready, leased, seconds to next due or -1}
--   bands                                           what is ready or parked -> counts by urgency, one for each of its six
--
-- A client whose answer was lost sends its command again, so each of them does the same twice as once: a claim with a
-- token that was used returns what that token still holds, and the ends of an operation ask for its token and take it
-- away.
-- include: queue_common
-- include: queue_unsure
-- include: lease

-- Seconds for which a claim can be asked for again; longer than any client goes on trying.
local CLAIM_KEPT = 120
-- Operations that one claim looks at for those that go together.
local LOOKED_AT = 2000
-- Failed tries that are kept of one operation, the newest.
local TRIES_KEPT = 20
-- Leases of one operation that expired in a row, one worker after the other ended with it: from so many on it is sent
-- alone and after a pause, so that the one that ends them differs from those that were sent together with it; then it fails.
local ALONE_FROM, MOST_EXPIRED = 3, 10
-- What follows the name of the group of an operation that nothing else of the target may be sent together with.
local ALONE = '#alone:'

local function is_alone(group) return group and string.find(group, ALONE, 1, true) end

local function mine(run, id, token)
  return redis.call('HGET', op_key(run, id), 'token') == token
end

-- Remember one failed try, so that each can be shown to a person. Returns how many of its code there are in a row now.
local function failed_try(run, id, error)
  local key = op_key(run, id)
  local text, attempts = unpack(redis.call('HMGET', key, 'tries', 'attempts'))
  local tries = text and cjson.decode(text) or {}
  local what = error ~= '' and cjson.decode(error) or {}
  table.insert(tries, { at = now(), attempt = tonumber(attempts or '0'), code = what.code, message = what.message })
  while #tries > TRIES_KEPT do table.remove(tries, 1) end
  redis.call('HSET', key, 'tries', cjson.encode(tries))
  local row = 0
  while row < #tries and tries[#tries - row].code == what.code do row = row + 1 end
  return row
end

-- Where the target took a part of it all the same, what follows goes on with the account that is there.
local function give_up(run, id, error, account)
  local person = redis.call('HGET', op_key(run, id), 'person')
  unsure(person, doubts_of(run, id, true))
  finish(run, id, 'failed', { 'token', '', 'error', error })
  if account then
    for _, other in ipairs(followers(run, id)) do
      if redis.call('HGET', op_key(run, other), 'status') == 'pending' then
        redis.call('HSET', op_key(run, other), 'account', account)
        enqueue(run, other)
      end
    end
    return
  end
  finish_followers(run, id, 'failed', cjson.encode({ code = 'leader_failed',
    message = 'the operation that this one follows failed' }))
end

-- What was refused as a whole took nothing away, so it counts for no guard as sent.
local function count_no_more(run, id)
  local guard, removes, unclear = unpack(redis.call('HMGET', op_key(run, id), 'guard', 'removes', 'unclear'))
  if unclear == '1' then return end
  if guard and guard ~= '' then redis.call('ZREM', sent_key(guard), id) end
  for one = 1, tonumber(removes) or 0 do redis.call('ZREM', sent_key('removals'), id .. '|' .. one) end
end

local ADOPTED = cjson.encode({ code = 'adopted',
  message = 'the account was there already, so nobody was made and nothing is announced' })
local commands = {}

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
  return { run, group, doc, attempts, unclear or '0', since, account or '', claimed, aboard(run, id),
    redis.call('HGET', MARK, 'position') or '0' }
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
  local position, rewound, mark = unpack(redis.call('HMGET', MARK, 'position', 'rewound', 'mark'))
  if (tonumber(position) or 0) < (tonumber(ARGV[7]) or 0) then return -1 end
  -- A position says nothing of another Redis: lost and made again, or brought back from before its loss
  if ARGV[8] ~= '' and mark and mark ~= ARGV[8] then return -1 end
  rewound = tonumber(rewound)
  local paused, quarantined = unpack(redis.call('HMGET', P .. 'target:' .. target, 'paused', 'quarantined'))
  if paused == '1' or quarantined == '1' then return rows end
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', PARKED, '-inf', at, 'LIMIT', 0, 1000)) do
    local run, id = split(member)
    redis.call('ZREM', PARKED, member)
    become(run, id, 'pending')
    enqueue(run, id)
  end
  local first = redis.call('ZRANGE', LEASES, 0, 0)[1]
  if first and is_alone(redis.call('HGET', op_key(split(first)), 'group')) then return rows end
  local group, limit, members, looked = nil, 1, {}, 0
  local lost = {}
  while #members < limit and looked < LOOKED_AT do
    local size = math.max(limit - #members, looked > 1 and 100 or 1)
    local page = redis.call('ZRANGEBYSCORE', Q, '-inf', urgent and '(0' or '+inf', 'LIMIT', looked, size)
    if #page == 0 then break end
    looked = looked + #page
    for _, member in ipairs(page) do
      local run, id = split(member)
      local mygroup = redis.call('HGET', op_key(run, id), 'group')
      if not mygroup then
        table.insert(lost, member)
      elseif not group then
        group = mygroup
        if first and is_alone(group) then return rows end
        -- What follows # in a group's name keeps the halves of a batch apart, and is no part of its kind
        local kind = string.match(group, '^[^#]*')
        if not (limits[kind] or limits['*']) then return { kind } end
        limit = math.max(1, limits[kind] or limits['*'])
      end
      if mygroup and mygroup == group and #members < limit then table.insert(members, member) end
    end
  end
  for _, member in ipairs(lost) do redis.call('ZREM', Q, member) end
  for _, member in ipairs(members) do
    local run, id = split(member)
    local attempts, since, changed = unpack(redis.call('HMGET', op_key(run, id), 'attempts', 'since', 'changed'))
    -- It was perhaps sent after the state to which Redis was put back
    if rewound and tonumber(changed) < rewound then redis.call('HSET', op_key(run, id), 'unclear', '1') end
    redis.call('ZREM', Q, member)
    redis.call('ZADD', LEASES, at + lease, member)
    become(run, id, 'sending', { 'token', token, 'attempts', tonumber(attempts or '0') + 1,
      'since', (since and since ~= '') and since or tostring(at), 'claimed', tostring(at) })
    table.insert(rows, row_of(run, id))
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
    -- Nor does it know that this went out, so the guard would let through as many more
    if ARGV[10] ~= '' then count_as_sent(ARGV[10], id) end
    return 2
  end
  -- Its lease expired, or Redis forgot the claim; in another worker's hand it is that one's to end
  local late = status == 'pending' or status == 'waiting'
  if not (mine(run, id, token) or late) then return 0 end
  -- A late answer must not overwrite what was recorded after it was sent
  if not (late and recorded_since(person, claimed)) then
    record(person, patch)
    sure(person, at_stake(run, id))
    -- Acknowledged, and by the answer itself not kept: the next runs see whether it is
    if patch.state == 'left' and patch.unkept then put_off(run, person) end
  else
    -- What came about by it did so whatever was recorded since
    record(person, { enrolled = patch.enrolled, owe = patch.owe })
  end
  local unclear = redis.call('HGET', op_key(run, id), 'unclear') == '1'
  finish(run, id, 'succeeded', { 'token', '', 'unclear', '0', 'error', '' })
  if (ARGV[11] or '') ~= '' then
    redis.call('HSET', op_key(run, id), 'note', ARGV[11])
    redis.call('HINCRBY', run_key(run), 'remarked', 1)
  end
  local carried = {}
  for _, code in ipairs(patch.enrolled or {}) do carried[code] = true end
  for _, other in ipairs(followers(run, id)) do
    local at, rides, kind = unpack(redis.call('HMGET', op_key(run, other), 'status', 'rides', 'kind'))
    if patch.matched == 'adopted' and kind == 'event' and (OPEN[at] or at == 'held') then
      -- Nobody was made, so there is nothing to tell
      finish(run, other, 'superseded', { 'error', ADOPTED })
    elseif rides and carried[rides] and OPEN[at] then
      finish(run, other, 'succeeded', { 'error', '' })
    elseif at == 'pending' then
      if account ~= '' then redis.call('HSET', op_key(run, other), 'account', account) end
      -- It may have come about with an earlier sending of the row that it travels in
      if unclear and rides and rides ~= '' then redis.call('HSET', op_key(run, other), 'unclear', '1') end
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
  if next(patch) then record(redis.call('HGET', op_key(run, id), 'person'), patch) end
  local leaving = redis.call('HGET', op_key(run, id), 'kind') == 'leave'
  give_up(run, id, error, not leaving and patch.account)
  if ARGV[8] == '1' then count_no_more(run, id) end
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
  local person, attempts = unpack(redis.call('HMGET', op_key(run, id), 'person', 'attempts'))
  unsure(person, doubts_of(run, id, tonumber(attempts) > 1))
  finish(run, id, 'superseded', { 'token', '', 'error', reason })
  finish_followers(run, id, 'superseded', reason)
  return 1
end

function commands.renew()
  local members = {}
  for i = 6, #ARGV do table.insert(members, ARGV[i]) end
  return renew_leases(target, ARGV[3], now() + tonumber(ARGV[4]), members, ARGV[5])
end

function commands.reap()
  local expired = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now(), 'LIMIT', 0, 1000)
  for _, member in ipairs(expired) do
    local run, id = split(member)
    redis.call('ZREM', LEASES, member)
    local status, group = unpack(redis.call('HMGET', op_key(run, id), 'status', 'group'))
    if status == 'sending' then
      local error = cjson.encode({ code = 'lease_expired',
        message = 'the worker that sent it ended before it could say what became of it' })
      local times = failed_try(run, id, error)
      if times >= MOST_EXPIRED then
        -- Perhaps it was made: a record that no listing shows must not be asked for again by itself
        local person, slot = unpack(redis.call('HMGET', op_key(run, id), 'person', 'slot'))
        local record_of = string.match(slot or '', '\31(knowledge:.*)$')
        if record_of then record(person, { enrolled = { record_of } }) end
        give_up(run, id, cjson.encode({ code = 'unexpected', message = 'each of the last ' .. times
          .. ' workers that sent it ended before it could say what became of it; unclear whether it was done' }))
      elseif times >= ALONE_FROM then
        local due = now() + 2 ^ (times - ALONE_FROM + 1)
        become(run, id, 'waiting', { 'token', '', 'unclear', '1', 'error', error, 'due', tostring(due),
          'group', string.match(group or '', '^[^#]*') .. ALONE .. id })
        redis.call('ZADD', PARKED, due, member)
      else
        become(run, id, 'pending', { 'token', '', 'unclear', '1', 'error', error })
        enqueue(run, id)
      end
    end
  end
  return #expired
end

function commands.release()
  local run, id, by, said = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
  local key = op_key(run, id)
  local status, slot, follows, last, person, observed, kept = unpack(
    redis.call('HMGET', key, 'status', 'slot', 'follows', 'said', 'person', 'began', 'names'))
  if last == said then return 1 end
  if status ~= 'held' and status ~= 'failed' then return 0 end
  if observed and decided_later(person, tonumber(observed), true) then return 0 end
  local member = run .. '|' .. id
  local standing = redis.call('HGET', SLOTS, slot)
  if standing and standing ~= member then return 0 end
  local leader = follows ~= '' and redis.call('HGET', op_key(run, follows), 'status') or nil
  local watched = redis.call('EXISTS', INSTALLING) == 1
  -- It would wait for ever for what is held, or over without success
  if leader and leader ~= 'succeeded' and not OPEN[leader] then return 0 end
  local names = kept and cjson.decode(kept) or {}
  if is_taken(names, person) then return 0 end
  stand(slot, member, watched)
  keep_names(run, id, person, names)
  -- What somebody approved counts for no guard
  redis.call('HSET', key, 'guard', '')
  redis.call('HDEL', key, 'removes')
  become(run, id, 'pending', { 'by', by, 'said', said, 'error', '', 'since', '', 'attempts', '0' })
  if not leader or leader == 'succeeded' then enqueue(run, id) end
  -- What failed only because this one did goes again with it
  for _, other in ipairs(followers(run, id)) do
    local behind, text, place = unpack(redis.call('HMGET', op_key(run, other), 'status', 'error', 'slot'))
    local error = text and text ~= '' and cjson.decode(text) or {}
    if behind == 'failed' and error.code == 'leader_failed' and not redis.call('HGET', SLOTS, place) then
      stand(place, run .. '|' .. other, watched)
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

function commands.restore()
  local run, id, error = ARGV[3], ARGV[4], ARGV[5]
  local status, slot, person, kept = unpack(
    redis.call('HMGET', op_key(run, id), 'status', 'slot', 'person', 'names'))
  local names = kept and cjson.decode(kept) or {}
  if status ~= 'rejected' or redis.call('HGET', SLOTS, slot) or is_taken(names, person) then return 0 end
  stand(slot, run .. '|' .. id, redis.call('EXISTS', INSTALLING) == 1)
  keep_names(run, id, person, names)
  become(run, id, 'held', { 'by', '', 'said', '', 'error', error })
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
