"""Unconfirmed values of an account: a change was sent, its outcome is unknown, and no listing shows the attribute.

A set then holds members that are marked, like ``Sales; Finance (perhaps)``: such a value equals no wanted one, so the
next plan says again of each marked member whether it is in. Of any other attribute nothing is known, which makes the
next plan write it once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from provisioner.model.attributes import Attribute, Type, canonical, members
from provisioner.model.operation import ACCOUNT_KINDS, Operation

MARK: Final = " (perhaps)"
#: Before the name of a set to which others may add.
OURS: Final = "+"


def parted(value: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """A set's sure members and its marked ones without their mark, both by their name in lower case."""
    sure: dict[str, str] = {}
    unsure: dict[str, str] = {}
    for name in members(value):
        bare = name.removesuffix(MARK)
        (sure if bare == name else unsure)[bare.lower()] = bare
    return sure, unsure


def marked(value: str | None, unsure: Iterable[str]) -> str | None:
    """The set in which these members (lower case) are marked, whether they were in it or not."""
    sure, already = parted(value)
    doubtful = dict.fromkeys(unsure, "") | already
    names = [name for key, name in sure.items() if key not in doubtful]
    names += [(name or sure.get(key, key)) + MARK for key, name in doubtful.items()]
    return canonical(names, Type.SET)


def at_stake(operation: Operation, attributes: Mapping[str, Attribute]) -> Mapping[str, Sequence[str]]:
    """The values of an account that are unknown after an operation was sent without a known outcome.

    By attribute that no listing shows and that can be written again: of a set the members (lower case) that enter or
    leave, else nothing. By `OURS` and the name of a set to which others may add: the members that we add.
    """
    if operation.kind not in ACCOUNT_KINDS:
        return {}
    stake: dict[str, Sequence[str]] = {}
    for name, after in operation.after.items():
        attribute = attributes.get(name)
        if attribute is not None and attribute.merge:
            stake[OURS + name] = members(operation.owned.get(name, after))
        if attribute is None or attribute.observed or not attribute.on_update:
            continue
        if attribute.type is not Type.SET:
            stake[name] = ()
            continue
        sure, unsure = parted(operation.before.get(name))
        stake[name] = sorted((set(sure) ^ set(parted(after)[0])) | set(unsure))
    return stake
