-- Putting operations into the queue: a plan in place of older ones, or single ones besides the open ones.
--
-- A plan is installed person by person. What is open for a person and what the plan wants for them change in one step,
-- which drops each operation whose person was claimed, sent or recorded after the plan's observation began; between two
-- persons others may go on. A plan for very many so never keeps Redis from others for long. It lies whole in Redis before
-- its first person is touched, so that whoever comes after a planner that died goes on with the same one.
--
-- Keys: none are passed; all are made from the target's and the run's name as store/keys.py lists them (one server,
--   no cluster): those of queue.lua, run:<run>:stage:<target>, run:<run>:again:<target>, run:<run>:behind:<target>,
--   overtaken, outdated, names:<target> and added:<target>.
-- ARGV[1] the command, ARGV[2] the target, then:
--   install  run             takes the next part of the plan                      -> {dropped so far, parts that are left},
--            or {-1, 0} where its guards counted too few: then nothing of it is installed
--   add      run, tokens (JSON id -> token)  more staged operations, once for ever per token -> added count
--
--   leavers  people who leave, people who do not leave any more (JSON lists), when their roster was read (epoch seconds),
--            its digest                                                          -> 0
--   made     names (JSON name -> what is kept of it), which the ledger has by now: kept no longer     -> 0
--   behind   run             how many of the operations that overtook its plan are still on their way
--
-- Who was overtaken is kept in run:<run>:again:<target>, by what in run:<run>:behind:<target>, and that there is anybody
-- in `overtaken`, until a plan for them is asked for (see runs/follow_up.py).
--
-- A part is JSON: n its number from 1 on, people a list of {person, slots that may be open (null: look), ids of
-- operations, links, whether they leave (1: their leave is unfinished, 2: they leave and have no account that the plan
-- knows of, 0: they do not leave, null: unknown)}. Field
-- `installing` of the run's part for the target is JSON: began (epoch seconds), everybody, guards (guard -> since, epoch
-- seconds, and count: what was sent or is unsent of others, as far as the plan knows, where `whole` is true with what the
-- plan replaces; of a plan for everybody what may go out unapproved besides it, and in_place: how many it knows of that
-- it leaves in place).
-- include: queue_common
-- include: queue_unsure
-- include: standing

-- Returns what is not known because of it.
local function supersede(member)
  local run, id = split(member)
  local person, attempts = unpack(redis.call('HMGET', op_key(run, id), 'person', 'attempts'))
  -- Its status is another without it, and it had ended
  redis.call('SADD', P .. 'outdated', run)
  local doubts = doubts_of(run, id, (tonumber(attempts) or 0) > 0)
  unsure(person, doubts)
  finish(run, id, 'superseded')
  finish_followers(run, id, 'superseded', '')
  return doubts
end

-- Whether an event or an enrolment of the person was accepted since: a plan from before would ask for it once more.
local function told_since(person, began)
  local text = redis.call('HGET', LEDGER, person)
  return text and (tonumber(cjson.decode(text).told) or 0) > began
end

-- What an event's slot is about: a fact that is owed has its moment in the slot, the same fact again has not.
local function fact_of(slot) return string.match(slot, '^(.*\31event:[^:]+)') or slot end

-- A create or a leave whose fate was unclear has come about if the plan found its account, or found it in leaver
-- state: it ends as done, or the fact that it brought about would stay silent. Returns what ended, and what goes on.
local function settle_by_link(person, member, link)
  local goes_on = {}
  local run, id = split(member)
  local status, unclear, kind, doc = unpack(redis.call('HMGET', op_key(run, id), 'status', 'unclear', 'kind', 'doc'))
  local came_about = kind == 'create' or (kind == 'leave' and link.state == 'left')
  if unclear ~= '1' or not (status == 'pending' or status == 'waiting') or not came_about then return false, goes_on end
  local patch = { account = link.account, state = link.state, owe = cjson.decode(doc).owes, left = link.left,
    step = link.step }
  if kind == 'create' then patch.matched, patch.created, patch.makes = 'created', true, 1 end
  record(person, patch)
  unsure(person, doubts_of(run, id, true))
  finish(run, id, 'succeeded', { 'token', '', 'unclear', '0', 'error', '' })
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
  return true, goes_on
end

