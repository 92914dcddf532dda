"""What an attribute of an account is, and when two values of it are the same.

Inside the program every value is canonical text or None: booleans are ``true`` and ``false``, dates are ISO,
sets are their members joined with ``;``, and the empty text equals None. Only a target's own module knows the
vendor's spelling.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any


class Type(StrEnum):
    """How values of an attribute are spelt and compared."""

    TEXT = "text"  #: compared to the letter, after Unicode NFC
    FOLDED = "folded"  #: text that ignores case: user names, role names
    EMAIL = "email"  #: an email address; ignores case
    BOOLEAN = "boolean"
    NUMBER = "number"
    DATE = "date"
    EPOCH = "epoch"  #: a moment in whole seconds since 1970, as a number
    SET = "set"  #: members without order, ignoring case
    VALUE = "value"  #: of a type that only the vendor knows; compared as the date, number or list that it looks like


#: The time of day behind a date, which does not count, and a date as ISO 8601 has it; for Python and for polars.
CLOCK = r"(?:[T ][0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?:\s?[AaPp][Mm])?(?:\s?Z|[+-][0-9]{2}:?[0-9]{2})?)?"
ISO_DATE = (
    rf"(?P<y>[0-9]{{4}})(?:-(?P<m>[0-9]{{1,2}})-|/(?P<m2>[0-9]{{1,2}})/|(?P<m3>[0-9]{{2}}))(?P<d>[0-9]{{1,2}})"
    # A day may have a zone without any time, as XML has it; it is that day wherever it is read
    rf"(?:{CLOCK}|Z|[+-][0-9]{{2}}:[0-9]{{2}})"
)
_ISO = re.compile(ISO_DATE)
_CLOCKED = re.compile(r"[T ][0-9]{1,2}:[0-9]{2}")
#: From this year on, a last day means that there is none: 9999-12-31, 4712-12-31, 2999-12-31.
OPEN_YEAR = 2200
#: How a value of unknown type is compared: pattern and replacement, one after the other, for Python and for polars (in
#: whose replacements ``$1`` is a group). Dates become ISO, numbers lose their trailing zeros.
VALUE_FOLDS = (
    (r"^(\d)/(\d{1,2}/\d{4})$", "0${1}/${2}"),
    (r"^(\d{2})/(\d)/(\d{4})$", "${1}/0${2}/${3}"),
    (r"^(\d{2})/(\d{2})/(\d{4})$", "${3}-${2}-${1}"),
    (r"^(-?(?:0|[1-9]\d*)\.\d*?)0+$", "${1}"),
    (r"^(-?(?:0|[1-9]\d*))\.$", "${1}"),
)
_VALUE_FOLDS = tuple(
    (re.compile(pattern, re.ASCII), re.sub(r"\$\{(\d)\}", r"\\g<\1>", new)) for pattern, new in VALUE_FOLDS
)
#: Types whose values ignore case.
FOLDING = frozenset({Type.FOLDED, Type.EMAIL, Type.SET})
#: Name under which an account holds the epoch seconds at which its details were read; ours, not a vendor's.
DETAILS_READ_AT = "details_read_at"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute that a target offers.

    `identifier`: set at create only; afterwards a difference is a to-do. `role`: a change of nothing but such
    attributes is of kind `role`. `observed`: reading an account shows it (else the ledger knows it). `merge`: a set to
    which others may add members, which are kept. `detail`: no listing shows it, so what was observed is as old as the
    account's `DETAILS_READ_AT`. `required`:
    a create without it is impossible. `on_create` and `on_update`: whether the vendor takes it there. `readable`
    only: neither, so it can only have the authority `target`. `advice`: what a person does where the vendor
    offers no call to change it. `chosen_by_user`: an account's user sets it, so an equal value proves nothing, unless
    `verified_when` (an attribute and its values) says that the vendor verified it for this account. `fault` says
    why the target creates no account with a value, None where it does: such a create is a to-do, and is never sent;
    `update_fault` the same of a change to that value. `person_name`: it is the person's name or a part of it. `usable`:
    the values with which its user can use the account; another one of somebody who should have access is a to-do.
    `late`: what a person does about accounts that were there before the attribute was mapped, where only a create
    takes it. `unique`: the vendor refuses a value that another account has.
    """

    name: str
    type: Type = Type.TEXT
    identifier: bool = False
    role: bool = False
    observed: bool = True
    merge: bool = False
    detail: bool = False
    required: bool = False
    on_create: bool = True
    on_update: bool = True
    advice: str | None = None
    chosen_by_user: bool = False
    verified_when: tuple[str, tuple[str, ...]] | None = None
    fault: Callable[[str], str | None] | None = None
    person_name: bool = False
    update_fault: Callable[[str], str | None] | None = None
    usable: tuple[str, ...] = ()
    late: str | None = None
    unique: bool = False

    @property
    def read_only(self) -> bool:
        """Whether the vendor lets nobody write it."""
        return not (self.on_create or self.on_update)


