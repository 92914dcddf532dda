"""What Redis holds of people: ledger, snapshots, receipts, events, outcomes."""
