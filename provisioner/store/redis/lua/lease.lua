-- What claims, and whatever asks whether a claim still holds, share. It has no KEYS and no ARGV of its own.

-- Let the leases of those operations that still carry a token last until a time (epoch seconds); a lease that expired and
-- was noticed is not brought back. Returns how many there are.
local function renew_leases(target, token, till, members)
  local leases, count = 'provisioner:leases:' .. target, 0
  for _, member in ipairs(members) do
    local at = string.find(member, '|', 1, true)
    local key = 'provisioner:run:' .. string.sub(member, 1, at - 1) .. ':op:' .. target .. ':' .. string.sub(member, at + 1)
    if redis.call('HGET', key, 'token') == token and redis.call('ZSCORE', leases, member) then
      redis.call('ZADD', leases, till, member)
      count = count + 1
    end
  end
  return count
end
