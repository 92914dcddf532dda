"""Sending customers and events, each in a request of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from provisioner.model.account import Account
from provisioner.model.attributes import Attribute, InvalidValueError, Type, canonical, fold, natural
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Done, Outcome, Permanent, Unclear
from provisioner.targets.http import Http
from provisioner.targets.responses import Answer, not_kept, sentence
from provisioner.targets.traitly.attributes import CATALOGUE, CUSTOM, FAMILY, OPTIONAL, REQUIRED, UNQUOTED, flat
from provisioner.targets.traitly.reading import CUSTOMERS, account, rows_of

EVENTS = "/api/v1/event"
#: Seconds by which the vendor's clock may be behind ours.
_CLOCKS_APART: Final = 3600.0


async def save(http: Http, operation: Operation, attribute: Callable[[str], Attribute] = Attribute) -> Outcome:
    """Make a customer, or bring one to what is wanted.

    Args:
        attribute: the attribute of a name, whose type says how a custom attribute is spelt.
    """
    missing = missing_of(operation)
    if missing is not None:
        return missing
    body = customer(operation, attribute)
    answer = await http.send("POST", CUSTOMERS, body)
    if not isinstance(answer, Answer):
        return answer
    rows = rows_of(answer)
    if rows is None:
        return Unclear("malformed_answer", "the answer holds no list of customers")
    shown = next((row for row in rows if str(row.get("customer_id")) == body["customer_id"]), None)
    learnt = {} if shown is None else _differing(account(http.target, shown).values, operation.wanted)
    # What is shown otherwise although it was sent is no acknowledgement of that other value
    unkept = sorted(learnt.keys() & operation.after.keys()) if operation.kind is not Kind.CREATE else []
    kept = {name: value for name, value in learnt.items() if name not in unkept}
    otherwise = {name: learnt[name] for name in unkept}
    return Done(account=body["customer_id"], learnt=kept, unkept=otherwise, note=not_kept(unkept))


def missing_of(operation: Operation) -> Permanent | None:
    """What Traitly demands of every customer and the operation does not give."""
    body = customer(operation)
    missing = [name for name in ("customer_id", *REQUIRED) if not body.get(name)]
    if not missing:
        return None
    return Permanent("missing_required", f"Traitly takes no customer without {' and '.join(missing)}")


def adopted(there: Account, operation: Operation, *, matched: bool) -> Done | Permanent:
    """What a create comes to whose customer is there already: they are taken over as they are, nothing is sent.

    Args:
        matched: whether people are matched by `customer_id`; if not, it is somebody else's for all that we know.
    """
    if not matched:
        return Permanent("taken", f"customer {there.id} is there already, and people are not matched by customer_id")
    if there.untouchable:
        return Permanent("taken", f"customer {there.id} is there already, and is never touched: {there.untouchable}")
    return Done(
        account=there.id,
        learnt={**dict.fromkeys(operation.wanted), **there.values},
        adopted=True,
        note="adopted: the customer was there already, though the listing had not shown them",
    )


def made_or_adopted(there: Account, operation: Operation, match: Sequence[str]) -> Done | Permanent:
    """What an unclear create came to whose customer is there: made by it, if they are as wanted and as new."""
    made_at = float(there.values.get("created_at") or 0)
    new = "created_at" in operation.wanted or made_at >= operation.planned - _CLOCKS_APART
    if new and not _differing(there.values, operation.wanted, of=operation.wanted):
        return Done(account=there.id, learnt=there.values, note="found created after an unclear answer")
    return adopted(there, operation, matched="customer_id" in match)


async def send_event(http: Http, operation: Operation) -> Outcome:
    """Send an event."""
    body = {
        "customer_id": address(operation),
        "name": operation.after.get("name"),
        "created_at": natural(operation.after.get("created_at"), Type.EPOCH),
    }
    missing = [name for name, value in body.items() if value is None]
    if missing:
        return Permanent("missing_required", f"Traitly takes no event without {' and '.join(missing)}")
    answer = await http.send("POST", EVENTS, body)
    if not isinstance(answer, Answer):
        return answer
    rows = rows_of(answer)
    if rows is None:
        return Unclear("malformed_answer", "the answer holds no list of events")
    if any("success" in row and str(row["success"]).lower() not in ("1", "true") for row in rows):
        return Permanent("refused", f"Traitly reports no success: {sentence(answer.json)}")
    return Done(account=operation.account)


def address(operation: Operation) -> str | None:
    """The `customer_id` that an operation is about."""
    return operation.account or operation.wanted.get("customer_id")


def customer(operation: Operation, attribute: Callable[[str], Attribute] = Attribute) -> dict[str, Any]:
    """The whole body of a create or an update: what was observed, with what is wanted laid over it."""
    after = operation.after
    kept = {name: text for name, text in operation.wanted.items() if text is not None or name in after}
    image = {**operation.observed, **kept}
    unquoted = (operation.observed.get(UNQUOTED) or "").split(";")
    body: dict[str, Any] = {"customer_id": address(operation)}
    for name in (*REQUIRED, *OPTIONAL):
        value = natural(image.get(name), CATALOGUE[name].type)
        if name in unquoted and isinstance(value, str):
            value = _like(value, 0)
        # A null moment would be read as now
        if value is not None or (name in after and name != "created_at"):
            body[name] = value
    custom = json.loads(operation.observed.get(CUSTOM) or "{}")
    for name, text in operation.wanted.items():
        key = name.removeprefix(FAMILY)
        # An equal value stays as it is
        if key != name and flat(custom.get(key)) != text:
            declared = attribute(name).type
            custom[key] = _like(text, custom.get(key)) if declared is Type.TEXT else natural(text, declared)
    if custom:
        body[CUSTOM] = custom
    return body


def _like(text: str | None, observed: Any) -> Any:
    """A text as the number or boolean that it represents, if it is one and reads the same when it comes back."""
    if isinstance(observed, bool):
        return text == "true" if text in ("true", "false") else text
    if isinstance(observed, (int, float)):
        try:
            return natural(text, Type.NUMBER) if canonical(text, Type.NUMBER) == text else text
        except InvalidValueError:
            return text
    return text


def _differing(
    shown: Mapping[str, str | None], wanted: Mapping[str, str | None], *, of: Collection[str] | None = None
) -> dict[str, str | None]:
    """What is shown and not as wanted, of some attributes or of all that are shown."""
    names = shown if of is None else of
    types = {name: (CATALOGUE.get(name) or Attribute(name)).type for name in names}
    return {
        name: shown.get(name)
        for name in names
        if fold(shown.get(name), types[name]) != fold(wanted.get(name), types[name])
    }
