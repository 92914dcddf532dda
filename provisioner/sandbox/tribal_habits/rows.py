"""The rules of one row of user fields, from the pages "Create a new user", "Update a specific user", "Batch".

Pure: no state, no I/O. A row is checked against what the pages print; what they do not print is refused.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any

from provisioner.sandbox.options import Options
from provisioner.sandbox.wire import is_number, is_whole

REQUIRED = ("user_name", "first_name", "last_name", "email")
TYPES = ("Staff", "Client", "Prospect")
FREQUENCIES = (
    "once_a_month", "twice_a_month", "every_monday", "every_tuesday", "every_wednesday",
    "every_thursday", "every_friday", "every_weekday", "every_day",
)  # fmt: skip
_ISO_639_1_TEXT = (
    "aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el "
    "en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it "
    "iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt "
    "my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl "
    "sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo "
    "za zh zu"
)
ISO_639_1 = frozenset(_ISO_639_1_TEXT.split())
MANAGERS = ("manager_email", *(f"manager_{number}_email" for number in range(2, 6)))
ROLES = tuple(f"role_{number}" for number in range(1, 6))
REPORTS = tuple(f"{who}_report_frequency" for who in ("team_leader", "learner", "assessor"))

SYDNEY = timezone(timedelta(hours=10))
_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>.]+(?:\.[^@\s,;<>.]+)+")
_DAY_FIRST = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_ISO_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_CODE = re.compile(r"(THP?-\d+-\d+)-([A-Z]+)")

DEFAULT_CUSTOM_FIELDS: dict[str, Any] = {
    "X-Country": {"type": "string"},
    "X-State": {"type": "string"},
    "X-Nickname": {"type": "string"},
    "X-Birthdate": {"type": "date"},
    "X-Age": {"type": "number"},
    "X-Cars": {"type": "list", "items": ["Toyota", "Honda", "Ford", "Mazda", "Hyundai", "Audi"]},
}


@dataclass(frozen=True, slots=True)
class TribalHabitsOptions(Options):
    """Options of a Tribal Habits stand-in.

    `page_cap`: largest `max_per_page`; more is answered with this many, or refused (a negative
    one, -50: more than 50). `batch_cap`: most rows of one batch
    (their CSV upload takes 1,500). `languages`: what `language` may be. `custom_fields`: name with `X-` →
    `{type: string | date | number | list, items}`. `external_knowledge_ids`: answers carry an `id`, which no
    published answer does. `dates_shown`: how custom dates are shown (`strftime`), whatever was sent; `dates_taken`: in
    which forms they are taken, `dd/mm/yyyy` and `yyyy-mm-dd`. `counts_off`: `batch_save` counts one row less, as the
    page's own sample does; `refused_in_unchanged`: it counts refused rows among the unchanged ones too.
    `dots_cut`: what follows a dot in a path is taken for a format, so that nobody is found by it (404).
    `errors_each`: how many entries of the list of errors a refused row has. `uninvited`: to whom no invitation can be
    mailed; `*` is everybody.
    """

    rate_limit: int = 300
    block_seconds: float = 60.0
    page_cap: int = 100
    batch_cap: int = 1500
    languages: tuple[str, ...] = tuple(sorted(ISO_639_1))
    custom_fields: dict[str, Any] = field(default_factory=lambda: dict(DEFAULT_CUSTOM_FIELDS))
    external_knowledge_ids: bool = False
    dates_shown: str = "%d/%m/%Y"
    dates_taken: tuple[str, ...] = ("dd/mm/yyyy",)
    counts_off: bool = False
    refused_in_unchanged: bool = False
    errors_each: int = 1
    dots_cut: bool = False
    uninvited: tuple[str, ...] = ()


class RowError(Exception):
    """Why a row cannot be saved; `missing` where a required field is absent altogether, `unknown` where no
    page names the field."""

    def __init__(self, reason: str, *, missing: bool = False, unknown: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = 400 if missing or unknown else 422


@dataclass(frozen=True, slots=True)
class Enrolment:
    """One enrolment as asked for: the whole code, the item's own code, and its dates."""

    code: str
    item: str
    due: date | None
    conquered: date | None
    certified: date | None


