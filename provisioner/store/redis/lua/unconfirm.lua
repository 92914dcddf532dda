-- Mark in the ledger what nobody can say of accounts, because Redis forgot what was sent to them.
--
-- Keys: none are passed; ledger:<target> and leavers:<target> are made from the target's name.
-- ARGV[1] unconfirm, ARGV[2] the target
-- ARGV[3] what the accounts may hold (JSON: attribute -> members, none for what is no set), see queue_unsure
-- ARGV[4] people (JSON: person -> what the ledger learns where it has no entry of them, account, state and matched)
-- include: queue_common
-- include: queue_unsure
local stake = cjson.decode(ARGV[3])
for person, patch in pairs(cjson.decode(ARGV[4])) do
  if redis.call('HEXISTS', LEDGER, person) == 0 then record(person, patch) end
  unsure(person, stake)
end
return 0
