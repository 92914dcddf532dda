"""`create_only`: what a create could not bring about is sent by updates until it is taken, and then no more."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.operation import Kind
from provisioner.model.outcome import Done
from provisioner.planning.ledger_update import ledger_patch
from provisioner.planning.spec import TargetSpec
from tests.planning.support import World, attributes_of, held_by, linked, only, person, spec_of

SOME = st.sampled_from([None, "Learner", "Manager", "Guest"])


def spec(**changes: Any) -> TargetSpec:
    rule = {"from": "role", "authority": "create_only"}
    return spec_of(attributes={**attributes_of("tribal_habits"), "role_1": rule}, **changes)


def world(acknowledged: str | None, shown: str | None, wanted: str | None = "Manager", **values: str) -> World:
    """One person, whose role the ledger knows so and the target shows so."""
    known = {} if acknowledged is None else {"role_1": acknowledged}
    return World(
        spec(),
        [person("P1", role=wanted)],
        [held_by("P1", role_1=shown)],
        [linked("P1", created=True, values={**known, **values})],
    )


def test_what_the_create_did_not_bring_about_is_sent_until_it_is_taken() -> None:
    some = world("", None)
    update = only(some.plan())
    # A role alone is an operation of that kind
    assert (update.kind, update.before, update.after) == (Kind.ROLE, {"role_1": None}, {"role_1": "Manager"})
    assert ledger_patch(update, Done("P1"))["values"]["role_1"] == "Manager"
    for shown in ("Manager", "Guest", None):
        assert world("Manager", shown).plan().operations == ()


@given(acknowledged=st.sampled_from([None, "", "Learner", "Manager"]), shown=SOME, wanted=SOME)
def test_it_is_the_targets_own_in_every_other_case(
    acknowledged: str | None, shown: str | None, wanted: str | None
) -> None:
    """Adopted, set once, set by somebody else, or without a value: nothing is sent."""
    sent = acknowledged == "" and shown is None and wanted is not None
    assert len(world(acknowledged, shown, wanted).plan().operations) == int(sent)


def test_another_change_takes_no_value_of_it_along() -> None:
    some = world("Learner", "Guest")
    some.people[0] = person("P1", role="Manager", first_name="Eve")
    update = only(some.plan())
    assert update.after == {"first_name": "Eve"}
    assert update.wanted["role_1"] == "Guest"


def test_it_goes_with_another_change() -> None:
    some = world("", None)
    some.people[0] = person("P1", role="Manager", first_name="Eve")
    assert only(some.plan()).after == {"first_name": "Eve", "role_1": "Manager"}


def test_a_leaver_gets_none_of_it() -> None:
    some = world("", None)
    some.people[0] = person("P1", "leaver", role="Manager")
    assert only(some.plan()).after == {"active": "false"}


def test_what_is_set_once_for_members_is_enforced_of_leavers() -> None:
    """Of one who left already, and whose account does not show it."""
    entry = linked("P1", state="left", values={"role_1": "Guest", "active": "false"})
    some = World(
        spec(leaver={"active": "FALSE", "role_1": "'Guest'"}),
        [person("P1", "leaver", role="Manager")],
        [held_by("P1", role_1="Manager", active="false")],
        [entry],
    )
    assert only(some.plan()).after == {"role_1": "Guest"}
