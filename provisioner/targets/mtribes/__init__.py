"""mtribes, personalisation: users with tags go in, users and the Tribes that they belong to come out.

Known from the vendor's release note of the Platform API v1.0: personal access tokens; organisations, Spaces, users and
Tribes can be read; users are ingested into a Space, which adds the unknown and updates the known. Everything else is
assumed, and therefore a setting: paths, page parameters, envelope, word before the token; see docs/targets/mtribes.md.

`attributes` says what a user consists of, `reading` reads lists, `writing` spells an ingest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from provisioner.errors import ConfigurationError, TargetError
from provisioner.model.account import Account
from provisioner.model.attributes import Attribute, InvalidValueError
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Outcome, Permanent
from provisioner.targets.base import Listing, Target
from provisioner.targets.capabilities import CarriesObserved, CountsListing, ReadBack, ReadsBack, TagsFromEvents
from provisioner.targets.http import Http
from provisioner.targets.mtribes import reading, writing
from provisioner.targets.mtribes.attributes import CATALOGUE, is_field, tag
from provisioner.targets.mtribes.reading import Lists, name_of
from provisioner.targets.mtribes.settings import MtribesPaths, MtribesSettings

#: How a vendor says that it has no such list.
_ABSENT = (404, 405)
_ACCEPTED = "mtribes accepts the access token."


class Mtribes(Target[MtribesSettings], CarriesObserved, TagsFromEvents, ReadsBack, CountsListing):
    """One Space. No look-up of one user is known."""

    kind = "mtribes"
    settings_model = MtribesSettings
    catalogue: ClassVar[Mapping[str, Attribute]] = CATALOGUE
    advice: ClassVar[Mapping[str, str]] = {
        "invalid_tag": "The target refused a value. Fix it in the roster or the mapping, then sync again."
    }
    carried: ClassVar[tuple[str, ...]] = ("tags",)
    tag_attribute: ClassVar[str] = "tags"

    def __init__(self, name: str, settings: MtribesSettings) -> None:
        super().__init__(name, settings)
        self.lists = Lists(name, settings)

    def attribute(self, name: str) -> Attribute:
        """As every target's; besides, any other name is a field of the user, since their list is not known.

        Raises:
            ConfigurationError: the name cannot be one of a field.
        """
        if name in self.catalogue or not is_field(name):
            return super().attribute(name)
        return Attribute(name)

    def check(self) -> None:
        """As every target's; besides, the paths can be filled in, and the environment leads somewhere."""
        super().check()
        paths = dict(self.settings.paths)
        for name in MtribesPaths.model_fields:
            self.lists.path(name, org_id="o", tribe_id="t")
        if self.settings.environment and not any("{environment}" in path for path in paths.values()):
            raise ConfigurationError(
                f"targets.{self.name}.environment is set, but none of the paths holds {{environment}}.",
                remedy="Set paths.users and paths.ingest, such as "
                "/{api_version}/spaces/{space_id}/environments/{environment}/users.",
            )

    def headers(self) -> Mapping[str, str]:
        """The personal access token, after the configured word."""
        token = self.settings.access_token.get_secret_value() if self.settings.access_token else ""
        return {"Authorization": f"{self.settings.auth_scheme} {token}".strip()}

    def listing_requests(self, accounts: int, unread: int) -> int:  # noqa: ARG002 (a page shows all)
        """The pages of the listing, and one more that shows nobody: no page says whether it is the last."""
        return math.ceil(accounts / self.settings.page_size) + 1

    async def observe(self, http: Http, known: Mapping[str, Account]) -> Listing:  # noqa: ARG002
        """Every user of the Space; where mtribes cannot list them (404, 405), none, and a sentence that says so.

        Raises:
            ListingError: the pages do not lead on.
            TargetError: any other failure.
        """
        path = self.lists.path("users")
        first = await http.read(path, self.lists.page(1), accept=_ABSENT)
        if first.status in _ABSENT:
            return Listing(
                (),
                complete=False,
                unlistable=f"mtribes cannot list users ({first.status}); going on from the ledger. "
                "If it should, check space_id, api_version and paths.users.",
            )
        users, doubts = reading.Users(self.settings), list[str]()
        accounts = tuple((await self.lists.pages(http, path, users.account, first, doubts)).values())
        doubts += [
            f"{name} of {count} users is no plain text. Say where that is under targets.{self.name}.fields, such "
            f"as {name}: {name}.name"
            for name, count in sorted(users.strange.items())
        ]
        mapped = {*self.settings.attributes, *self.settings.leaver} - {"id", "tribes"}
        if accounts and mapped and not any(mapped & account.values.keys() for account in accounts):
            doubts.append(
                f"none of {len(accounts)} users shows any of {', '.join(sorted(mapped))}. Say where they stand under "
                f"targets.{self.name}.fields, such as name: attributes.name"
            )
        return Listing(accounts, doubt="; ".join(doubts) or None)

    def group(self, operation: Operation) -> str:
        """Leavers apart, tags that events bring apart, everyone else together."""
        if operation.kind is Kind.EVENT:
            return "event"
        return "leave" if operation.kind is Kind.LEAVE else "save"

    def batch_size(self, group: str) -> int:  # noqa: ARG002
        """As configured; a bare object always goes alone."""
        return 1 if self.settings.envelope is None else self.settings.batch_size

    async def write(self, http: Http, operations: Sequence[Operation]) -> Sequence[Outcome]:
        """Ingest the users. What a whole batch was refused for is said of each of them: nothing tells them apart."""
        outcomes: dict[int, Outcome] = {}
        rows: dict[int, dict[str, Any]] = {}
        for index, operation in enumerate(operations):
            identifier = operation.account or operation.wanted.get("id")
            if operation.kind is Kind.EVENT and not operation.wanted.get("tags"):
                outcomes[index] = Permanent("unsupported", "mtribes takes no events but tags")
                continue
            try:
                if identifier:
                    rows[index] = {"id": identifier, **writing.fields(operation)}
                else:
                    outcomes[index] = Permanent("missing_required", "mtribes takes no user without id")
            except InvalidValueError as exc:
                outcomes[index] = Permanent("invalid_tag", str(exc))
        for body, indexes in writing.bodies(rows, self.settings.envelope):
            answer = await http.send("POST", self.lists.path("ingest"), body)
            outcomes |= writing.outcomes(answer, {index: rows[index] for index in indexes})
        return [outcomes[index] for index in range(len(operations))]

    async def probe(self, http: Http) -> tuple[str, ...]:
        """List the Spaces that the token's owner sees, for `space_id`; where that cannot be read, a page of users."""
        path = self.lists.path("orgs")
        first = await http.read(path, self.lists.page(1), accept=_ABSENT)
        if first.status in _ABSENT:
            return await self._probe_users(http, first.status)
        lines = [_ACCEPTED]
        mine = None
        for org, about in (await self.lists.pages(http, path, dict, first)).items():
            organisation = f"organisation {name_of(about)!r}"
            path = self.lists.path("spaces", org_id=org)
            first = await http.read(path, self.lists.page(1), accept=(403, *_ABSENT))
            if first.status in (403, *_ABSENT):
                lines.append(f"The Spaces of {organisation} {org} cannot be listed ({first.status}).")
                continue
            for space, details in (await self.lists.pages(http, path, dict, first)).items():
                lines.append(f"Space {name_of(details)!r} {space} ({organisation})")
                if space.lower() == (self.settings.space_id or "").lower():
                    mine = name_of(details)
        verdict = "is none of these Spaces: copy the right one" if mine is None else f"is Space {mine!r}"
        return (*lines, f"targets.{self.name}.space_id {self.settings.space_id} {verdict}.")

    async def _probe_users(self, http: Http, status: int) -> tuple[str, ...]:
        path = self.lists.path("users")
        answer = await http.read(path, self.lists.page(1), accept=_ABSENT)
        if answer.status in _ABSENT:
            raise TargetError(
                self.name,
                f"neither organisations ({status}) nor users ({answer.status}) can be read.",
                remedy="Check base_url, api_version, space_id and paths.",
            )
        self.lists.rows(answer, path)
        space = self.settings.space_id
        return _ACCEPTED, f"Organisations cannot be listed ({status}), but the users of space_id {space} can."

    def tag(self, name: str) -> str:
        """In lower case, with at most three levels."""
        return tag(name)

    async def read_back(self, http: Http, accounts: Sequence[str], mark: str | None, moment: float) -> ReadBack:  # noqa: ARG002
        """Read which Tribes everyone belongs to; whoever belongs to none is known to.

        Raises:
            TargetError: the Tribes or their users cannot be read.
        """
        tribes = await self.lists.memberships(http)
        return ReadBack({account: [reading.tribes(tribes.get(account, ()), moment)] for account in accounts})
