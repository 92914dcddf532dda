"""What became of an operation that was sent: the five answers that everything else decides by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

#: Code of a create that was refused because a deleted account is in the way; the message names that account. After the
#: first refusal it is a to-do, for as long as the target shows the account among the deleted ones.
DELETED_IN_THE_WAY: Final = "deleted_account"


@dataclass(frozen=True, slots=True)
class Done:
    """The target holds what we wanted.

    `account` is the identifier, where the answer gave it. `learnt` are values that the answer showed besides those we
    sent (canonical text), such as an msid. `unkept` are values of the answer, by attribute, that differ from what was
    sent: accepted, and by the answer itself not kept. `adopted`: the account turned out to be there already. `carried`:
    so were the enrolments done that travelled with it. `note` is a remark for the history.
    """

    account: str | None = None
    learnt: Mapping[str, str | None] = field(default_factory=dict)
    unkept: Mapping[str, str | None] = field(default_factory=dict)
    adopted: bool = False
    carried: bool = True
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Permanent:
    """Sending the same again would fail again; a person must look.

    `perhaps`: it may have been done nevertheless, so that no later plan may ask for it by itself. `kept` is what the
    target took of it, where it refused a part only: the account is there, and holds what was not refused. `refused`
    are the attributes that were refused, where that is known.
    """

    code: str
    message: str
    perhaps: bool = False
    kept: Done | None = None
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Temporary:
    """Worth another try, after `delay` seconds if the target named a delay.

    `limited`: the target said that we are too fast (429); it is no failed try. `unreached`: no connection was made.
    """

    code: str
    message: str
    delay: float | None = None
    limited: bool = False
    unreached: bool = False


@dataclass(frozen=True, slots=True)
class Unauthorised:
    """The target refused our credentials; nothing more goes there until that is fixed."""

    message: str
    code: str = "unauthorised"


@dataclass(frozen=True, slots=True)
class Unclear:
    """It was sent, and no usable answer came: it may have been done."""

    code: str
    message: str


Outcome = Done | Permanent | Temporary | Unauthorised | Unclear