-- What is open for a person: slot -> member, of the slots that are named, or of all.
local function standing_in(person, named)
  if named == cjson.null then return standing_of(person) end
  local found = {}
  for _, slot in ipairs(named) do found[slot] = redis.call('HGET', SLOTS, slot) or nil end
  return found
end

-- Take away what older plans have not sent for a person. Returns what is busy, what is perhaps done (by fact), and what
-- the operations that are planned again inherit (by slot). `stale`: something about the person was recorded since the plan
-- looked, so that what it wants is not installed.
local function displace(run, began, person, standing, link, stale)
  local busy, doubtful, inherited, goes_on = {}, {}, {}, {}
  local ahead, covered = {}, {}
  local account = person .. '\31account'
  if link and standing[account] then
    local ended
    ended, goes_on = settle_by_link(person, standing[account], link)
    if ended then standing[account] = nil end
  end
  for slot, member in pairs(standing) do
    local other, id = split(member)
    local key = op_key(other, id)
    local status, attempts, since, unclear, due, error, follows, tries, kept, rides, observed = unpack(redis.call('HMGET',
      key, 'status', 'attempts', 'since', 'unclear', 'due', 'error', 'follows', 'tries', 'kept', 'rides', 'began'))
    local led = follows and follows ~= ''
    local leader = led and redis.call('HGET', op_key(other, follows), 'status')
    -- What follows an operation in flight belongs to it: the plan cannot have seen what it will have done
    if status == 'sending' or (status == 'pending' and leader == 'sending') or goes_on[member] or other == run then
      busy[slot], busy[fact_of(slot)] = true, true
      if other ~= run then table.insert(ahead, member) end
      -- Tags on their way are part of the account: a plan that has not seen them would take them away
      if kept == 'tag' then busy[account] = true end
    elseif status and stale and unclear == '1' and string.find(slot, '\31event:', 1, true) then
      -- A fact that was perhaps sent stays owed, and nothing takes its place that would remember the doubt
      busy[slot], busy[fact_of(slot)] = true, true
      table.insert(ahead, member)
    elseif status and is_later(observed, began) then
      -- A plan about this person that was made later was installed earlier
      busy[slot], busy[fact_of(slot)] = true, true
    elseif status and kept then
      -- It came from outside, so no plan can ask for it again
      busy[slot], covered[slot] = true, true
    elseif status then
      inherited[slot] = { id = id, status = status, attempts = attempts, since = since, due = due, error = error,
        tries = tries }
      local carried = led and rides and rides ~= '' and redis.call('HGET', op_key(other, follows), 'unclear') == '1'
      if unclear == '1' or carried then doubtful[fact_of(slot)] = true end
      inherited[slot].doubts = supersede(member)
    else
      redis.call('HDEL', SLOTS, slot)
    end
  end
  return busy, doubtful, inherited, ahead, covered
end

-- Remember that a person's part of a plan is to be made again once what overtook it is over.
local function again(run, person, ahead)
  redis.call('SADD', P .. 'run:' .. run .. ':again:' .. target, person)
  for _, member in ipairs(ahead) do redis.call('SADD', P .. 'run:' .. run .. ':behind:' .. target, member) end
  redis.call('HINCRBY', run_key(run), 'again', 1)
  redis.call('SADD', P .. 'overtaken', run .. '|' .. target)
end

-- Make a planned operation the open one, with what an older one of the same slot went through.
local function settle_in(run, began, id, slot, wanted, follows, before, doubt, watched)
  local key = op_key(run, id)
  -- It is not to be sent: its error came with it
  if wanted == 'failed' then return finish(run, id, 'failed') end
  become(run, id, wanted, { 'began', exactly(began) })
  if wanted ~= 'rejected' then stand(slot, run .. '|' .. id, watched) end
  if doubt then redis.call('HSET', key, 'unclear', '1') end
  if before and next(before.doubts) then redis.call('HSET', key, 'staked', cjson.encode(before.doubts)) end
  local again = before and before.id == id
  if again and before.attempts then
    redis.call('HSET', key, 'attempts', before.attempts, 'since', before.since or '', 'error', before.error or '')
    if before.tries then redis.call('HSET', key, 'tries', before.tries) end
  end
  if wanted ~= 'pending' or follows ~= '' then return end
  if again and before.status == 'waiting' and before.due and tonumber(before.due) > now() then
    become(run, id, 'waiting', { 'due', before.due })
    redis.call('ZADD', PARKED, before.due, run .. '|' .. id)
  else
    enqueue(run, id)
  end