class InvalidValueError(ValueError):
    """A value does not fit its attribute's type."""


_TRUE = {"true", "t", "yes", "y", "1"}
_FALSE = {"false", "f", "no", "n", "0"}


def canonical(value: Any, type_: Type) -> str | None:
    """The one spelling of a value, or None for nothing.

    Takes what JSON, SQL or a date can hold.

    Raises:
        InvalidValueError: the value cannot be of that type; the message does not repeat it.
    """
    if value is None:
        return None
    if type_ is Type.SET:
        return _canonical_set(value)
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, date):
        text = value.isoformat()
    elif isinstance(value, float) and value.is_integer():
        text = str(int(value))
    else:
        text = str(value)
    text = unicodedata.normalize("NFC", text).strip()
    if not text:
        return None
    if type_ is Type.BOOLEAN:
        return _canonical_boolean(text)
    if type_ is Type.EPOCH:
        return _canonical_epoch(text)
    if type_ is Type.NUMBER:
        return _canonical_number(text)
    if type_ is Type.DATE:
        return _canonical_date(text)
    return text


def _canonical_boolean(text: str) -> str:
    lowered = text.lower()
    if lowered in _TRUE:
        return "true"
    if lowered in _FALSE:
        return "false"
    raise InvalidValueError("is neither true nor false")


def _canonical_number(text: str) -> str:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise InvalidValueError("is no number") from None
    if not number.is_finite() or number.adjusted() > 40:
        raise InvalidValueError("is no number")
    plain = format(number, "f")
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if plain in ("-0", "") else plain


def _canonical_epoch(text: str) -> str:
    """Seconds as they are; a date is its midnight in UTC, and a time without an offset is in UTC too."""
    try:
        return _canonical_number(text)
    except InvalidValueError:
        pass
    try:
        moment = datetime.fromisoformat(text if _CLOCKED.search(text) else _canonical_date(text))
    except ValueError:
        raise InvalidValueError("is neither seconds since 1970 nor a date (yyyy-mm-dd)") from None
    return str(int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))


def _canonical_date(text: str) -> str:
    parts = _ISO.fullmatch(text)
    try:
        if parts is None:
            raise ValueError
        return date(int(parts["y"]), int(parts["m"] or parts["m2"] or parts["m3"]), int(parts["d"])).isoformat()
    except ValueError:
        raise InvalidValueError("is no date (yyyy-mm-dd)") from None


def _canonical_set(value: Any) -> str | None:
    if isinstance(value, Mapping):
        raise InvalidValueError("is no list of names")
    members = value if isinstance(value, (list, tuple, set, frozenset)) else str(value).split(";")
    seen: dict[str, str] = {}
    for member in members:
        name = unicodedata.normalize("NFC", str(member)).strip()
        if name:
            seen.setdefault(name.lower(), name)
    return ";".join(seen[key] for key in sorted(seen)) or None


def fold(value: str | None, type_: Type) -> str | None:
    """What two canonical values are compared by."""
    if value and type_ in FOLDING:
        return value.lower()
    if value and type_ is Type.VALUE:
        return _fold_value(value)
    return value or None


def _fold_value(value: str) -> str:
    if ";" in value:
        return ";".join(sorted({one.strip().lower() for one in value.split(";")} - {""}))
    for pattern, new in _VALUE_FOLDS:
        value = pattern.sub(new, value)
    return value


def proves(attribute: Attribute, values: Mapping[str, str | None]) -> bool:
    """Whether an equal value of the attribute proves whose account this is, which holds these values."""
    if not attribute.chosen_by_user:
        return True
    name, verified = attribute.verified_when or ("", ())
    return values.get(name) in verified


def members(value: str | None) -> tuple[str, ...]:
    """The members of a canonical set."""
    return tuple(value.split(";")) if value else ()


def natural_values(values: Mapping[str, str | None], attributes: Mapping[str, Attribute]) -> dict[str, Any]:
    """`natural` for a whole account; what is no attribute stays text."""
    return {
        name: natural(value, attributes[name].type) if name in attributes else value for name, value in values.items()
    }


def natural(value: str | None, type_: Type) -> Any:
    """The value as JSON would hold it, for people and programs that read our output."""
    if value is None:
        return None
    if type_ is Type.BOOLEAN:
        return value == "true"
    if type_ in (Type.NUMBER, Type.EPOCH):
        number = Decimal(value)
        return int(number) if number == number.to_integral_value() else float(number)
    return value
