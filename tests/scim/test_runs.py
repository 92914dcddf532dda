"""Pushed people to the vendor: joiner, mover, leaver, who comes back; the gate, the guards, bursts, keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from provisioner.admin.backup import backup, restore
from provisioner.admin.erase import forget
from provisioner.admin.person_report import story
from provisioner.admin.preflight import check
from provisioner.admin.rekeying import rekey
from provisioner.dispatch.redis_loss import remembers
from provisioner.errors import UsageError
from provisioner.runs.changed_people import MOST, ask_for_changed
from provisioner.runs.pushed_roster import behind, nobody_yet
from provisioner.runtime.context import Deployment
from tests.scim.conftest import WEB_TOKEN, Place, user
from tests.support.harness import carry_out

#: Each is several whole runs.
pytestmark = pytest.mark.timeout(240)

TARGET = "tribal_habits"
#: No guard holds a leaver.
FREE = {"leavers": {"percent": 100}, "window": "0s"}


def _counts(run: dict[str, Any]) -> dict[str, int]:
    return {kind: count for kind, count in run["targets"][TARGET]["succeeded"].items() if count}


def _held(run: dict[str, Any]) -> dict[str, int]:
    return {kind: count for kind, count in run["targets"][TARGET]["held"].items() if count}


def _pushed(place: Place, count: int) -> list[str]:
    """People who are pushed and have accounts."""
    ids = [place.push(number) for number in range(count)]
    place.runs_of_changes()
    # The first clean roster about everybody is what the gate compares with
    assert place.sync()["status"] == "succeeded"
    return ids


def test_each_change_has_its_run(make_place: Callable[..., Place]) -> None:
    place = make_place(guards=FREE)
    id_ = place.push(1)
    (joined,) = place.runs_of_changes()
    assert (joined["trigger"], _counts(joined)) == ("scim", {"create": 1})
    assert place.accounts() == {"E1": True}
    assert joined["roster"]["source"] == {"kind": "url", "name": "the people pushed to /scim/v2", "since": None}
    # Once more is nothing to do
    assert place.runs_of_changes() == []

    place.patch(id_, "replace", "title", "Sales Manager")
    (moved,) = place.runs_of_changes()
    assert sum(_counts(moved).values()) == 1
    assert place.switchboard.accounts(TARGET)[0]["role_1"] == "Manager"

    place.patch(id_, "Replace", "active", "False")
    (left,) = place.runs_of_changes()
    assert _counts(left) == {"leave": 1}
    assert place.accounts() == {"E1": False}

    place.patch(id_, "replace", None, {"active": True})
    (back,) = place.runs_of_changes()
    assert _counts(back) == {"rejoin": 1}
    assert place.accounts() == {"E1": True}

    place.ask("DELETE", f"/Users/{id_}")
    assert _counts(place.runs_of_changes()[0]) == {"leave": 1}
    # A new resource of the same key is the same person
    place.push(1)
    assert _counts(place.runs_of_changes()[0]) == {"rejoin": 1}
    assert place.accounts() == {"E1": True}
    assert _counts(place.sync()) == {}


def test_a_deactivated_person_leaves_whatever_employed_says(make_place: Callable[..., Place]) -> None:
    place = make_place(reading={"employed": "userType = 'Staff'"}, guards=FREE)
    ids = [place.push(number, userType="Staff") for number in range(12)]
    place.runs_of_changes()
    place.sync()
    # A leave by a text that no roster held yet is held, but not that of somebody who was deactivated besides
    place.patch(ids[0], "replace", None, {"active": False, "userType": "Gone"})
    assert _counts(place.runs_of_changes()[0]) == {"leave": 1}
    place.patch(ids[1], "replace", "active", False)
    assert _counts(place.runs_of_changes()[0]) == {"leave": 1}
    # And without a word on whether somebody works here the push is refused
    assert place.patch(ids[2], "remove", "userType").status_code == 400
    assert place.ask("GET", f"/Users/{ids[2]}").json()["userType"] == "Staff"


def test_nobody_leaves_by_silence(make_place: Callable[..., Place]) -> None:
    place = make_place(reading={"absence": {"snapshots": 1, "grace": "0s"}})
    _pushed(place, 5)
    # As by a hand that takes one out of Redis
    gone = place.work(lambda dep: dep.pushed_people.by_key("e3"))
    assert gone is not None
    place.work(lambda dep: dep.pushed_people.forget("E3", "e3"))
    statuses = []
    for number in range(3):
        place.push(100 + number)
        place.runs_of_changes()
        statuses.append(place.sync()["status"])
    assert statuses == ["succeeded"] * 3
    assert place.accounts()["E3"] is True


def test_a_mass_of_deletes_is_held_by_guard_and_gate(make_place: Callable[..., Place]) -> None:
    place = make_place(guards={"leavers": {"percent": 10}})
    ids = _pushed(place, 40)
    sent, held = 0, 0
    for id_ in ids[:10]:
        place.ask("DELETE", f"/Users/{id_}")
        (run,) = place.runs_of_changes()
        sent += _counts(run).get("leave", 0)
        held += _held(run).get("leave", 0)
    # Ten per cent of forty went out, one by one; the rest is held, first by the guard, then by the gate, too
    assert (sent, list(place.accounts().values()).count(False)) == (4, 4)
    whole = place.sync()
    assert (whole["status"], whole["roster"]["accepted"]) == ("held", False)
    assert "10 people are newly leaving" in whole["roster"]["degraded"][0]
    assert _held(whole)["leave"] == 6
    accepted = place.sync(accept=whole["roster"]["digest"])
    assert (accepted["roster"]["accepted"], _held(accepted)["leave"]) == (True, 6)
    assert list(place.accounts().values()).count(False) == 4
    # A joiner is not kept waiting by that
    place.push(99)
    assert _counts(place.runs_of_changes()[0]) == {"create": 1}


def test_a_burst_is_few_runs(place: Place) -> None:
    for number in range(MOST + 30):
        place.push(number)
    runs = place.runs_of_changes()
    assert len(runs) == 1
    assert _counts(runs[0]) == {"create": MOST + 30}
    assert len(place.accounts()) == MOST + 30


def test_changes_wait_for_the_run_before(place: Place) -> None:
    place.push(1)

    async def ask(dep: Deployment) -> tuple[str | None, bool]:
        asked = await ask_for_changed(dep)
        return asked.run, asked.more

    first, more = place.work(ask)
    assert (first is None, more) == (False, False)
    place.push(2)
    # The first has not begun, so another would be one run too many
    assert place.work(ask) == (None, True)
    place.work(lambda dep: carry_out(dep, str(first)))
    second, _ = place.work(ask)
    assert second not in (None, first)
    # A planner that died between its steps asks once more, which harms nothing
    assert place.work(lambda dep: dep.changed_people.count()) == 0


def test_what_changes_while_its_run_is_asked_for_goes_on_waiting(place: Place) -> None:
    id_ = place.push(1)
    before = place.work(lambda dep: dep.changed_people.first(10))
    place.patch(id_, "replace", "title", "Lead")
    place.work(lambda dep: dep.changed_people.taken(before, "run"))
    assert list(place.work(lambda dep: dep.changed_people.first(10))) == ["E1"]


def test_another_key_is_the_same_person(place: Place) -> None:
    ids = _pushed(place, 3)
    assert place.patch(ids[0], "replace", "externalId", "NEW").status_code == 200
    (run,) = place.runs_of_changes()
    assert run["status"] == "succeeded"
    assert len(place.accounts()) == 3
    links = {key.decode() for key in place.contents.ledger(TARGET)}
    assert links == {"NEW", "E1", "E2"}
    place.patch(ids[0], "replace", "active", False)
    assert _counts(place.runs_of_changes()[0]) == {"leave": 1}


def test_another_user_name_is_no_other_person(place: Place) -> None:
    ids = _pushed(place, 2)
    place.patch(ids[0], "replace", "userName", "married@example.com")
    (run,) = place.runs_of_changes()
    assert run["status"] == "succeeded"
    assert len(place.accounts()) == 2


def test_somebody_made_again_under_another_key_is_held_until_rekey(place: Place) -> None:
    ids = _pushed(place, 12)
    place.ask("DELETE", f"/Users/{ids[0]}")
    place.ask("POST", "/Users", user(0, externalId="OTHER"))
    place.runs_of_changes()
    assert len(place.accounts()) == 12
    place.work(lambda dep: rekey(dep, "E0", "OTHER", by="test"))
    place.sync()
    place.sync()
    assert len(place.accounts()) == 12
    assert place.accounts()["E0"] is True
    # The old resource does not make a leaver of the old key again
    assert place.work(lambda dep: dep.pushed_people.by_key("e0")) is None


def test_why_tells_of_somebody_right_after_their_run(place: Place) -> None:
    _pushed(place, 2)
    place.push(7)
    place.runs_of_changes()
    found = place.work(lambda dep: story(dep, "E7"))
    assert found["person"] == "E7"
    assert "Ng7" in json.dumps(found)
    with pytest.raises(UsageError):
        place.work(lambda dep: story(dep, "E8"))


def test_who_is_forgotten_is_gone(place: Place) -> None:
    ids = _pushed(place, 3)
    done = place.work(lambda dep: forget(dep, "E1", by="test"))
    assert done.erased["pushed"] == 1
    assert place.ask("GET", f"/Users/{ids[1]}").status_code == 404
    assert not any(b"Ng1" in content for content in place.contents.dumps().values())
    assert not any(b"u1@example.com" in content for content in place.contents.dumps().values())
    # Pushed and forgotten before any run, too; what is due then concerns nobody
    place.push(50)
    assert place.work(lambda dep: forget(dep, "E50", by="test")).erased["pushed"] == 1
    assert place.runs_of_changes() == []
    # Somebody whom a change names and nobody knows any more is no fault of a run
    place.work(lambda dep: dep.changed_people.hear("hook", ["E1"]))
    (run,) = place.runs_of_changes()
    assert run["status"] == "succeeded"


def test_a_backup_brings_people_back_and_doubts_them(place: Place, tmp_path: Any) -> None:
    ids = _pushed(place, 3)
    place.ask("DELETE", f"/Users/{ids[2]}")
    place.runs_of_changes()
    place.work(lambda dep: remembers(dep))
    place.work(lambda dep: backup(dep, tmp_path / "b"))
    later = place.push(4)
    place.runs_of_changes()
    place.work(lambda dep: restore(dep, tmp_path / "b", force=True))
    assert place.ask("GET", f"/Users/{later}").status_code == 404
    assert place.ask("GET", "/Users").json()["totalResults"] == 2
    assert place.ask("GET", '/Users?filter=userName%20eq%20"u1@example.com"').json()["Resources"][0]["id"] == ids[1]
    assert place.ask("POST", "/Users", user(8, externalId="E1")).status_code == 409
    # The identity provider does not push again by itself
    sentence = place.work(lambda dep: behind(dep))
    assert sentence is not None
    assert "Restart provisioning" in sentence


def _lines(place: Place) -> dict[str, Any]:
    async def look(dep: Deployment) -> dict[str, Any]:
        return {f"{one.subject} {one.verdict}": one for one in await check(dep.settings, connect=False)}

    return place.work(look)


def test_a_redis_that_lost_people_holds_leavers_and_says_so(make_place: Callable[..., Place]) -> None:
    place = make_place(guards=FREE)
    ids = _pushed(place, 6)
    ready = place.client.get("/readyz?only=redis")
    assert ready.status_code == 200
    assert _lines(place)["roster ok"].exit_code == 0
    place.work(lambda dep: dep.mark.note_loss("word", 1.0))
    place.patch(ids[0], "replace", "active", False)
    (run,) = place.runs_of_changes()
    assert _held(run) == {"leave": 1}
    place.push(70)
    assert _counts(place.runs_of_changes()[0]) == {"create": 1}
    lines = _lines(place)
    assert (lines["roster source fail"].exit_code, lines["roster warn"].exit_code) == (4, 4)
    assert "does not come again by itself" in lines["roster source fail"].message
    whole = place.sync()
    assert (whole["status"], whole["roster"]["accepted"]) == ("held", False)
    assert "lost its data" in whole["roster"]["degraded"][0]
    # Once somebody says that all are there
    accepted = place.sync(accept=whole["roster"]["digest"])
    assert (accepted["roster"]["accepted"], _counts(accepted)) == (True, {"leave": 1})
    assert place.sync()["roster"]["degraded"] == []
    assert "roster source fail" not in _lines(place)


def test_before_anybody_was_pushed(place: Place) -> None:
    assert place.work(lambda dep: nobody_yet(dep)) is True
    run = place.sync()
    assert run["status"] == "rejected"
    assert "Nobody was pushed to /scim/v2 yet." in run["error"]["message"]
    lines = _lines(place)
    assert lines["roster fail"].exit_code == 3
    place.push(1)
    assert place.work(lambda dep: nobody_yet(dep)) is False
    # Where all were lost it is no beginning
    place.contents.delete_ours()
    place.work(lambda dep: dep.mark.note_loss("word", 1.0))
    assert place.work(lambda dep: nobody_yet(dep)) is False


def test_the_first_load_in_any_pieces_trips_nothing(place: Place) -> None:
    """Runs about everybody that begin in the middle of it see growing rosters."""
    for number in range(30):
        place.push(number)
        if number in (0, 1, 7, 20):
            assert place.sync()["status"] == "succeeded"
    (run,) = place.runs_of_changes()
    assert run["status"] == "succeeded"
    assert len(place.accounts()) == 30


def test_a_roster_of_a_file_before_is_not_taken_away(place: Place) -> None:
    """Whoever goes over from a file to pushes has all people known, and pushes them one after the other."""
    header = "employee_id,first_name,last_name,work_email,department,job_title,location,country,language"
    rows = [f"E{n},Ada,Ng{n},u{n}@example.com,Engineering,Engineer,,," for n in range(20)]
    file = "\n".join([header, *rows]) + "\n"
    place_of_file = place.settings.model_copy(
        update={"roster": place.settings.roster.model_copy(update={"url": "f.csv", "rename": {}, "previous_key": None})}
    )
    by_file = Place(place_of_file, place.client, place.switchboard, place.contents)
    assert _counts(by_file.sync(content=file.encode())) == {"create": 20}
    place.push(1)
    (run,) = place.runs_of_changes()
    whole = place.sync()
    assert "shrank from 20 people to 1" in whole["roster"]["degraded"][0]
    assert sum(place.accounts().values()) == 20
    for number in range(20):
        if number != 1:
            place.push(number)
    place.runs_of_changes()
    assert place.sync()["status"] == "succeeded"
    assert sum(place.accounts().values()) == 20
    assert run["status"] in ("succeeded", "held")


def test_readiness_says_that_people_may_be_missing(place: Place) -> None:
    place.push(1)
    place.work(lambda dep: dep.mark.note_loss("word", 1.0))
    place.work(lambda dep: dep.heartbeats.ticked())
    answer = place.client.get("/readyz")
    assert answer.status_code == 503
    assert place.client.get("/readyz?only=redis").status_code == 200
    page = place.client.get("/api/runs", headers={"Authorization": f"Bearer {WEB_TOKEN}"})
    assert page.status_code == 200
