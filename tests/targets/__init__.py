"""Tests of the targets: against the stand-ins, over real HTTP."""
