"""People who are pushed while the worker and the web are killed: what was answered is kept, and all of it is done."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.pushed import Pushed, pushed
from tests.e2e.site import eventually
from tests.scim.conftest import user

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: How often something is killed, and how many people are pushed meanwhile.
KILLS: Final = 4
EACH_TIME: Final = 12
PEOPLE: Final = KILLS * EACH_TIME
#: Of each so many one leaves by `active: false`, one by a deletion, one moves, one comes back.
EVERY: Final = 8
#: So slow that something is always being sent while people are pushed.
SLOW_MS: Final = 300
WIDE: Final = {"leavers": {"percent": 100}, "updates": {"percent": 100}, "removals": {"percent": 100}, "window": "0s"}


class Client:
    """An identity provider: it pushes one after the other, and sends again what was not answered.

    `truth`: by our key whether the person is there and active, and their title, as the service acknowledged it.
    """

    def __init__(self, it: Pushed) -> None:
        self._it = it
        self.truth: dict[str, tuple[bool, str]] = {}
        self.unanswered = 0
        self.may = threading.Semaphore(0)
        self.done = threading.Event()
        self.wrong: list[str] = []
        self.pushed = 0

    def run(self) -> None:
        """All days, in a thread of its own."""
        try:
            for place in range(PEOPLE):
                self.may.acquire()
                self._person(place)
                self.pushed += 1
        except BaseException as exc:
            self.wrong.append(repr(exc))
            raise
        finally:
            self.done.set()

    def _ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        while True:
            status, document = self._it.ask(method, path, body)
            if status not in (0, 503):
                return status, document
            self.unanswered += 1
            assert not self.done.wait(0.1), "the test ended before it was answered"

    def _id_of(self, place: int) -> str:
        """Whoever was made though nobody said so is found, as identity providers do it."""
        status, document = self._ask("POST", "/Users", user(place))
        if status == 409:
            found = self._ask("GET", f"/Users?filter=externalId%20eq%20%22E{place}%22")[1]
            (document,) = found["Resources"]
        else:
            assert status == 201, document
        return str(document["id"])

    def _change(self, id_: str, value: dict[str, Any]) -> None:
        status, document = self._ask("PATCH", f"/Users/{id_}", {"Operations": [{"op": "replace", "value": value}]})
        assert status == 200, document

    def _person(self, place: int) -> None:
        id_, key = self._id_of(place), f"E{place}"
        self.truth[key] = (True, "Engineer")
        what = place % EVERY
        if what == 1:
            self._change(id_, {"active": False})
            self.truth[key] = (False, "Engineer")
        elif what == 3:
            status, _ = self._ask("DELETE", f"/Users/{id_}")
            assert status in (204, 404)
            self.truth[key] = (False, "Engineer")
        elif what == 5:
            self._change(id_, {"title": "Sales Manager"})
            self.truth[key] = (True, "Sales Manager")
        elif what == 7:
            self._change(id_, {"active": False})
            self._change(id_, {"active": True})


def wrong(it: Pushed, truth: dict[str, tuple[bool, str]]) -> list[str]:
    """What the products hold otherwise than what was acknowledged."""
    accounts = {one["user_name"]: one for one in it.site.switchboard.accounts("tribal_habits")}
    found = [f"{name} is nobody's" for name in accounts.keys() - truth.keys()]
    for key, (there, title) in truth.items():
        account = accounts.get(key)
        if account is None:
            # Whoever left before any run met them gets none
            found += [f"{key} has no account"] if there else []
        elif bool(account["active"]) != there:
            found.append(f"{key} is {'not ' if there else ''}active")
        elif there and account["role_1"] != ("Manager" if "Manager" in title else "Learner"):
            found.append(f"{key} is a {account['role_1']}")
    events = Counter((one["customer_id"], one["name"]) for one in it.site.switchboard.state("traitly")["events"])
    found += [f"{key} has {count} events {name}" for (key, name), count in events.items() if count > 1]
    customers = [one["customer_id"] for one in it.site.switchboard.accounts("traitly")]
    found += [f"{key} is {count} customers" for key, count in Counter(customers).items() if count > 1]
    return found


def test_nothing_answered_is_lost_and_nobody_leaves_by_silence(tmp_path: Path) -> None:
    reading = {"gate": {"max_leaving": "100%"}, "absence": {"snapshots": 1, "grace": "0s"}}
    only = ("tribal_habits", "traitly")
    with pushed(tmp_path, append_only=True, only=only, guards=WIDE, reading=reading) as it:
        for kind in only:
            it.site.switchboard.options(kind, latency_ms=SLOW_MS)
        client = Client(it)
        thread = threading.Thread(target=client.run, daemon=True)
        in_progress = 0
        thread.start()
        try:
            for number in range(KILLS):
                client.may.release(EACH_TIME)
                some = number * EACH_TIME + EACH_TIME // 3
                eventually(lambda some=some: client.pushed >= some, why=it.web.said)  # type: ignore[misc]
                eventually(lambda: any(map(it.site.contents.leased, only)), why=it.worker.said)
                # While something is being sent, and somebody is perhaps being pushed
                it.worker.kill()
                in_progress += any(map(it.site.contents.leased, only))
                it.web.kill()
                it.web = it.site.start("web")
                for kind in only:
                    it.site.expire_leases(kind)
                it.site.contents.end_work_locks()
                it.worker = it.site.start_worker()
            assert client.done.wait(120)
        finally:
            client.done.set()
            client.may.release(PEOPLE)
            thread.join(60)
        assert client.wrong == []
        assert len(client.truth) == PEOPLE
        assert in_progress
        for kind in only:
            it.site.switchboard.options(kind, latency_ms=0)
        eventually(lambda: wrong(it, client.truth) == [], within=120, why=lambda: f"{wrong(it, client.truth)}")
        run = it.site.call("sync", "--wait", "--timeout", "60s")
        assert (run["status"], run["roster"]["people"]) == ("succeeded", PEOPLE)
        assert wrong(it, client.truth) == []
        writes = it.site.writes()
        it.site.call("sync", "--wait", "--timeout", "60s")
        assert it.site.writes() == writes
