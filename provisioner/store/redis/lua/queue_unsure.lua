-- What nobody can say of an account because a change was sent and its end is not known, see model/unsure.py.
-- Field `stake` of an operation is JSON: attribute -> members of a set that it moves, none for any other attribute, and
-- with a + before the attribute's name, the members that it adds to a set of which others have a part;
-- `staked` the same of those that were sent before it in its slot. Needs queue_common.

local function at_stake(run, id)
  local stake, before = unpack(redis.call('HMGET', op_key(run, id), 'stake', 'staked'))
  return stake and cjson.decode(stake) or {}, before and cjson.decode(before) or {}
end

local function merge_stakes(into, from)
  for name, those in pairs(from) do
    local known = {}
    into[name] = into[name] or {}
    for _, one in ipairs(into[name]) do known[one] = true end
    for _, one in ipairs(those) do
      if not known[one] then table.insert(into[name], one) end
    end
  end
  return into
end

-- What an operation leaves unknown if it ends now: all, or if it was never `sent` itself, what came before it.
local function doubts_of(run, id, sent)
  local own, before = at_stake(run, id)
  return sent and merge_stakes(own, before) or before
end

local function forget_value(entry, name)
  if type(entry.values) == 'table' then entry.values[name] = nil end
end

-- Members that we perhaps added to a set of which others have a part are ours. Returns whether it is about such a set.
local function own(entry, name, those)
  if string.sub(name, 1, 1) ~= '+' then return false end
  if type(entry.values) ~= 'table' then entry.values = {} end
  local set, known, members = string.sub(name, 2), {}, {}
  local now_ours = entry.values[set]
  for one in string.gmatch(type(now_ours) == 'string' and now_ours or '', '[^;]+') do
    known[one] = true
    table.insert(members, one)
  end
  for _, one in ipairs(those) do
    if not known[one] then table.insert(members, one) end
  end
  entry.values[set] = table.concat(members, ';')
  return true
end

-- Forget in the ledger what a change would have set, and mark the members that it would have moved.
local function unsure(person, stake)
  local text = next(stake) and redis.call('HGET', LEDGER, person)
  if not text then return end
  local entry = cjson.decode(text)
  for name, those in pairs(stake) do
    if not own(entry, name, those) then
      if #those == 0 then
        forget_value(entry, name)
      else
        entry.perhaps = merge_stakes(entry.perhaps or {}, { [name] = those })
      end
    end
  end
  redis.call('HSET', LEDGER, person, cjson.encode(entry))
end

-- A change that was acknowledged settles what it was about, but nothing that was sent before it.
local function sure(person, settles, before)
  local text = redis.call('HGET', LEDGER, person)
  -- Nearly always there is no doubt, which every success asks for: so it is not read for that
  if not text or not (next(before) or string.find(text, '"perhaps":', 1, true)) then return end
  local entry = cjson.decode(text)
  local doubts = merge_stakes(merge_stakes({}, entry.perhaps or {}), before)
  local left = {}
  for name, those in pairs(doubts) do
    local settled, open = {}, {}
    if not own(entry, name, those) then
      if #those == 0 and not settles[name] then forget_value(entry, name) end
      for _, one in ipairs(settles[name] or {}) do settled[one] = true end
      for _, one in ipairs(those) do
        if not settled[one] then table.insert(open, one) end
      end
    end
    if #open > 0 then left[name] = open end
  end
  entry.perhaps = next(left) and left or nil
  redis.call('HSET', LEDGER, person, cjson.encode(entry))
end
