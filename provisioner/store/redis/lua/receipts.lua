-- What is told of operations beside their states: leavers' receipts, and why operations were superseded.
--
-- Included by queue_common.lua, whose P, target, now() and run_key() it uses.
-- Keys: receipt:<person>, receipts, run:<run>:t:<target>.

-- What stands of one person's leave in this target; `since` is when it was first planned (epoch seconds).
local function receipt(run, id, person, status, since)
  local key = P .. 'receipt:' .. person
  if status == 'superseded' then
    -- One that never stood says nothing of the one that does
    local text = redis.call('HGET', key, target)
    local known = text and cjson.decode(text)
    if not known or known.run ~= run or known.operation ~= id then return end
  end
  local entry = { status = status, since = since, at = now(), run = run, operation = id }
  redis.call('HSET', key, target, cjson.encode(entry))
  redis.call('ZADD', P .. 'receipts', now(), person)
end

-- Count a superseded operation by its reason, so that a run can tell what became of what it planned.
local function explain(run, kind, extra)
  local code = 'newer_plan'
  for place = 1, extra and #extra or 0, 2 do
    if extra[place] == 'error' and extra[place + 1] ~= '' then code = cjson.decode(extra[place + 1]).code or code end
  end
  redis.call('HINCRBY', run_key(run), 'why:' .. code .. ':' .. kind, 1)
end
