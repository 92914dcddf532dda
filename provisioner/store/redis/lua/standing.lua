-- What is open for a person in a target: found, and taken away by whoever changes who the person is. Needs queue_common
-- and queue_unsure.

-- Slot -> member, of all of a person's slots.
local function standing_of(person)
  local found, cursor, pattern = {}, '0', string.gsub(person, '[%*%?%[%]\\]', '\\%0') .. '\31*'
  repeat
    local answer = redis.call('HSCAN', SLOTS, cursor, 'MATCH', pattern, 'COUNT', 10000)
    cursor = answer[1]
    for i = 1, #answer[2], 2 do found[answer[2][i]] = answer[2][i + 1] end
  until cursor == '0'
  return found
end

-- Supersede what is open for some people. Returns the run of each dropped operation; nil and changes nothing where one
-- is being sent, whose answer would be recorded.
local function drop_standing(people, code, message)
  local members, runs = {}, {}
  for _, person in ipairs(people) do
    for _, member in pairs(standing_of(person)) do
      local run, id = split(member)
      if redis.call('HGET', op_key(run, id), 'status') == 'sending' then return nil end
      table.insert(members, member)
    end
  end
  local why = cjson.encode({ code = code, message = message })
  for _, member in ipairs(members) do
    local run, id = split(member)
    local status, of, attempts = unpack(redis.call('HMGET', op_key(run, id), 'status', 'person', 'attempts'))
    if status and not OVER[status] then
      -- What was perhaps done by it is known to nobody else
      unsure(of, doubts_of(run, id, (tonumber(attempts) or 0) > 0))
      finish(run, id, 'superseded', { 'error', why })
      table.insert(runs, run)
    end
  end
  return runs
end
