"""Does the sandbox hold what the example's roster asks for? A second opinion: nothing of the planning is used here.

`faults` takes the people and what each stand-in holds, as its switchboard tells it, and answers with sentences.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from provisioner.example import DAY_TWO, ROSTER, content, existing_accounts

Person = Mapping[str, str]
State = Mapping[str, Any]

#: The row of the second day that nobody can believe; this person stays as the first day had them.
BAD_ROW: Final = "W10145"
_MODERATOR, _MEMBER, _GUEST = 3, 4, 5


def rows(name: str) -> list[dict[str, str]]:
    """The rows of a roster as they are in the file."""
    return list(csv.DictReader(io.StringIO(content(name).decode())))


def believed(name: str) -> list[dict[str, str]]:
    """Everybody as a sync has to take them: the bad row of the second day counts as unchanged."""
    first = {row["employee_id"]: row for row in rows(ROSTER)}
    if name != DAY_TWO:
        return list(first.values())
    return [first[BAD_ROW] if row["employee_id"] == BAD_ROW else row for row in rows(name)]


def employed(person: Person) -> bool:
    """Whether the person works here."""
    return person["employment_status"] == "active"


def active_accounts(kind: str, state: State) -> int:
    """How many accounts of a stand-in belong to somebody who works here, as the stand-in itself shows it."""
    accounts: Sequence[Mapping[str, Any]] = state["accounts"]
    tests: dict[str, Callable[[Mapping[str, Any]], bool]] = {
        "tribal_habits": lambda account: bool(account["active"]),
        "habitate": lambda account: account["role_id"] != _GUEST and not account["is_bot"],
        "traitly": lambda account: account["plan"] == "Employee",
        "mtribes": lambda account: "employment/left" not in account["tags"],
    }
    return sum(map(tests[kind], accounts))


def faults(people: Iterable[Person], states: Mapping[str, State]) -> list[str]:
    """What is wrong, one sentence each; nothing: every stand-in holds exactly what the roster asks for.

    Args:
        people: as `believed` gives them.
        states: kind → what `Switchboard.state` answers.
    """
    everybody = list(people)
    staff = [person for person in everybody if person["department"] != "Contractors"]
    return [
        *_tribal_habits(staff, states["tribal_habits"]),
        *_habitate(staff, states["habitate"]),
        *_traitly(everybody, states["traitly"]),
        *_mtribes(everybody, states["mtribes"]),
    ]


def _tribal_habits(people: Sequence[Person], state: State) -> Iterator[str]:
    accounts = {account["email"].lower(): account for account in state["accounts"]}
    yield from _count("tribal_habits", len(accounts), state)
    orphans = [account for account in existing_accounts()["tribal_habits"] if account["user_name"] == "trainingroom3"]
    for orphan in orphans:
        found = accounts.pop(orphan["email"], None)
        yield from _differences("tribal_habits", orphan["user_name"], orphan | {"active": True}, found)
    for person in people:
        account = accounts.pop(person["work_email"].lower(), None)
        if not employed(person):
            if account is not None and account["active"]:
                yield f"tribal_habits: {person['employee_id']} left and is still active."
            continue
        wanted = {
            "first_name": person["first_name"],
            "last_name": person["last_name"],
            "active": True,
            "manager_email": person["manager_email"].lower() or None,
            "role_1": "Manager" if "Manager" in person["job_title"] else "Learner",
            "groups": {person["department"], person["location"]},
            "X-Country": person["country"],
        }
        if account is not None:
            account = account | {"groups": set(account["groups"].split(";"))}
        yield from _differences("tribal_habits", person["employee_id"], wanted, account)
    yield from _strangers("tribal_habits", accounts)
    asked = Counter(ask["user_name"] for ask in state["enrolments"])
    for person in people:
        key = person["employee_id"]
        if employed(person) and person["department"] == "Sales" and asked[key] != 1:
            yield f"tribal_habits: {key} was enrolled {asked[key]} times, not once."


def _habitate(people: Sequence[Person], state: State) -> Iterator[str]:
    accounts = {account["username"]: account for account in state["accounts"] if not account["is_bot"]}
    yield from _count("habitate", len(accounts) + 1, state)
    for person in people:
        account = accounts.pop(person["employee_id"].lower(), None)
        if account is not None:
            inside = {board for board, msids in state["boards"].items() if account["msid"] in msids}
            account = account | {"boards": inside}
        if employed(person):
            wanted = {
                "first_name": person["first_name"],
                "last_name": person["last_name"],
                "role_id": _MODERATOR if "Manager" in person["job_title"] else _MEMBER,
                "boards": {person["department"]},
            }
            yield from _differences("habitate", person["employee_id"], wanted, account)
        elif account is not None:
            yield from _differences("habitate", person["employee_id"], {"role_id": _GUEST, "boards": set()}, account)
    yield from _strangers("habitate", accounts)


def _traitly(people: Sequence[Person], state: State) -> Iterator[str]:
    accounts = {account["customer_id"]: account for account in state["accounts"]}
    yield from _count("traitly", len(accounts), state)
    counted = Counter((event["customer_id"], event["name"]) for event in state["events"])
    for person in people:
        key = person["employee_id"]
        account = accounts.pop(key, None)
        if employed(person):
            wanted = {
                "name": f"{person['first_name']} {person['last_name']}",
                "email": person["work_email"].lower(),
                "plan": "Employee",
                "location": person["location"],
                "custom_attributes": {"department": person["department"], "role": person["job_title"]},
            }
            yield from _differences("traitly", key, wanted, account)
        elif account is not None:
            yield from _differences("traitly", key, {"plan": "Leaver"}, account)
        if account is not None:
            for name, times in (("Onboarded", 1), ("Offboarded", 0 if employed(person) else 1)):
                if counted[key, name] != times:
                    yield f"traitly: {key} has {counted[key, name]} events {name!r}, not {times}."
    yield from _strangers("traitly", accounts)


def _mtribes(people: Sequence[Person], state: State) -> Iterator[str]:
    accounts = {account["id"]: account for account in state["accounts"]}
    yield from _count("mtribes", len(accounts), state)
    by_hand = {account["id"]: set(account["tags"]) for account in existing_accounts()["mtribes"]}
    for person in people:
        key = person["employee_id"]
        account = accounts.pop(key, None)
        if account is not None:
            account = account | {"tags": set(account["tags"])}
        if employed(person):
            tags = {f"department/{person['department'].lower()}", f"country/{person['country'].lower()}"}
            wanted = {
                "name": f"{person['first_name']} {person['last_name']}",
                "email": person["work_email"].lower(),
                "tags": tags | by_hand.get(key, set()),
            }
            yield from _differences("mtribes", key, wanted, account)
        elif account is not None:
            yield from _differences("mtribes", key, {"tags": {"employment/left"} | by_hand.get(key, set())}, account)
    yield from _strangers("mtribes", accounts)


def _count(kind: str, distinct: int, state: State) -> Iterator[str]:
    if distinct != len(state["accounts"]):
        yield f"{kind}: {len(state['accounts'])} accounts are of {distinct} people."


def _differences(kind: str, who: str, wanted: Mapping[str, Any], account: Mapping[str, Any] | None) -> Iterator[str]:
    if account is None:
        yield f"{kind}: {who} has no account."
        return
    for name, value in wanted.items():
        if account.get(name) != value:
            yield f"{kind}: {who} has {name} {account.get(name)!r}, not {value!r}."


def _strangers(kind: str, accounts: Iterable[str]) -> Iterator[str]:
    yield from (f"{kind}: the account {name} is nobody's." for name in accounts)