end

local OVERTAKEN = cjson.encode({ code = 'overtaken',
  message = 'something newer about this person was sent or recorded meanwhile; they are planned again after it' })

-- Drop what a plan wants for a person, because a newer plan for everybody decided about them; how many operations that are.
local function drop_person(run, row)
  local dropped = 0
  for _, id in ipairs(row[3]) do
    if redis.call('HDEL', op_key(run, id), 'wanted_status') == 1 then
      become(run, id, 'superseded')
      dropped = dropped + 1
    end
  end
  return dropped
end

local OLDER_ROSTER = cjson.encode({ code = 'older_roster',
  message = 'a roster that was read later has decided about this person' })

-- Drop what a plan wants for a person, because something newer was decided, sent or recorded about them.
local function overtake(run, one)
  become(run, one.id, 'superseded', { 'error', OVERTAKEN })
  redis.call('HINCRBY', run_key(run), 'overtaken:' .. one.kind, 1)
end

-- Whether no roster that was read later has been noted with other content: an older one says nothing of who has come back.
local function is_newest_roster(read, digest)
  local at, of = unpack(redis.call('HMGET', HEALTH, 'roster', 'roster_digest'))
  return read == 0 or digest == of or not is_later(at, read)
end

-- Whether somebody was planned from a roster that was read after the one that a plan is based on, at `read`. When a plan
-- looked at the target says nothing of that: one that waited looks late, and knows only its own rows.
local function is_of_older_roster(person, read, everybody)
  return is_later(redis.call('ZSCORE', ROSTERED, person), read)
    or (not everybody and is_later(redis.call('HGET', HEALTH, 'planned_roster'), read))
end

-- One person's part of a plan; how many of its operations were dropped. `settles`: its roster is the newest, so that who
-- does not leave by it, does not. `read`: when it was read; 0: nobody knows.
local function install_person(run, began, everybody, watched, row, fresh_slots, settles, read)
  local person, named, ids, links, leaving = row[1], row[2], row[3], row[4], row[5]
  local account = person .. '\31account'
  local wanted = {}
  for _, id in ipairs(ids) do
    local slot, status, follows, kind, names = unpack(
      redis.call('HMGET', op_key(run, id), 'slot', 'wanted_status', 'follows', 'kind', 'names'))
    -- Without one it was put there before
    if status then
      table.insert(wanted, { id = id, slot = slot, status = status, follows = follows, kind = kind,
        names = names and cjson.decode(names) or {} })
    end
    redis.call('HDEL', op_key(run, id), 'wanted_status')
  end
  if not settles and is_of_older_roster(person, read, everybody) then
    -- Nobody plans them again: by this roster they would only be set back
    for _, one in ipairs(wanted) do become(run, one.id, 'superseded', { 'error', OLDER_ROSTER }) end
    return #wanted
  end
  if read > 0 and not everybody then redis.call('ZADD', ROSTERED, 'GT', exactly(read), person) end
  if decided_later(person, began, not everybody) then
    -- Nothing need stand for them: the newer plan may have wanted nothing, or what it wanted may have ended
    for _, one in ipairs(wanted) do overtake(run, one) end
    if #wanted > 0 then again(run, person, {}) end
    return #wanted
  end
  if named ~= cjson.null then
    for _, one in ipairs(wanted) do table.insert(named, one.slot) end
    for _, slot in ipairs(fresh_slots[person] or {}) do table.insert(named, slot) end
  end
  local link
  for _, one in ipairs(links) do if one.account then link = one end end
  if leaving == 1 then leaves(person) end
  local stale = recorded_since(person, began) or told_since(person, began)
  local busy, doubtful, inherited, ahead, covered = displace(run, began, person, standing_in(person, named), link, stale)
  local recorded, told = recorded_since(person, began), told_since(person, began)
  local dropped, overtaken, installed = 0, 0, {}
  for _, one in ipairs(wanted) do
    local leaderless = one.follows ~= '' and not installed[one.follows]
    if leaderless or busy[one.slot] or busy[fact_of(one.slot)] or busy[account] or recorded
      or (told and one.slot ~= account) or is_taken(one.names, person) then
      dropped = dropped + 1
      if covered[one.slot] then
        become(run, one.id, 'superseded', { 'error', OVERTAKEN })
      else
        overtaken = overtaken + 1
        overtake(run, one)
      end
    else
      settle_in(run, began, one.id, one.slot, one.status, one.follows, inherited[one.slot],
        doubtful[fact_of(one.slot)], watched)
      if OPEN[one.status] or one.status == 'held' then keep_names(run, one.id, person, one.names) end
      installed[one.id] = true
    end
  end
  -- An account that is being made, or was since, for somebody who left will be one too many
  if leaving == 2 and (busy[account] or recorded) then leaves(person) end
  local settled = leaving == 2 or leaving == 0
  if settled and settles and not busy[account] and not recorded then leaves_no_more(person) end
  -- That a plan wants nothing is as stale as what it wants: a joiner's account may come about after they left
  if overtaken > 0 or busy[account] and #ahead > 0 or recorded and redis.call('ZSCORE', LEAVERS, person) then
    again(run, person, ahead)
  elseif not everybody then
    redis.call('ZADD', LOOKED, exactly(began), person)
  end
  for _, one in ipairs(links) do
    if one.loops then
      if not recorded then record(person, { loops = one.loops }) end
    elseif one.enrolled or one.shown then
      record(person, { enrolled = one.enrolled, shown = one.shown })
    elseif not busy[account] and not recorded_since(person, began) then
      -- What is on its way says itself what came of it: by a link, a creation would look like an account of before
      record(person, { account = one.account, state = one.state, matched = one.matched, left = one.left,
        step = one.step })
    end
  end
  return dropped
