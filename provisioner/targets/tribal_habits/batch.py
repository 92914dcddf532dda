"""One `batch_save`: its rows, and what its answer says of each of them. Pure.

Source: page "Batch create / update" of the Public API V1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from provisioner.model.attributes import Type
from provisioner.model.operation import AccountChange, Kind
from provisioner.model.outcome import Done, Outcome, Permanent, Unclear
from provisioner.targets.responses import Answer, sentence
from provisioner.targets.tribal_habits import enrolments
from provisioner.targets.tribal_habits.attributes import CATALOGUE, NEVER_EMPTY, spell

#: The code of a row in `error_list`.
REFUSED = "row_refused"
#: How the message of such a row begins.
SAID = "Tribal Habits refused the row: "
UNACCOUNTED = Unclear("rows_unaccounted", "batch_save's counts do not agree with its list of errors and the rows sent")
_COUNTS = ("created", "updated", "unchanged")


def row(operation: AccountChange, types: Mapping[str, Type] | None = None) -> dict[str, Any] | Permanent:
    """What is sent of one operation: all that is known for a create, else only what changes.

    Args:
        types: the declared types of custom fields.

    An unmatched `user_name` would be created by the vendor, so a create without its required fields is refused here.
    """
    if operation.kind is Kind.CREATE:
        new = _new_row(operation.wanted, types or {})
        return new if isinstance(new, Permanent) else {**new, **enrolments.fields(operation.carries)}
    if not operation.account:
        return Permanent("no_account", "the operation names no account")
    changes: dict[str, Any] = {"user_name": operation.account}
    for name, value in operation.after.items():
        attribute = CATALOGUE.get(name)
        if attribute is not None and not attribute.on_update:
            continue
        if value is None and name in NEVER_EMPTY:
            return Permanent("cannot_be_empty", f"Tribal Habits offers no way to empty {name}; map a value to it")
        changes[name] = spell(name, value, (types or {}).get(name))
    return {**changes, **enrolments.fields(operation.carries)}


def _new_row(wanted: Mapping[str, str | None], types: Mapping[str, Type]) -> dict[str, Any] | Permanent:
    missing = [name for name, attribute in CATALOGUE.items() if attribute.required and not wanted.get(name)]
    if missing:
        return Permanent("incomplete", f"Tribal Habits creates nobody without {', '.join(missing)}")
    return {
        name: spell(name, value, types.get(name))
        for name, value in wanted.items()
        if value is not None and _on_create(name)
    }


def _on_create(name: str) -> bool:
    attribute = CATALOGUE.get(name)
    return attribute is None or attribute.on_create


def not_sent(operation: AccountChange) -> dict[str, str | None]:
    """The wanted values that a create cannot take; they are still empty afterwards, so the next plan updates them."""
    if operation.kind is not Kind.CREATE:
        return {}
    return {name: None for name, value in operation.wanted.items() if value is not None and not _on_create(name)}


def outcomes(
    operations: Sequence[AccountChange],
    rows: Sequence[Mapping[str, Any]],
    answer: Answer,
    invitations: str = "none",
) -> Sequence[Outcome]:
    """The outcome of each row by a 2xx answer: rows in `error_list` were refused, all others were carried out.

    The list is the vendor's word, the counts are a hint: the page's own sample does not add up. Where they disagree,
    the rows that the list does not name are unclear. An answer that names somebody who was not sent makes all of them
    so: nobody could tell whom it means.

    Args:
        invitations: ``new``, ``all``, or ``none``.
    """
    errors = _errors(answer.json)
    if isinstance(errors, Unclear):
        return [errors] * len(rows)
    accounted = _accounted(answer.json, len(errors), len(rows))
    enrolled = _enrolled(operations, answer.json)
    names = [str(sent["user_name"]) for sent in rows]
    refused: dict[int, str] = {}
    for user_name, reason in errors:
        places = [place for place, name in enumerate(names) if name == user_name] or [
            place for place, name in enumerate(names) if name.lower() == user_name.lower()
        ]
        if not places:
            return [Unclear("unknown_row", "the answer refuses a row that was not sent")] * len(rows)
        refused |= dict.fromkeys(places, reason)
    invited = {
        place
        for place, operation in enumerate(operations)
        if place not in refused and (invitations == "all" or (invitations == "new" and operation.kind is Kind.CREATE))
    }
    note = _uninvited(answer.json.get("invitations_failed"), len(invited))
    return [
        Permanent(REFUSED, f"{SAID}{refused[place]}")
        if place in refused
        else UNACCOUNTED
        if not accounted
        else Done(
            account=names[place],
            learnt=not_sent(operation),
            carried=enrolled,
            note=note if place in invited else None,
        )
        for place, operation in enumerate(operations)
    ]


def _uninvited(failed: Any, invited: int) -> str | None:
    """The remark about people of whom some got no invitation; the answer counts them, and names nobody."""
    if not isinstance(failed, int) or isinstance(failed, bool) or failed <= 0 or not invited:
        return None
    if failed >= invited:
        return "Tribal Habits could not send the invitation; send it there by hand"
    return f"Tribal Habits could not send {failed} of {invited} invitations, not saying whose; see there who has none"


def _enrolled(operations: Sequence[AccountChange], body: Mapping[str, Any]) -> bool:
    """Whether the enrolments that travelled in the rows were made, by the answer's count of them.

    The pages do not say whether it counts people or enrolments, nor what it counts of those that were there before. So
    only a count of none is taken to mean that rows carry no enrolments on this portal.
    """
    count = body.get("enrolled")
    travelled = any(operation.carries for operation in operations)
    return not travelled or (isinstance(count, int) and not isinstance(count, bool) and count > 0)


def _accounted(body: Mapping[str, Any], refused: int, rows: int) -> bool:
    """Whether the counts of an answer agree with its list of errors and add up to the rows sent."""
    counts = [body.get(name) for name in (*_COUNTS, "errors")]
    if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
        return False
    return counts[-1] == refused and sum(count for count in counts if count is not None) == rows


def _errors(body: Any) -> list[tuple[str, str]] | Unclear:
    """`user_name` and reason of each refused row."""
    if not isinstance(body, dict):
        return Unclear("malformed_answer", "batch_save answered no JSON object")
    listed = body.get("error_list", [])
    if not isinstance(listed, list):
        return Unclear("malformed_answer", "batch_save's answer holds no list of errors")
    found: list[tuple[str, str]] = []
    for item in listed:
        if not isinstance(item, dict) or item.get("user_name") in (None, ""):
            return Unclear("unknown_row", "the answer refuses a row without naming it")
        found.append((str(item["user_name"]), sentence(item) or "no reason given"))
    return found
