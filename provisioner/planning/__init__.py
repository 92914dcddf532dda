"""From people and observed accounts to a plan. Pure: no I/O, no clock, no randomness here.

`desired` says what each target should hold, `correlate` which account is whose, `diff` what differs, `guards` what
must wait for someone's approval, and `plan` puts them together.
"""
