"""What every process needs: its context, clock, rate limit and audit trail."""
