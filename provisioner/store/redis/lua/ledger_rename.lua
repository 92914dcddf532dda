-- Let a link go on under a person's new key, unless that key has one already; likewise which accounts are not theirs.
--
-- KEYS[1] the ledger of a target: person -> entry
-- KEYS[2] the target's accounts that were unlinked by hand: person -> list
-- ARGV[1] the person's old key
-- ARGV[2] the new one
-- Returns 1 if this call moved the link.
-- include: move_field

move_field(KEYS[2], ARGV[1], ARGV[2])
return move_field(KEYS[1], ARGV[1], ARGV[2])
