"""Changing members: create, update, role; each step one request, each failure returned as an outcome.

Source: section "Users" of habitate's API page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from provisioner.errors import TargetError, UnauthorisedError
from provisioner.model.attributes import InvalidValueError, fold, members, proves
from provisioner.model.operation import Operation
from provisioner.model.outcome import DELETED_IN_THE_WAY, Done, Outcome, Permanent, Unauthorised, Unclear
from provisioner.targets.habitate.attributes import (
    CATALOGUE,
    CREATE_FIELDS,
    UPDATE_FIELDS,
    create_body,
    read,
    update_body,
    username_fault,
)
from provisioner.targets.habitate.directory import NO_STATUS, Directory, UnknownNameError, myself, role_name
from provisioner.targets.habitate.listing import DELETED_STATUS, USER, USERS, details_of, members_of, values_of
from provisioner.targets.habitate.searching import Search
from provisioner.targets.http import Http
from provisioner.targets.paths import at
from provisioner.targets.responses import Answer, Failure, as_outcome

#: Pages of newest members that are looked through for the one whom a refused create ran into, of each status.
_CONFLICT_PAGES = 4
_UPDATE_ROLE = 101
#: Refusals that speak of the one member who was sent, not of a whole batch that might be halved.
_REFUSED = frozenset({"bad_request", "invalid", "too_large", "refused"})


async def send(http: Http, method: str, path: str, body: Mapping[str, Any]) -> Answer | Failure:
    """Send one write about one member; a 403 is distinguished by asking who we are."""
    result = await http.send(method, path, body, unauthorised=NO_STATUS)
    if isinstance(result, Permanent) and result.code == "forbidden":
        try:
            await myself(http)
        except UnauthorisedError as exc:
            return Unauthorised(exc.message)
        except TargetError as exc:
            return as_outcome(exc)
        return Permanent("forbidden", f"the key is good, but this may not be changed by it: {result.message}")
    if isinstance(result, Permanent) and result.code in _REFUSED:
        return Permanent("row_refused", result.message)
    return result


async def create(http: Http, directory: Directory, operation: Operation) -> Outcome:
    """Create a member and give them the wanted role; boards are left to the caller.

    What is refused after the member exists is reported as `Done` with what they truly hold: the account is linked,
    and the next plan goes on from there. What may work later leaves the create unclear: the member is looked up then,
    and creating is never tried twice.
    """
    wanted = operation.wanted
    fault = await _fault(http, directory, wanted)
    if fault is not None:
        return fault
    result = await send(http, "POST", USERS, create_body(wanted))
    if isinstance(result, Permanent) and result.code == "conflict":
        return await adopt(http, directory, operation, result)
    if not isinstance(result, Answer):
        return result
    try:
        values = read(result.json if isinstance(result.json, dict) else {})
        roles = await directory.roles(http)
    except InvalidValueError as exc:
        return Unclear("malformed_answer", f"the answer to a create is not what the page prints: {exc}")
    except TargetError as exc:
        # The member exists, so this must not look as if nothing had been done
        return Unclear("roles_unknown", f"created, but the roles cannot be read: {exc}")
    held = {**_not_sent(wanted), **_catalogued(values), "role": role_name(roles, values.get("role_id"))}
    return await _with_role(http, directory, wanted, Done(account=str(values["msid"]), learnt=held))


async def _with_role(http: Http, directory: Directory, wanted: Mapping[str, str | None], made: Done) -> Done | Unclear:
    """A member just made, given the wanted role if it is not the one they hold."""
    role, msid = wanted.get("role"), made.account
    type_ = CATALOGUE["role"].type
    if not role or not msid or fold(role, type_) == fold(made.learnt.get("role"), type_):
        return made
    given = await give_role(http, directory, msid, role)
    if isinstance(given, Done):
        return replace(made, learnt={**made.learnt, "role": role})
    note = f"created, but the role is still to be set: {given.message}"
    if isinstance(given, Permanent):
        return replace(made, note=note)
    # Not over, and not to be started over: who was made is looked up first
    return Unclear(given.code, note)


async def _fault(http: Http, directory: Directory, wanted: Mapping[str, str | None]) -> Failure | None:
    """What would go wrong with a create for sure, before anything is sent."""
    missing = [name for name, attribute in CATALOGUE.items() if attribute.required and not wanted.get(name)]
    if missing:
        return Permanent("incomplete", f"habitate creates nobody without {', '.join(missing)}")
    username = wanted.get("username")
    fault = username_fault(username, creating=True) if username else None
    if fault:
        return Permanent("bad_username", fault)
    role = wanted.get("role")
    try:
        if role:
            await directory.role_id(http, role)
        for board in members(wanted.get("boards")):
            await directory.board(http, board)
    except UnknownNameError as exc:
        return Permanent("unknown_name", str(exc))
    except TargetError as exc:
        return as_outcome(exc)
    return None


def _not_sent(wanted: Mapping[str, str | None]) -> dict[str, str | None]:
    """Wanted values that no create takes; they are still empty afterwards, so the next plan updates them."""
    return {name: None for name in UPDATE_FIELDS if wanted.get(name) and name not in CREATE_FIELDS}


async def adopt(http: Http, directory: Directory, operation: Operation, conflict: Permanent) -> Outcome:
    """What a refused create means: an account with the wanted email is taken over, any other conflict is reported."""
    try:
        search = Search(http, directory)
        found = (await search.find(operation.wanted, since=0.0, ours=False, most=_CONFLICT_PAGES)).account
    except TargetError as exc:
        return as_outcome(exc)
    if found is None:
        try:
            deleted = await _deleted_alike(http, operation.wanted)
        except TargetError:
            # It would only have explained the refusal
            deleted = None
        if deleted:
            return Permanent(
                DELETED_IN_THE_WAY,
                f"{conflict.message}; the deleted member {deleted} seems to hold this person's username or email "
                "still. Restore that member in habitate, or ask habitate to erase it",
            )
        return Permanent(
            "taken",
            f"{conflict.message}; no member seen has this email, so an existing member may hold the username, or the "
            "email belongs to a member whose email this key may not see",
        )
    if not proves(CATALOGUE["email"], found.values):
        return Permanent(
            "taken", f"account {found.id} has this email, but habitate has not verified it: it may be a stranger's"
        )
    if found.untouchable:
        return Permanent("taken", f"the email is that of an account never touched: it is {found.untouchable}")
    return Done(
        account=found.id,
        learnt={**dict.fromkeys(operation.wanted), **_catalogued(found.values)},
        adopted=True,
        note="adopted: an account with this email existed",
    )


async def _deleted_alike(http: Http, wanted: Mapping[str, str | None]) -> str | None:
    """The msid of a deleted member with the wanted username, else the only one of that first name; None for none."""
    found = [values_of(http.target, one) for one in await members_of(http, DELETED_STATUS)]
    for name in ("username", "first_name"):
        type_ = CATALOGUE["username"].type
        alike = [one for one in found if wanted.get(name) and fold(one.get(name), type_) == fold(wanted[name], type_)]
        if len(alike) == 1:
            return alike[0]["msid"]
    return None


async def confirm(http: Http, directory: Directory, search: Search, operation: Operation) -> Outcome | None:
    """Look among the members made since the plan whether an unclear create took effect; if so give the wanted role.

    Raises:
        TargetError: the look-up failed.
    """
    wanted = operation.wanted
    search_ended = await search.find(wanted, since=operation.planned, ours=True)
    found = search_ended.account
    if found is not None and not proves(CATALOGUE["email"], found.values):
        return Permanent(
            "create_unclear",
            f"the answer to the create was lost; account {found.id} has this email, but habitate has not verified it: "
            "look whether it is this person, then link it",
        )
    if found is not None and found.untouchable is None:
        shown = {name: None for name in wanted if name in CATALOGUE and CATALOGUE[name].observed}
        held = {**shown, **_not_sent(wanted), **_catalogued(found.values)}
        made = Done(account=found.id, learnt=held, note="found created after an unclear answer")
        return await _with_role(http, directory, wanted, made)
    if search_ended.hidden:
        return Permanent(
            "create_unclear",
            "the answer to the create was lost, and a new member of that name hides the email; look in habitate "
            "whether it is this person, then retry",
        )
    if search_ended.cut:
        return Permanent(
            "create_unclear",
            "the answer to the create was lost, and more members are new than a search goes through; the next full "
            "run sees whether this person is among them",
        )
    return None


def _catalogued(values: Mapping[str, str | None]) -> dict[str, str | None]:
    return {name: value for name, value in values.items() if name in CATALOGUE}


async def give_role(http: Http, directory: Directory, msid: str, role: str | None) -> Done | Failure:
    """Set a member's role by its name."""
    if not role:
        return Permanent("cannot_be_empty", "every habitate member has a role; map one")
    try:
        role_id = await directory.role_id(http, role)
    except UnknownNameError as exc:
        return Permanent("unknown_role", str(exc))
    except TargetError as exc:
        return as_outcome(exc)
    body: dict[str, Any] = {"action": _UPDATE_ROLE, "data": {"role_id": role_id}}
    if http.run:
        body["details"] = f"provisioner, run {http.run}"
    result = await send(http, "PATCH", at(USER, msid), body)
    return Done(account=msid) if isinstance(result, Answer) else result


