"""From the roster's file to people: ``fetch → read → judge → gate → advance_absence``.

`fetch` brings the bytes (path, folder, glob, https, sftp, s3), `pushed` takes them over; `read` finds out encoding and
form and gives rows of text with every bad row named; `judge` says of every row who is employed, leaving, excluded or
yet to start; `gate` says whether the whole is to be believed; `advance_absence` remembers who vanished, and since when.
Only `fetch` touches the outside.
"""

from provisioner.roster.absence import advance_absence, unlisted
from provisioner.roster.classify import judge
from provisioner.roster.gate import Baseline, gate
from provisioner.roster.rows import read
from provisioner.roster.source import check_allowed, fetch, pushed
from provisioner.roster.values import RESERVED, Note, People, Read, Reject, Source, Verdict

__all__ = [
    "RESERVED",
    "Baseline",
    "Note",
    "People",
    "Read",
    "Reject",
    "Source",
    "Verdict",
    "advance_absence",
    "check_allowed",
    "fetch",
    "gate",
    "judge",
    "pushed",
    "read",
    "unlisted",
]
