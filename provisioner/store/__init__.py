"""What lasts: runs, operations, the ledger, snapshots, health. The only package that talks to Redis."""
