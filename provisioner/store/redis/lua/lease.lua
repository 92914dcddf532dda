-- What claims, and whatever asks whether a claim still holds, share. It has no KEYS and no ARGV of its own.

-- Let the leases of those operations that still carry a token last until a time (epoch seconds); a lease that expired and
-- was noticed is not brought back. Where Redis was put back to an earlier state, nothing that was claimed before holds: not
-- since that was noted, and not for whoever knows of a later position. Returns how many there are.
local function renew_leases(target, token, till, members, known)
  local leases, count = 'provisioner:leases:' .. target, 0
  local position, rewound = unpack(redis.call('HMGET', 'provisioner:mark', 'position', 'rewound'))
  if (tonumber(position) or 0) < (tonumber(known) or 0) then return 0 end
  for _, member in ipairs(members) do
    local at = string.find(member, '|', 1, true)
    local key = 'provisioner:run:' .. string.sub(member, 1, at - 1) .. ':op:' .. target .. ':' .. string.sub(member, at + 1)
    local held, claimed = unpack(redis.call('HMGET', key, 'token', 'claimed'))
    local before = rewound and (tonumber(claimed) or 0) < tonumber(rewound)
    if held == token and not before and redis.call('ZSCORE', leases, member) then
      redis.call('ZADD', leases, till, member)
      count = count + 1
    end
  end
  return count
end
