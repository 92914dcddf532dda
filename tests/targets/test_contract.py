"""The kinds of provisioner's own pass the contract suite that ships for others."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import ClassVar

import pytest

from provisioner.sandbox import MTRIBES_SPACE_ID, MTRIBES_TOKEN, SCIM_TOKEN, TRAITLY_TOKEN, SandboxServer
from provisioner.sandbox.habitate import HABITATE_KEY
from provisioner.sandbox.tribal_habits import TRIBAL_HABITS_KEY
from provisioner.settings import known_kinds
from provisioner.targets.habitate import Habitate
from provisioner.targets.mtribes import Mtribes
from provisioner.targets.scim import Scim
from provisioner.targets.traitly import Traitly
from provisioner.targets.tribal_habits import TribalHabits
from provisioner.testing.contract import Case, TargetContract

_numbers = count(1)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    """The running stand-ins."""
    with SandboxServer() as server:
        yield server


class InSandbox(TargetContract):
    """A kind whose stand-in is the sandbox's."""

    sandbox: SandboxServer
    instance: str

    @pytest.fixture
    def stand_in(self, sandbox: SandboxServer) -> str:
        """A fresh instance."""
        self.sandbox = sandbox
        self.instance = f"{self.case.target.kind}-contract{next(_numbers)}"
        sandbox.switchboard.options(self.instance, rate_limit=100_000)
        return sandbox.url_of(self.instance)

    def remove(self, account: str) -> None:
        """Delete an account there."""
        self.sandbox.switchboard.remove(self.instance, account)


class TestTribalHabits(InSandbox):
    """Tribal Habits."""

    case: ClassVar[Case] = Case(
        target=TribalHabits,
        settings={
            "api_key": TRIBAL_HABITS_KEY,
            "match": ["user_name", "email"],
            "attributes": {
                name: name for name in ("user_name", "first_name", "last_name", "email", "active", "role_1", "groups")
            },
            "leaver": {"active": "FALSE"},
            "page_size": 3,
        },
        image={
            "user_name": "E{n}",
            "first_name": "Zoë",
            "last_name": "O'Hara-{n}",
            "email": "p{n}@example.com",
            "active": "true",
            "role_1": "Learner",
            "groups": "Brisbane;Sales",
        },
        moved={"last_name": "Ito", "groups": "Perth"},
        left={"active": "false"},
        back={"active": "true"},
        bad={"email": "nothing"},
        refused={"api_key": "wrong"},
        volatile=frozenset({"updated_at"}),
        tells_of_missing=True,
    )


class TestHabitate(InSandbox):
    """habitate."""

    case: ClassVar[Case] = Case(
        target=Habitate,
        settings={
            "api_key": HABITATE_KEY,
            "match": ["username", "email"],
            "attributes": {name: name for name in ("email", "first_name", "last_name", "username", "role", "boards")},
            "leaver": {"role": "'Guest'", "boards": {"from": "NULL", "empty": "clear"}},
        },
        image={
            "email": "p{n}@example.com",
            "first_name": "Zoë",
            "last_name": "O'Hara-{n}",
            "username": "e{n}",
            "role": "Member",
            "boards": "Sales",
        },
        moved={"last_name": "Ito"},
        left={"role": "Guest", "boards": None},
        back={"role": "Member", "boards": "Sales"},
        bad={"username": "no good"},
        refused={"api_key": "wrong"},
        volatile=frozenset({"updated_at", "last_modified_at", "details_read_at"}),
        tells_of_missing=True,
    )


class TestTraitly(InSandbox):
    """Traitly."""

    case: ClassVar[Case] = Case(
        target=Traitly,
        settings={
            "token": TRAITLY_TOKEN,
            "match": ["customer_id"],
            "attributes": {name: name for name in ("customer_id", "name", "email", "plan")},
            "leaver": {"plan": "'Leaver'"},
        },
        image={"customer_id": "E{n}", "name": "Zoë {n}", "email": "p{n}@example.com", "plan": "Employee"},
        moved={"name": "Zoë Ito"},
        left={"plan": "Leaver"},
        back={"plan": "Employee"},
        bad={"plan": None},
        refused={"token": "wrong"},
    )


class TestMtribes(InSandbox):
    """mtribes."""

    case: ClassVar[Case] = Case(
        target=Mtribes,
        settings={
            "access_token": MTRIBES_TOKEN,
            "space_id": MTRIBES_SPACE_ID,
            "match": ["id"],
            "attributes": {name: name for name in ("id", "name", "email", "tags")},
            "leaver": {"tags": "'employment/left'"},
        },
        image={"id": "E{n}", "name": "Zoë {n}", "email": "p{n}@example.com", "tags": "department/sales"},
        moved={"name": "Zoë Ito"},
        left={"tags": "employment/left"},
        back={"tags": "department/sales"},
        bad={"id": None},
        refused={"access_token": "wrong"},
    )


WORK_EMAIL = 'emails[type eq "work"].value'
DEPARTMENT = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"


class TestScim(InSandbox):
    """A SCIM service that does all that the RFCs offer."""

    case: ClassVar[Case] = Case(
        target=Scim,
        settings={
            "token": SCIM_TOKEN,
            "match": ["userName", "externalId"],
            "attributes": {
                name: name
                for name in (
                    "userName", "externalId", "name.givenName", "name.familyName", WORK_EMAIL, "active", DEPARTMENT,
                    "roles", "groups",
                )
            },
            "leaver": {"active": "FALSE"},
            "page_size": 3,
        },
        image={
            "userName": "e{n}",
            "externalId": "E{n}",
            "name.givenName": "Zoë",
            "name.familyName": 'O"Hara\\{n}',
            WORK_EMAIL: "p{n}@example.com",
            "active": "true",
            DEPARTMENT: "R&D",
            "roles": "clerk;driver",
            "groups": "Finance;Sales",
        },
        moved={"name.familyName": "Ito", DEPARTMENT: None, "roles": "clerk", "groups": "Sales;Support"},
        left={"active": "false"},
        back={"active": "true"},
        bad={WORK_EMAIL: "nothing"},
        refused={"token": "wrong"},
        volatile=frozenset({"meta.lastModified"}),
        tells_of_missing=True,
    )  # fmt: skip


def test_every_kind_takes_part() -> None:
    assert {suite.case.target.kind for suite in InSandbox.__subclasses__()} == set(known_kinds())
