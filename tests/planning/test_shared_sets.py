"""Sets that others fill too: what stays, what is taken away, and what waits before it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import ConfigurationError
from provisioner.model.attributes import Type, canonical, members
from provisioner.model.operation import Kind
from provisioner.model.outcome import Done
from provisioner.planning.ledger_update import ledger_patch
from provisioner.planning.spec import TargetSpec
from tests.planning.support import World, attributes_of, held_by, linked, only, person, spec_of

NAMES = ("Sales", "Finance", "Choir", "First aid")
SETS = st.sets(st.sampled_from(NAMES)).map(lambda names: canonical(sorted(names), Type.SET))


def spec(how: str = "merge", **changes: Any) -> TargetSpec:
    attributes = {**attributes_of("tribal_habits"), "groups": {"from": "groups", "set": how, "empty": "clear"}}
    return spec_of(attributes=attributes, **changes)


def folded(text: str | None) -> set[str]:
    return {name.lower() for name in members(text)}


@given(wanted=SETS, held=SETS, ours=SETS, others=SETS)
def test_merge_takes_away_only_what_we_wrote_or_the_mapping_yields(
    wanted: str | None, held: str | None, ours: str | None, others: str | None
) -> None:
    world = World(
        spec(guards={"removals": None}),
        [person("P1", groups=wanted), person("P2", groups=others)],
        [held_by("P1", groups=held), held_by("P2", groups=others)],
        [linked("P1", values={"groups": ours or ""}), linked("P2", values={"groups": others or ""})],
    )
    plan = world.plan()
    mine = [one for one in plan.operations if one.person == "P1"]
    after = folded(mine[0].after["groups"]) if mine else folded(held)
    assert folded(wanted) <= after
    yields = folded(wanted) | folded(ours) | folded(others)
    assert folded(held) - after <= yields
    assert after - folded(wanted) == folded(held) - yields
    if mine:
        # The ledger remembers our part alone
        assert ledger_patch(mine[0], Done("P1"))["values"]["groups"] == (wanted or "")
        world.accounts[0] = held_by("P1", groups=canonical(mine[0].after["groups"], Type.SET))
        world.ledger[0] = linked("P1", values={"groups": wanted or ""})
        assert [one for one in world.plan().operations if one.person == "P1"] == []


def test_an_adopted_account_keeps_what_others_added() -> None:
    people = [person("P1", groups="Sales"), person("P2", groups="Finance")]
    plan = World(spec(guards={"removals": None}), people, [held_by("P1", groups="Choir;Finance")]).plan()
    update = next(one for one in plan.operations if one.person == "P1")
    assert folded(update.after["groups"]) == {"choir", "sales"}


@pytest.mark.parametrize(("how", "after"), [("replace", None), ("merge", "Choir")])
def test_a_leaver_loses_what_the_leavers_rule_says(how: str, after: str | None) -> None:
    leaver = {"active": "FALSE", "groups": {"from": "NULL", "empty": "clear", "set": how}}
    entry = linked("P1", values={"groups": "Sales", "active": "true"})
    leave = only(
        World(spec(leaver=leaver), [person("P1", "leaver")], [held_by("P1", groups="Choir;Sales")], [entry]).plan()
    )
    assert (leave.kind, leave.hold, leave.after["groups"]) == (Kind.LEAVE, None, after)


def company(by_hand: int, *, how: str = "replace", **guards: Any) -> World:
    """A hundred people, of whom some were put into a group by hand."""
    keys = [f"P{number:03d}" for number in range(100)]
    groups = ["Choir;Sales" if number < by_hand else "Sales" for number in range(100)]
    return World(
        spec(how, guards=guards),
        [person(key) for key in keys],
        [held_by(key, groups=held) for key, held in zip(keys, groups, strict=True)],
        [linked(key, values={"groups": "Sales"}) for key in keys],
    )


def test_replace_waits_where_it_would_take_away_much_that_we_never_wrote_and_names_it() -> None:
    world = company(17)
    plan = world.plan()
    assert len(plan.operations) == 17
    assert {one.hold for one in plan.operations} == {plan.guards[0].sentence}
    assert "17 values that we never wrote would be taken away (groups 'Choir' of 17)" in plan.guards[0].sentence
    assert "the limit of 5 (of 117 observed)" in plan.guards[0].sentence
    # What somebody approved goes out, and counts no more
    approved = frozenset(one.id for one in plan.operations)
    assert {one.hold for one in world.plan(approved=approved).operations} == {None}
    assert world.plan(approved=approved).guards == ()
    # Real updates of others are not held with them
    world.people[50] = person("P050", first_name="Eve")
    assert [one.person for one in world.plan().operations if one.hold is None] == ["P050"]


@pytest.mark.parametrize(
    ("by_hand", "how", "guards", "held"),
    [(5, "replace", {}, 0), (6, "replace", {}, 6), (17, "merge", {}, 0), (17, "replace", {"removals": None}, 0)],
)
def test_the_limit_of_removals(by_hand: int, how: str, guards: dict[str, Any], held: int) -> None:
    plan = company(by_hand, how=how, **guards).plan()
    assert sum(1 for one in plan.operations if one.hold) == held
    assert len(plan.operations) == (0 if how == "merge" else by_hand)


def test_what_we_wrote_is_ours_to_take_away() -> None:
    world = company(17)
    world.ledger = [linked(one.person, values={"groups": "Choir;Sales"}) for one in world.ledger]
    plan = world.plan()
    assert len(plan.operations) == 17
    assert {one.hold for one in plan.operations} == {None}


def test_only_a_set_is_merged() -> None:
    with pytest.raises(ConfigurationError, match=r"attributes\.first_name\.set"):
        spec_of(attributes={**attributes_of("tribal_habits"), "first_name": {"from": "first_name", "set": "merge"}})


def test_what_waits_for_an_approval_waits_however_many_runs_see_it() -> None:
    world = company(17)
    for _ in range(4):
        plan = world.plan()
        assert sum(1 for one in plan.operations if one.hold) == 17
        assert plan.todos == ()
        loops = {one.person: {name: loop.to_json() for name, loop in one.loops.items()} for one in plan.loops}
        world.ledger = [replace(one, loops=loops.get(one.person, one.loops)) for one in world.ledger]