@dataclass(frozen=True, slots=True)
class Row:
    """A checked row: the values to store, in read form, the enrolments, and whether an invitation is wanted."""

    changes: Mapping[str, Any]
    enrolments: tuple[Enrolment, ...]
    send_invitation: bool


def is_email(text: str) -> bool:
    """Whether a text is an email address."""
    return _EMAIL.fullmatch(text) is not None


def day_first(value: object) -> date | None:
    """The date of a `dd/mm/yyyy` text, or None."""
    match = _DAY_FIRST.fullmatch(value) if isinstance(value, str) else None
    return _date(match.group(3), match.group(2), match.group(1)) if match else None


def iso_date(value: object) -> date | None:
    """The date of a `yyyy-mm-dd` text, or None."""
    match = _ISO_DATE.fullmatch(value) if isinstance(value, str) else None
    return _date(match.group(1), match.group(2), match.group(3)) if match else None


def _date(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


def stamp(moment: datetime) -> str:
    """A moment as the vendor prints it: milliseconds and the portal's offset."""
    return moment.astimezone(SYDNEY).isoformat(timespec="milliseconds")


def label(name: str) -> str:
    """A field's name as it begins an error message: `first_name` → `First name`."""
    return name.replace("_", " ").capitalize()


def read_row(row: Mapping[str, Any], options: TribalHabitsOptions, today: date, *, creating: bool) -> Row:
    """Checks one row against the create page (`creating`) or the update page.

    `user_name` is taken only when creating: the update page does not name it. Raises `RowError`.
    """
    if creating:
        for name in REQUIRED:
            if name not in row:
                raise RowError(f"{label(name)} is required", missing=True)
    changes: dict[str, Any] = {}
    for name, value in row.items():
        if name == "send_invitation" or name.startswith("enrolment_code_"):
            continue
        check = _check_of(name, options, creating=creating)
        if check is None:
            raise RowError(f"{name} is an unknown field", unknown=True)
        changes[name] = check(name, value, options, today)
    return Row(changes, read_enrolments(row), _invitation(row))


def _invitation(row: Mapping[str, Any]) -> bool:
    value = row.get("send_invitation", False)
    if not isinstance(value, bool):
        raise RowError("Send invitation must be true or false")
    return value


_Check = Callable[[str, Any, TribalHabitsOptions, date], Any]


def _check_of(name: str, options: TribalHabitsOptions, *, creating: bool) -> _Check | None:
    if name in options.custom_fields:
        return _custom
    if name == "user_name" and not creating:
        return None
    if creating and name not in _ON_CREATE:
        return None
    return _CHECKS.get(name)


def _required_text(name: str, value: Any, _options: TribalHabitsOptions, _today: date) -> str:
    if not isinstance(value, str):
        raise RowError(f"{label(name)} must be a string" if value is not None else f"{label(name)} can't be blank")
    if not value.strip():
        raise RowError(f"{label(name)} can't be blank")
    return value


def _email(name: str, value: Any, options: TribalHabitsOptions, today: date) -> str:
    text = _required_text(name, value, options, today)
    if not is_email(text):
        raise RowError(f"{label(name)} is invalid")
    return text


def _optional_email(name: str, value: Any, options: TribalHabitsOptions, today: date) -> str | None:
    return None if value in (None, "") else _email(name, value, options, today)


def _text(name: str, value: Any, _options: TribalHabitsOptions, _today: date) -> str | None:
    if value is not None and not isinstance(value, str):
        raise RowError(f"{label(name)} must be a string")
    return value or None


def _role(name: str, value: Any, options: TribalHabitsOptions, today: date) -> str:
    return _text(name, value, options, today) or ""


def _type(_name: str, value: Any, _options: TribalHabitsOptions, _today: date) -> str:
    if value not in TYPES:
        raise RowError("Type is not included in the list")
    return str(value)


def _flag(name: str, value: Any, _options: TribalHabitsOptions, _today: date) -> bool:
    if not isinstance(value, bool):
        raise RowError(f"{label(name)} must be true or false")
    return value


def _language(_name: str, value: Any, options: TribalHabitsOptions, _today: date) -> str | None:
    if value not in (None, "", *options.languages):
        raise RowError("Language is not available")
    return value or None


def _frequency(name: str, value: Any, _options: TribalHabitsOptions, _today: date) -> str | None:
    if value not in (None, "", *FREQUENCIES):
        raise RowError(f"{label(name)} is not included in the list")
    return value or None


def _deactivation(_name: str, value: Any, _options: TribalHabitsOptions, today: date) -> str | None:
    if value in (None, ""):
        return None
    day = iso_date(value)
    if day is None:
        raise RowError("Deactivate scheduled date must be yyyy-mm-dd")
    if day <= today:
        raise RowError("Deactivate scheduled date must be in the future")
    return day.isoformat()


def _groups(_name: str, value: Any, _options: TribalHabitsOptions, _today: date) -> str:
    if value is not None and not isinstance(value, str):
        raise RowError("Groups must be a string separated with a semicolon")
    return join_items(value or "")


def _custom(name: str, value: Any, options: TribalHabitsOptions, _today: date) -> Any:
    rule = options.custom_fields[name]
    if value in (None, ""):
        return None
    if rule["type"] == "number":
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            return float(value) if "." in value else int(value)
        if not is_number(value):
            raise RowError(f"{name} is not a number")
        return value
    if not isinstance(value, str):
        raise RowError(f"{name} must be a string")
    if rule["type"] == "date":
        day = day_first(value) or (iso_date(value) if "yyyy-mm-dd" in options.dates_taken else None)
        if day is None:
            raise RowError(f"{name} must be {' or '.join(options.dates_taken)}")
        return day.strftime(options.dates_shown)
    if rule["type"] == "list":
        return _items(name, value, rule.get("items", ()))
    return value


def _items(name: str, value: str, items: Iterable[str]) -> str:
    joined = join_items(value)
    for item in joined.split(";"):
        if item not in items:
            raise RowError(f"{name} has no item {item!r}")
    return joined


def join_items(value: str) -> str:
    """The names of an `A;B` text, trimmed, each once, in their order."""
    return ";".join(dict.fromkeys(part.strip() for part in value.split(";") if part.strip()))


def read_enrolments(row: Mapping[str, Any]) -> tuple[Enrolment, ...]:
    """The `enrolment_code_1` … `_5` of a body with their dates (`dd/mm/yyyy`).

    Raises `RowError`; whether the item exists is not checked here.
    """
    found: list[Enrolment] = []
    named: set[str] = set()
    for number in range(1, 6):
        key = f"enrolment_code_{number}"
        named |= {key, *(f"{key}_{part}_date" for part in _DATES)}
        dates = {part: _enrolment_date(row, f"{key}_{part}_date") for part in _DATES}
        code = row.get(key)
        if code in (None, ""):
            if any(dates.values()):
                raise RowError(f"{label(key)} is required where it has a date")
            continue
        match = _CODE.fullmatch(code) if isinstance(code, str) else None
        if match is None:
            raise RowError(f"{label(key)} is invalid")
        found.append(Enrolment(code, match.group(1), dates["due"], dates["conquered"], dates["certified"]))
    unknown = [name for name in row if name.startswith("enrolment_code_") and name not in named]
    if unknown:
        raise RowError(f"{unknown[0]} is an unknown field", unknown=True)
    return tuple(found)


_DATES = ("due", "conquered", "certified")


def _enrolment_date(row: Mapping[str, Any], name: str) -> date | None:
    value = row.get(name)
    if value in (None, ""):
        return None
    day = day_first(value)
    if day is None:
        raise RowError(f"{label(name)} must be dd/mm/yyyy")
    return day


def whole(value: Any) -> int | None:
    """A whole number given as a JSON number or as its digits, else None."""
    if is_whole(value):
        return int(value)
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None


_CHECKS: dict[str, _Check] = {
    "user_name": _required_text,
    "first_name": _required_text,
    "last_name": _required_text,
    "email": _email,
    "type": _type,
    **dict.fromkeys(MANAGERS, _optional_email),
    "mentor_email": _optional_email,
    "language": _language,
    "lms_learner_id": _text,
    "lms_reference": _text,
    "active": _flag,
    "org_admin": _flag,
    **dict.fromkeys(ROLES, _role),
    "deactivate_scheduled_date": _deactivation,
    "groups": _groups,
    "user_notifications_enabled": _flag,
    **dict.fromkeys(REPORTS, _frequency),
}
_ON_CREATE = frozenset(_CHECKS) - {"user_notifications_enabled", *REPORTS}
