-- One person's link in one target, made or taken away by hand, with what is open for them: it was planned without it.
--
-- Keys: none are passed; all are made from the names as store/keys.py lists them (one server, no cluster): those of
--   queue.lua, and unlinked:<target>.
-- ARGV[1] the command, ARGV[2] the target, ARGV[3] the person, ARGV[4] the account, then:
--   link    state                                                        -> {1, run of each operation taken away…}
--   unlink                                                               -> likewise
-- Returns {0} and changes nothing where the ledger says otherwise than expected: for `link` it has another account, for
-- `unlink` it has not this one. Returns {-1} likewise where something is being sent, whose answer would be recorded.
-- include: queue_common
-- include: queue_unsure
-- include: standing

local person, account = ARGV[3], ARGV[4]
local UNLINKED = P .. 'unlinked:' .. target

-- Accounts that are not this person's: with this one, or without it.
local function said(apart)
  local kept = {}
  for _, other in ipairs(cjson.decode(redis.call('HGET', UNLINKED, person) or '[]')) do
    if other ~= account then table.insert(kept, other) end
  end
  if apart then table.insert(kept, account) end
  if #kept > 0 then
    redis.call('HSET', UNLINKED, person, cjson.encode(kept))
  else
    redis.call('HDEL', UNLINKED, person)
  end
end

local text = redis.call('HGET', LEDGER, person)
local linked = text and cjson.decode(text).account
if linked ~= account and (command == 'unlink' or linked) then return { 0 } end
local runs = drop_standing({ person }, 'linked_by_hand',
  'the link of this person was changed by hand; the next run plans with it')
if not runs then return { -1 } end
said(command == 'unlink')
if command == 'unlink' then
  redis.call('HDEL', LEDGER, person)
  -- Whose account it is not, has nothing left to lose there
  leaves_no_more(person)
elseif not linked then
  record(person, { account = account, state = ARGV[5], matched = 'hand', created = false })
end
return { 1, unpack(runs) }
