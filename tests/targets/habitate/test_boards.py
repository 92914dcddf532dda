"""habitate: the boards of a member, which are a request of their own."""

from __future__ import annotations

import pytest

from provisioner.model.operation import Kind
from provisioner.model.outcome import Done, Permanent, Temporary, Unclear
from provisioner.targets.habitate import boards
from tests.targets.bench import Bench, change
from tests.targets.habitate.support import (
    GUEST,
    MODERATOR,
    create,
    done,
    image,
    leave,
    made,
    on_board,
    only,
    state,
)


def test_role_and_boards_are_part_of_a_create(bench: Bench) -> None:
    outcomes = bench.write(create(1, role="moderator", boards="Sales;people"), create(2, boards="sales"))
    assert all(isinstance(outcome, Done) and outcome.note is None for outcome in outcomes)
    assert state(bench)["p1@example.com"]["role_id"] == MODERATOR
    assert on_board(bench, "Sales") == {"p1@example.com", "p2@example.com"}
    assert on_board(bench, "People") == {"p1@example.com"}
    assert bench.writes == 2 + 1 + 2


@pytest.mark.parametrize(("status", "times"), [(500, 2), (503, 1), (429, 1)])
def test_a_create_whose_boards_fail_is_brought_to_its_end_later(bench: Bench, status: int, times: int) -> None:
    bench.fault(match={"method": "PUT", "path_prefix": "/api/v1/boards/2/"}, status=status, times=times)
    operation = create(1, boards="Sales;People")
    assert isinstance(only(bench.write(operation)), Unclear)
    assert "boards" not in done([bench.confirm(operation)]).learnt
    assert on_board(bench, "Sales") == on_board(bench, "People") == {"p1@example.com"}


def test_boards_whose_answer_is_lost_once_are_changed_again_at_once(bench: Bench) -> None:
    bench.fault(match={"method": "PUT", "path_prefix": "/api/v1/boards/2/"}, drop="after", times=1)
    assert "boards" not in done(bench.write(create(1, boards="Sales;People"))).learnt
    assert on_board(bench, "Sales") == {"p1@example.com"}


def test_a_created_member_is_linked_even_if_a_board_is_refused(bench: Bench) -> None:
    bench.fault(match={"method": "PUT", "path_prefix": "/api/v1/boards/2/"}, status=400)
    outcome = done(bench.write(create(1, boards="Sales;People")))
    assert outcome.learnt["boards"] == "People"
    assert "boards" in (outcome.note or "")


def test_whoever_was_changed_before_the_limit_was_hit_is_not_done_without_their_boards(bench: Bench) -> None:
    bench.fault(match={"method": "POST"}, status=429, share=0.5, times=None, seed=1)
    outcomes = bench.write(*(create(number, boards="Sales") for number in range(1, 7)))
    made = {one["email"] for one in bench.board.accounts(bench.name)}
    assert 0 < len(made) < 6
    for number, outcome in enumerate(outcomes, 1):
        assert isinstance(outcome, Unclear if f"p{number}@example.com" in made else Temporary)


def test_a_leaver_loses_role_and_boards(bench: Bench) -> None:
    msid = made(bench, boards="Sales;People")
    done(bench.write(leave(msid)))
    assert state(bench)["p1@example.com"]["role_id"] == GUEST
    assert on_board(bench, "Sales") == on_board(bench, "People") == set()


def test_a_board_that_is_gone_keeps_nobody_from_leaving(bench: Bench) -> None:
    assert done(bench.write(leave(made(bench), "Nowhere"))).note is None


def test_a_refused_role_does_not_keep_a_leaver_in_their_boards(bench: Bench) -> None:
    msid = made(bench, boards="Sales")
    bench.board.options(bench.name, forbidden=[msid])
    outcome = only(bench.write(leave(msid, "Sales")))
    assert isinstance(outcome, Permanent)
    assert outcome.code == "forbidden"
    assert on_board(bench, "Sales") == set()


def test_many_changes_of_boards_alone_share_a_request(bench: Bench) -> None:
    msids = [made(bench, number) for number in range(1, 5)]
    operations = [
        change(Kind.UPDATE, msid, {"boards": "Sales"}, wanted=image(number, boards="Sales"))
        for number, msid in enumerate(msids, start=1)
    ]
    assert bench.target.batch_size(bench.target.group(operations[0])) == 50
    assert all(isinstance(outcome, Done) for outcome in bench.write(*operations))
    assert bench.writes == 1
    assert len(on_board(bench, "Sales")) == 4


def test_one_bad_member_does_not_spoil_a_boards_change(bench: Bench) -> None:
    msids = [made(bench, 1), "99.gone", made(bench, 2)]
    operations = [change(Kind.UPDATE, msid, {"boards": "Sales"}) for msid in msids]
    first, bad, last = bench.write(*operations)
    assert isinstance(first, Done)
    assert isinstance(bad, Permanent)
    assert isinstance(last, Done)
    gone = change(Kind.LEAVE, "99.gone", {"boards": None}, before={"boards": "Sales"})
    assert done(bench.write(gone)).note


def test_a_temporary_board_failure_is_tried_again_as_a_whole(bench: Bench) -> None:
    msid = made(bench)
    bench.fault(match={"method": "PUT", "path_prefix": "/api/v1/boards/"}, status=503)
    outcome = only(bench.write(change(Kind.UPDATE, msid, {"boards": "Nowhere;Sales"})))
    assert isinstance(outcome, Temporary)


def test_a_difference_of_boards_ignores_case() -> None:
    assert boards.change("m", "People;Sales", "finance;sales") == boards.Change("m", ("finance",), ("People",))


def test_somebody_who_is_gone_is_told_but_has_left(bench: Bench) -> None:
    assert done(bench.write(leave("99.gone", None))).note
    outcome = only(bench.write(change(Kind.ROLE, "99.gone", {"role": "Guest"})))
    assert isinstance(outcome, Permanent)
    assert outcome.code == "gone"
