-- Let a field of a hash go on under another name, unless that has a value already. Returns 1 if this call moved it.
local function move_field(key, old, new)
  local text = redis.call('HGET', key, old)
  if not text or redis.call('HSETNX', key, new, text) == 0 then return 0 end
  return redis.call('HDEL', key, old)
end
