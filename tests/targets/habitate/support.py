"""Members of a community as the sandbox shows them, and operations about them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provisioner.model.account import Account
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Done, Outcome, Permanent, Temporary, Unauthorised, Unclear
from provisioner.sandbox.habitate import HABITATE_KEY
from tests.targets.bench import Bench, change

DOCS = Path(__file__).resolve().parents[3] / "docs" / "targets" / "habitate.md"
SETTINGS: dict[str, Any] = {
    "api_key": HABITATE_KEY,
    "match": ["username", "email"],
    "attributes": {name: name for name in ("email", "first_name", "last_name", "username", "role", "boards", "lang")},
    "leaver": {"role": "'Guest'", "boards": {"from": "NULL", "empty": "clear"}},
}
GUEST, MODERATOR = 5, 3
OURS = "the one that the key belongs to"


def image(number: int, **more: str | None) -> dict[str, str | None]:
    """The wanted image of a person."""
    return {
        "email": f"p{number}@example.com",
        "first_name": f"Ann{number}",
        "last_name": "Lee",
        "username": f"e{number}",
        "role": "Member",
        "boards": None,
        "lang": "fr",
        **more,
    }


def create(number: int, **more: str | None) -> Operation:
    """The create of a person."""
    return change(Kind.CREATE, None, image(number, **more), person=f"E{number}")


def member(number: int, **more: Any) -> dict[str, Any]:
    """A member in the community's read form."""
    return {
        "user_id": number,
        "email": f"p{number}@example.com",
        "first_name": f"Ann{number}",
        "username": f"e{number}",
        **more,
    }


def state(bench: Bench) -> dict[str, dict[str, Any]]:
    """What the community holds, by email."""
    return {one["email"]: one for one in bench.board.accounts(bench.name)}


def on_board(bench: Bench, board: str) -> set[str]:
    """The emails of a board's members."""
    msids = set(bench.board.state(bench.name)["boards"][board])
    return {one["email"] for one in bench.board.accounts(bench.name) if one["msid"] in msids}


def only(outcomes: Any) -> Outcome:
    """The one outcome."""
    (outcome,) = outcomes
    assert isinstance(outcome, (Done, Permanent, Temporary, Unauthorised, Unclear))
    return outcome


def done(outcomes: Any) -> Done:
    """The one outcome, which must be a success."""
    outcome = only(outcomes)
    assert isinstance(outcome, Done), outcome
    return outcome


def people(bench: Bench, known: Mapping[str, Account] | None = None) -> dict[str, Account]:
    """The observed accounts that are people, by id."""
    return {one.id: one for one in bench.observe(known).accounts if one.untouchable != OURS}


def made(bench: Bench, number: int = 1, **more: str | None) -> str:
    """Create a member and answer the msid."""
    return str(done(bench.write(create(number, **more))).account)


def leave(msid: str, before: str | None = "People;Sales") -> Operation:
    """A leave that takes role and boards."""
    after = {"role": "Guest", "boards": None}
    return change(Kind.LEAVE, msid, after, before={"role": "Member", "boards": before}, wanted=image(1, **after))
