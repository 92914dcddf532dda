"""Who may see and do what: tokens, sessions, sign-in."""
