"""External knowledge: one record of one person in a request, made once.

Source: page "External Knowledge" of the Public API V1. No published answer carries an id or a `user_name`, so a record
can be neither found again nor updated. The form of `expires` is not published: *assumed* that of `date_obtained`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

from provisioner.model.attributes import Attribute, InvalidValueError, Type, canonical
from provisioner.model.operation import Operation
from provisioner.model.outcome import Done, Outcome, Permanent
from provisioner.targets.http import Http
from provisioner.targets.responses import Answer
from provisioner.targets.tribal_habits.pages import moment, read_all

PATH = "/papi/external_knowledges"
#: 1 Training, 2 Certification, 3 Qualification, 4 License, 5 Document.
_TYPES: Final = frozenset("12345")
#: Seconds before a record was planned from which its listing is asked for, should clocks differ.
_OVERLAP: Final = 600.0

FIELDS: Mapping[str, Attribute] = {
    field.name: field
    for field in (
        Attribute("knowledge_type", required=True),
        Attribute("title", required=True),
        Attribute("provider", required=True),
        Attribute("date_obtained", Type.DATE, required=True),
        Attribute("document_type"),
        Attribute("code"),
        Attribute("certificate_number"),
        Attribute("country_obtained"),
        Attribute("state_obtained"),
        Attribute("expires", Type.DATE),
        Attribute("qualification_level"),
        Attribute("assessment_score", Type.NUMBER),
        Attribute("total_time", Type.NUMBER),
        Attribute("notes"),
        Attribute("klass"),
        Attribute("skills_attained", Type.SET),
        *(Attribute(f"category_{number}") for number in range(1, 4)),
        *(Attribute(f"category_{number}_points", Type.NUMBER) for number in range(1, 4)),
        *(Attribute(f"category_{number}_time", Type.NUMBER) for number in range(1, 4)),
    )
}
#: What makes a record another one: a certificate renewed on a new day is new, a corrected remark is not. The ledger
#: remembers records by these, in this order.
KEY: Final = ("knowledge_type", "title", "provider", "date_obtained", "code", "certificate_number")
#: The fields by which a record in a listing is known not to be ours.
_TELLING: Final = ("title", "provider", "date_obtained", "code", "certificate_number")


def body(user_name: str, values: Mapping[str, str | None]) -> dict[str, Any]:
    """The request's body: dates ``dd/mm/yyyy``, numbers as numbers."""
    fields: dict[str, Any] = {"user_name": user_name}
    for name, value in values.items():
        if value is not None:
            fields[name] = _spelt(value, FIELDS[name].type)
    return fields


def _spelt(value: str, type_: Type) -> Any:
    if type_ is Type.DATE:
        return f"{date.fromisoformat(value):%d/%m/%Y}"
    if type_ is Type.NUMBER:
        number = Decimal(value)
        return int(number) if number == number.to_integral_value() else float(number)
    return value


async def write(http: Http, operation: Operation) -> Outcome:
    """Make one record."""
    user_name = operation.account
    if not user_name:
        return Permanent("no_account", "the person has no account to give knowledge to")
    if operation.after.get("knowledge_type") not in _TYPES:
        return Permanent("invalid", "knowledge_type must be 1, 2, 3, 4 or 5")
    result = await http.send("POST", PATH, body(user_name, operation.after))
    return Done(account=user_name) if isinstance(result, Answer) else result


async def confirm(http: Http, operation: Operation) -> Outcome | None:
    """Look whether a record was perhaps made since it was planned.

    If no such record appeared it was not, and may be sent. If one did, it may be somebody else's where the answer does
    not name its owner, so a person has to look; it is never sent twice.

    Raises:
        TargetError: the listing could not be read.
    """
    user_name = operation.account
    since = {"updated_at": moment(operation.planned - _OVERLAP)} if operation.planned else None
    alike = [record for record in await read_all(http, PATH, since) if _alike(record, operation.after)]
    if any(record.get("user_name") == user_name for record in alike):
        return Done(account=user_name, note="found done after an unclear answer")
    if all(record.get("user_name") for record in alike):
        return None
    return Permanent(
        "unclear_knowledge",
        "no answer came, and such a record appeared, but Tribal Habits does not say whose it is; "
        "look at the person's external knowledge, and add it by hand if it is missing",
        perhaps=True,
    )


def _alike(record: Mapping[str, Any], wanted: Mapping[str, str | None]) -> bool:
    for name in _TELLING:
        try:
            shown = canonical(record.get(name), FIELDS[name].type)
        except InvalidValueError:
            continue
        if shown != wanted.get(name):
            return False
    return True
