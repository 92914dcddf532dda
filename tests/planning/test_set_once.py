"""`create_only`: what the target refused when we made the account is sent again when another value is wanted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.operation import Kind
from provisioner.model.outcome import Done, Permanent
from provisioner.planning.ledger_update import failure_patch, ledger_patch
from provisioner.planning.refused_once import refused_of
from provisioner.planning.spec import TargetSpec
from tests.planning.support import World, attributes_of, held_by, linked, only, person, spec_of

SOME = st.sampled_from([None, "Learner", "Manager", "Guest"])
ONCE = frozenset({"role_1"})


def spec(**changes: Any) -> TargetSpec:
    rule = {"from": "role", "authority": "create_only"}
    return spec_of(attributes={**attributes_of("tribal_habits"), "role_1": rule}, **changes)


def world(
    refused: str | None, shown: str | None, wanted: str | None = "Manager", *, known: str = "", created: bool = True
) -> World:
    """One person of whom the target refused that role, and shows this one."""
    values = {"role_1": known, **({refused_of("role_1"): refused} if refused is not None else {})}
    return World(
        spec(),
        [person("P1", role=wanted)],
        [held_by("P1", role_1=shown)],
        [linked("P1", created=created, values=values)],
    )


def test_another_value_than_the_refused_one_is_sent() -> None:
    update = only(world("Guest", None).plan())
    # A role alone is an operation of that kind
    assert (update.kind, update.before, update.after) == (Kind.ROLE, {"role_1": None}, {"role_1": "Manager"})
    assert ledger_patch(update, Done("P1"), ONCE)["values"] | {"first_name": ""} == {
        **update.wanted,
        "first_name": "",
        "role_1": "Manager",
        refused_of("role_1"): "",
    }


def test_the_refused_value_is_a_todo() -> None:
    plan = world("manager", None).plan()
    assert plan.operations == ()
    (todo,) = plan.todos
    assert (todo.person, todo.linked) == ("P1", True)
    assert "role_1 'manager' was refused by tribal_habits for the account that we made" in todo.sentence


@given(
    refused=SOME | st.just(""),
    shown=SOME,
    wanted=SOME,
    known=st.sampled_from(["", "Learner"]),
    created=st.booleans(),
)
def test_it_is_the_targets_own_in_every_other_case(
    refused: str | None, shown: str | None, wanted: str | None, known: str, *, created: bool
) -> None:
    """Adopted, taken, set by somebody, or without a value: nothing is sent, and nobody is asked."""
    plan = world(refused, shown, wanted, known=known, created=created).plan()
    open_ = bool(refused) and shown is None and wanted is not None and created
    assert len(plan.operations) == int(open_ and wanted != refused)
    assert len(plan.todos) == int(open_ and wanted == refused)


def test_another_change_takes_no_value_of_it_along() -> None:
    some = world("Manager", None)
    some.people[0] = person("P1", role="Manager", first_name="Eve")
    update = only(some.plan())
    assert update.after == {"first_name": "Eve"}
    assert update.wanted["role_1"] is None
    assert refused_of("role_1") not in ledger_patch(update, Done("P1"), ONCE)["values"]


def test_it_goes_with_another_change() -> None:
    some = world("Guest", None)
    some.people[0] = person("P1", role="Manager", first_name="Eve")
    assert only(some.plan()).after == {"first_name": "Eve", "role_1": "Manager"}


@pytest.mark.parametrize("again", ["Manager", "Guest"])
def test_a_leaver_gets_none_of_it(again: str) -> None:
    some = world("Guest", None)
    some.people[0] = person("P1", "leaver", role=again)
    plan = some.plan()
    assert only(plan).after == {"active": "false"}
    assert plan.todos == ()


def test_a_protected_account_gets_no_role_by_it() -> None:
    some = world("Guest", None)
    some.accounts[0] = held_by("P1", role_1=None, org_admin="true")
    plan = some.plan()
    assert plan.operations == ()
    assert "role_1 should change, but the account is protected" in plan.todos[0].sentence


def test_what_a_create_was_refused_is_remembered() -> None:
    create = only(World(spec(), [person("P1", role="Manager")]).plan())
    kept = Done("P1", learnt={"role_1": None}, carried=False)
    refusal = Permanent("row_refused", "no", kept=kept, refused=("role_1", "groups"))
    values = failure_patch(create, refusal, ONCE)["values"]
    assert (values["role_1"], values[refused_of("role_1")]) == ("", "Manager")
    assert refused_of("groups") not in values
    # Nobody was made, so there is nothing to remember
    assert failure_patch(create, Permanent("row_refused", "no"), ONCE) == {}
    assert refused_of("role_1") not in ledger_patch(create, Done("P1"), ONCE)["values"]


def test_a_second_refusal_is_remembered_too() -> None:
    alone = only(world("Guest", None).plan())
    refusal = Permanent("row_refused", "no")
    assert failure_patch(alone, refusal, ONCE) == {"values": {refused_of("role_1"): "Manager"}}
    assert failure_patch(alone, Permanent("row_refused", "no", perhaps=True), ONCE) == {}
    some = world("Guest", None)
    some.people[0] = person("P1", role="Manager", first_name="Eve")
    both = only(some.plan())
    kept = Done("P1", learnt={"role_1": None}, carried=False)
    values = failure_patch(both, Permanent("row_refused", "no", kept=kept, refused=("role_1",)), ONCE)["values"]
    assert (values["first_name"], values["role_1"], values[refused_of("role_1")]) == ("Eve", "", "Manager")


def test_an_account_that_is_made_again_begins_anew() -> None:
    some = world("Guest", None)
    some.accounts.clear()
    create = only(some.plan())
    assert (create.kind, create.drift) == (Kind.CREATE, True)
    assert ledger_patch(create, Done("P1"), ONCE)["values"][refused_of("role_1")] == ""


def test_what_is_set_once_for_members_is_enforced_of_leavers() -> None:
    """Of one who left already, and whose account does not show it."""
    entry = linked("P1", state="left", created=True, values={"role_1": "Guest", "active": "false"})
    some = World(
        spec(leaver={"active": "FALSE", "role_1": "'Guest'"}),
        [person("P1", "leaver", role="Manager")],
        [held_by("P1", role_1="Manager", active="false")],
        [entry],
    )
    assert only(some.plan()).after == {"role_1": "Guest"}