end

local function coming_key(run, guard) return P .. 'run:' .. run .. ':coming:' .. target .. ':' .. guard end

-- The names under which a person counts for a guard there: one, but for the one that counts values as many as these are.
local function coming_names(run, guard, person)
  local names, key = { person }, coming_key(run, guard)
  while guard == 'removals' and redis.call('SISMEMBER', key, person .. '\31' .. #names + 1) == 1 do
    table.insert(names, person .. '\31' .. #names + 1)
  end
  return names
end

-- How much of what an unsent operation counts for a guard.
local function unsent_of(guard, member)
  if guard ~= 'removals' then return redis.call('SISMEMBER', unsent_key(guard), member) end
  local removes = tonumber(redis.call('HGET', op_key(split(member)), 'removes')) or 0
  return redis.call('SISMEMBER', unsent_key(guard), member .. '|1') * removes
end

-- How many people's changes count for a guard in those plans of others that are installed in part, and not yet for them.
-- `people` are left out; with `began`, so are plans that stand on no later look.
local function coming(run, guard, people, began)
  local count = 0
  for _, other in ipairs(redis.call('ZRANGE', INSTALLING, 0, -1)) do
    local text, chunk = unpack(redis.call('HMGET', run_key(other), 'installing', 'chunk'))
    if other ~= run and text and chunk and (not began or is_later(cjson.decode(text).began, began)) then
      count = count + redis.call('SCARD', coming_key(other, guard))
      for _, row in ipairs(people) do
        for _, name in ipairs(coming_names(other, guard, row[1])) do
          count = count - redis.call('SISMEMBER', coming_key(other, guard), name)
        end
      end
    end
  end
  return count
end

-- How many operations of others go out besides a plan for everybody, of which it does not know: those that were sent
-- since, and those that it leaves in place because a later look or a newer roster decided about them.
local function beside(run, guard, known, began, settles, read)
  local ours, later, count, in_place = P .. 'run:' .. run .. ':ops:' .. target, {}, 0, 0
  local function is_other(id) return not redis.call('ZSCORE', ours, string.match(id, '^[^|]*')) end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', sent_key(guard), '(' .. exactly(known.since), '+inf')) do
    if is_other(id) then count = count + 1 end
  end
  for _, member in ipairs(redis.call('SMEMBERS', unsent_key(guard))) do
    local other, id = split(member)
    if later[other] == nil then
      later[other] = is_later(redis.call('HGET', op_key(other, string.match(id, '^[^|]*')), 'began'), began)
    end
    if later[other] and is_other(id) then
      count = count + 1
    elseif not settles and is_other(id) then
      local person = redis.call('HGET', op_key(other, string.match(id, '^[^|]*')), 'person')
      if person and is_of_older_roster(person, read, true) then in_place = in_place + 1 end
    end
  end
  return count + math.max(0, in_place - (known.in_place or 0)) + coming(run, guard, {}, began)
end

-- Whether somebody else decided about more people than the plan knows of: its guards would let through too much.
local function guards_moved(run, plan, people, settles, read)
  for guard, known in pairs(plan.everybody and plan.guards or {}) do
    if beside(run, guard, known, plan.began, settles, read) > known.count then return true end
  end
  if plan.everybody then return false end
  local guards = plan.guards
  for guard, known in pairs(guards or {}) do
    local replaced = known.whole and {} or people
    local count = redis.call('SCARD', unsent_key(guard)) + coming(run, guard, replaced)
    for _, row in ipairs(replaced) do
      local member = redis.call('HGET', SLOTS, row[1] .. '\31account')
      if member then count = count - unsent_of(guard, member) end
    end
    count = count + redis.call('ZCOUNT', sent_key(guard), known.since, '+inf')
    if count > known.count then return true end
  end
  return false
end

-- Take away what came to stand while a plan for everybody was installed and stands on an older look: the plan had no part
-- about its person, or they were being sent something and are planned again.
local function displace_fresh(run, began, settles, read)
  for _, slot in ipairs(redis.call('SMEMBERS', FRESH)) do
    local person = string.match(slot, '^[^\31]*')
    local spared = not settles and is_of_older_roster(person, read, true)
    local member = redis.call('HGET', SLOTS, slot)
    local other, id = split(member or '|')
    local status, kept, observed, follows = unpack(redis.call('HMGET', op_key(other, id), 'status', 'kept', 'began', 'follows'))
    local leader = follows and follows ~= '' and redis.call('HGET', op_key(other, follows), 'status')
    local older = observed and tonumber(observed) < began and other ~= run and not kept and not spared
    if older and (status == 'pending' or status == 'waiting' or status == 'held') and leader ~= 'sending' then
      supersede(member)
    end
  end
end

local commands = {}

function commands.install()
  local run = ARGV[3]
  local part, stage = run_key(run), P .. 'run:' .. run .. ':stage:' .. target
  local installed, text, last = unpack(redis.call('HMGET', part, 'installed', 'installing', 'chunk'))
  if installed then
    redis.call('UNLINK', stage)
    return { tonumber(installed), 0 }
  end
  local plan = cjson.decode(text)
  local chunk = redis.call('LPOP', stage)
  chunk = chunk and cjson.decode(chunk)
  local roster = plan.roster or { 0, '' }
  local settles = is_newest_roster(roster[1], roster[2])
  -- A client without an answer puts its parts there a second time
  if chunk and chunk.n > tonumber(last or '0') then
    if chunk.n == 1 and guards_moved(run, plan, chunk.people, settles, roster[1]) then
      redis.call('UNLINK', stage)
      for guard in pairs(plan.guards) do redis.call('UNLINK', coming_key(run, guard)) end
      redis.call('HDEL', part, 'installing', 'chunk', 'dropped')
      redis.call('ZREM', INSTALLING, run)
      return { -1, 0 }
    end
    local mark = redis.call('ZSCORE', INSTALLING, run)
    local watched = redis.call('ZCARD', INSTALLING) > (mark and 1 or 0)
    local fresh_slots = {}
    for _, slot in ipairs(mark and redis.call('SMEMBERS', FRESH) or {}) do
      local person = string.sub(slot, 1, string.find(slot, '\31', 1, true) - 1)
      fresh_slots[person] = fresh_slots[person] or {}
      table.insert(fresh_slots[person], slot)
    end
    -- A planner may die while it installs, and be gone on for after a newer plan for everybody was installed
    local overtaken = plan.everybody and is_later(redis.call('HGET', HEALTH, 'planned'), plan.began)
    if plan.everybody and not overtaken then
      redis.call('HSET', HEALTH, 'planned', exactly(plan.began))
      -- This plan is newer, or a clock was set back since
      redis.call('ZREMRANGEBYSCORE', LOOKED, '-inf', exactly(plan.began))
      redis.call('ZREMRANGEBYSCORE', LOOKED, exactly(now() + 1), '+inf')
      redis.call('HSET', HEALTH, 'planned_roster', exactly(roster[1]))
      redis.call('ZREMRANGEBYSCORE', ROSTERED, '-inf', exactly(roster[1]))
      redis.call('ZREMRANGEBYSCORE', ROSTERED, exactly(now() + 1), '+inf')
    end
    local dropped = 0
    for _, row in ipairs(chunk.people) do
      dropped = dropped + (overtaken and drop_person(run, row)
        or install_person(run, plan.began, plan.everybody, watched, row, fresh_slots, settles, roster[1]))
      for guard in pairs(plan.guards) do
        redis.call('SREM', coming_key(run, guard), unpack(coming_names(run, guard, row[1])))
      end
    end
    if plan.everybody and not overtaken and redis.call('LLEN', stage) == 0 then
      displace_fresh(run, plan.began, settles, roster[1])
    end
    redis.call('HINCRBY', part, 'dropped', dropped)
    redis.call('HSET', part, 'chunk', chunk.n)
  end
  local left = redis.call('LLEN', stage)
  local dropped = tonumber(redis.call('HGET', part, 'dropped') or '0')
  if left == 0 then
    redis.call('HSET', part, 'installed', dropped)
    for guard in pairs(plan.guards) do redis.call('UNLINK', coming_key(run, guard)) end
    redis.call('HDEL', part, 'installing', 'chunk', 'dropped')
    redis.call('ZREM', INSTALLING, run)
    if redis.call('ZCARD', INSTALLING) == 0 then redis.call('UNLINK', FRESH) end
  end
  return { dropped, left }
end

function commands.made()
  for name, value in pairs(cjson.decode(ARGV[3])) do
    -- Somebody may keep it again by now
    if redis.call('HGET', NAMES, name) == value then redis.call('HDEL', NAMES, name) end
  end
  return 0
end

function commands.behind()
  local behind, left = P .. 'run:' .. ARGV[3] .. ':behind:' .. target, 0
  for _, member in ipairs(redis.call('SMEMBERS', behind)) do
    local run, id = split(member)
    local status, follows = unpack(redis.call('HMGET', op_key(run, id), 'status', 'follows'))
    local leader = follows and follows ~= '' and redis.call('HGET', op_key(run, follows), 'status')
    if status == 'sending' or leader == 'sending' and OPEN[status] then
      left = left + 1
    else
      redis.call('SREM', behind, member)
    end
  end
  return left
end

-- Whose leave is unfinished because an accepted roster says that they leave; and who does not leave any more.
function commands.leavers()
  local read, digest = tonumber(ARGV[5]), ARGV[6]
  local newest = is_newest_roster(read, digest)
  if newest then redis.call('HSET', HEALTH, 'roster', exactly(read), 'roster_digest', digest) end
  for _, person in ipairs(cjson.decode(ARGV[3])) do
    local text = redis.call('HGET', LEDGER, person)
    local entry = text and not string.find(text, '"state":"left"', 1, true) and cjson.decode(text)
    -- An account that is being made for somebody who left will be one too many
    local coming = not text and redis.call('HGET', SLOTS, person .. '\31account')
    if entry and entry.account and entry.state ~= 'left' or coming then leaves(person) end
  end
  for _, person in ipairs(cjson.decode(ARGV[4])) do
    -- What is on its way for them is for the next plan to settle
    if newest and not redis.call('HGET', SLOTS, person .. '\31account') then leaves_no_more(person) end
  end
  return 0
end

function commands.add()
  local run, tokens = ARGV[3], cjson.decode(ARGV[4])
  local stage = P .. 'run:' .. run .. ':stage:' .. target
  local added, watched = 0, redis.call('EXISTS', INSTALLING) == 1
  for _, id in ipairs(redis.call('LRANGE', stage, 0, -1)) do
    local key = op_key(run, id)
    local slot, kind, status = unpack(redis.call('HMGET', key, 'slot', 'kind', 'status'))
    local fresh = not status and redis.call('ZADD', P .. 'added:' .. target, 'NX', now(), tokens[id]) == 1
    if fresh and not redis.call('HGET', SLOTS, slot) then
      redis.call('HDEL', key, 'wanted_status')
      become(run, id, 'pending')
      stand(slot, run .. '|' .. id, watched)
      redis.call('HINCRBY', run_key(run), 'planned:' .. kind, 1)
      enqueue(run, id)
      added = added + 1
    elseif not status then
      redis.call('DEL', key)
      redis.call('ZREM', P .. 'run:' .. run .. ':ops:' .. target, id)
    end
  end
  redis.call('UNLINK', stage)
  return added
end

return commands[command]()