async def update(http: Http, operation: Operation) -> Done | Failure:
    """Send every writable field of a member, since those that are absent may be cleared.

    What we do not manage is read right before: members change it themselves, and an older copy would undo that.
    """
    if "username" in operation.after:
        username = operation.after["username"]
        fault = username_fault(username, creating=False) if username else "habitate members always have a username"
        if fault:
            return Permanent("bad_username", fault)
    msid = operation.account or ""
    try:
        shown = await details_of(http, msid)
    except TargetError as exc:
        return as_outcome(exc)
    if shown is None:
        return Permanent("not_found", "nobody is there")
    body = update_body(operation.wanted, operation.after, shown)
    if not body.get("first_name"):
        return Permanent("incomplete", "habitate updates nobody without first_name; map it")
    result = await send(http, "PUT", at(USER, msid), body)
    return Done(account=msid, unkept=_shown_otherwise(result, operation)) if isinstance(result, Answer) else result


def _shown_otherwise(answer: Answer, operation: Operation) -> dict[str, str | None]:
    """What the answer to an update shows otherwise than it was sent; an absent field may be one that is hidden."""
    try:
        shown = read(answer.json) if isinstance(answer.json, dict) else {}
    except InvalidValueError:
        return {}
    if shown.get("msid") != operation.account:
        return {}
    return {
        name: shown[name]
        for name, value in operation.after.items()
        if name in shown
        and name in UPDATE_FIELDS
        and fold(shown[name], CATALOGUE[name].type) != fold(value, CATALOGUE[name].type)
    }
