"""mtribes, personalisation: users with tags go in, users and the Tribes that they belong to come out.

Known from the vendor's release note of the Platform API v1.0: personal access tokens; organisations, Spaces, users and
Tribes can be read; users are ingested into a Space, which adds the unknown and updates the known. Everything else is
assumed, and therefore a setting: paths, page parameters, envelope, word before the token; see docs/targets/mtribes.md.

`attributes` says what a user consists of, `reading` reads lists, `writing` spells an ingest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from provisioner.errors import ConfigurationError, TargetError
from provisioner.model.account import Account
from provisioner.model.attributes import Attribute, InvalidValueError, Type, canonical
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Done, Outcome, Permanent, Temporary
from provisioner.targets.base import Listing, Target
from provisioner.targets.capabilities import (
    CarriesObserved,
    ChecksNames,
    CountsListing,
    ReadBack,
    ReadsBack,
    TagsFromEvents,
)
from provisioner.targets.http import Http
from provisioner.targets.mtribes import reading, writing
from provisioner.targets.mtribes.attributes import CATALOGUE, is_field, number_fault, tag
from provisioner.targets.mtribes.reading import Lists, name_of
from provisioner.targets.mtribes.settings import MtribesPaths, MtribesSettings
from provisioner.targets.responses import Answer, as_outcome

#: How a vendor says that it has no such list.
_ABSENT = (404, 405)
_REFUSED: Final = 400
_ACCEPTED = "mtribes accepts the access token."


@dataclass(frozen=True, slots=True)
class _Spaces:
    """What can be seen of Spaces: a line for each, the name of ours (None: not among them), and whether that is all."""

    lines: tuple[str, ...]
    ours: str | None
    whole: bool

    @property
    def lacks_ours(self) -> bool:
        """Whether ours is none of them for sure."""
        return self.whole and self.ours is None

    @property
    def verdict(self) -> str:
        """What is to be said of `space_id`."""
        return "is none of these Spaces" if self.ours is None else f"is Space {self.ours!r}"


class Mtribes(Target[MtribesSettings], ChecksNames, CarriesObserved, TagsFromEvents, ReadsBack, CountsListing):
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
        if name == "id" and self.settings.dialect.ids.numbers:
            return replace(self.catalogue[name], fault=number_fault)
        if name == "tags" and self._tags_apart:
            # Where the listing shows them after all, they are seen nevertheless
            return replace(self.catalogue[name], observed=False)
        if name in self.catalogue or not is_field(name):
            return super().attribute(name)
        return Attribute(name)

    def check(self) -> None:
        """As every target's; besides, the paths can be filled in, and the environment leads somewhere."""
        super().check()
        paths = dict(self.settings.paths)
        for name in MtribesPaths.model_fields:
            self.lists.path(name, org_id="o", tribe_id="t", user_id="u")
        if self.settings.dialect.tags.path:
            self.lists.tags_path("u")
        if self.settings.environment and not any("{environment}" in path for path in paths.values()):
            raise ConfigurationError(
                f"targets.{self.name}.environment is set, but none of the paths holds {{environment}}.",
                remedy="Set paths.users and paths.ingest, such as "
                "/{api_version}/spaces/{space_id}/environments/{environment}/users.",
            )

    def headers(self) -> Mapping[str, str]:
        """The personal access token, after the configured word and in the configured header."""
        token = self.settings.access_token.get_secret_value() if self.settings.access_token else ""
        return {self.settings.dialect.auth.header: f"{self.settings.auth_scheme} {token}".strip()}

    def listing_requests(self, accounts: int, unread: int) -> int:  # noqa: ARG002 (a page shows all)
        """The pages of the listing, and one more that shows nobody: no page says whether it is the last."""
        return math.ceil(accounts / self.settings.page_size) + 1

    async def observe(self, http: Http, known: Mapping[str, Account]) -> Listing:  # noqa: ARG002 - the protocol's name
        """Every user of the Space; where mtribes cannot list them (404, 405), none, and a sentence that says so.

        Raises:
            ListingError: the pages do not lead on.
            TargetError: any other failure.
        """
        path = self.lists.path("users")
        first = await http.read(path, self.lists.first(), accept=_ABSENT)
        if first.status in _ABSENT:
            return Listing(
                (),
                complete=False,
                unlistable=f"mtribes cannot list users ({first.status}); going on from the ledger. "
                "If it should, check space_id, api_version and paths.users.",
            )
        users, doubts = reading.Users(self.settings), list[str]()
        accounts = tuple((await self.lists.pages(http, path, users.account, first, doubts)).values())
        doubts += self._doubts(users, accounts)
        return Listing(accounts, doubt="; ".join(doubts) or None)

    def _doubts(self, users: reading.Users, accounts: Sequence[Account]) -> list[str]:
        """What the users show otherwise than the settings say."""
        doubts = [
            f"{name} of {count} users is no plain text. Say where that is under targets.{self.name}.fields, such "
            f"as {name}: {name}.name"
            for name, count in sorted(users.strange.items())
        ]
        mapped = {*self.settings.attributes, *self.settings.leaver} - {"id", "tribes"}
        if self.settings.dialect.tags.path:
            mapped -= {"tags"}
        if accounts and mapped and not any(mapped & account.values.keys() for account in accounts):
            doubts.append(
                f"none of {len(accounts)} users shows any of {', '.join(sorted(mapped))}. Say where they stand under "
                f"targets.{self.name}.fields, such as name: attributes.name"
            )
        return doubts

    def group(self, operation: Operation) -> str:
        """Leavers apart, tags that events bring apart, everyone else together."""
        if operation.kind is Kind.EVENT:
            return "event"
        return "leave" if operation.kind is Kind.LEAVE else "save"

    def batch_size(self, group: str) -> int:  # noqa: ARG002 - the protocol's name
        """As configured; a bare object, and a path about one user, take one."""
        alone = self.settings.envelope is None or "{user_id}" in self.settings.paths.ingest
        return 1 if alone else self.settings.batch_size

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
        tags = {index: row.pop("tags") for index, row in rows.items() if "tags" in row} if self._tags_apart else {}
        said = {index: row for index, row in rows.items() if operations[index].kind is not Kind.EVENT or not tags}
        for request in writing.requests(said, self.settings):
            path = self.lists.path("ingest", user_id=request.user or "")
            answer = await http.send(self.settings.dialect.ingest.method, path, request.body)
            sent = {index: rows[index] for index in request.indexes}
            outcomes |= writing.outcomes(answer, sent, self.settings.dialect.ingest)
        for index, row in rows.items():
            if index in tags and isinstance(outcomes.get(index, Done(account=row["id"])), Done):
                outcomes[index] = await self._write_tags(http, operations[index], row["id"], tags[index])
            elif index not in outcomes:
                outcomes[index] = Done(account=row["id"])
        return [outcomes[index] for index in range(len(operations))]

    @property
    def _tags_apart(self) -> bool:
        """Whether tags have an endpoint of their own."""
        return bool(self.settings.dialect.tags.path)

    async def _write_tags(self, http: Http, operation: Operation, user: str, tags: Sequence[str]) -> Outcome:
        """Replace the tags of one user, who is there by now. Those that the listing does not show are read before."""
        dialect, path = self.settings.dialect.tags, self.lists.tags_path(user)
        if not operation.observed.get("tags"):
            try:
                answer = await http.read(path, accept=_ABSENT)
            except TargetError as exc:
                return as_outcome(exc)
            there = [] if answer.status in _ABSENT else writing.tags_of(answer.json, dialect.envelope)
            if there is None:
                return Temporary("malformed_answer", "mtribes shows a user's tags otherwise than dialect.tags says")
            tags = writing.laid_over(there, operation, tags)
        answered = await http.send(dialect.method, path, writing.tags_body(tags, dialect.envelope))
        if isinstance(answered, Answer):
            return Done(account=user)
        if isinstance(answered, Permanent) and operation.kind is not Kind.EVENT:
            # The user is there, and holds all but the tags
            kept = Done(account=user, learnt={"tags": operation.before.get("tags")})
            return replace(answered, kept=kept, refused=("tags",))
        return answered

    async def probe(self, http: Http) -> tuple[str, ...]:
        """List the Spaces that the token's owner sees, for `space_id`, and show the first user as it is read."""
        seen = await self._spaces(http)
        if seen is None:
            return await self._probe_users(http)
        verdict = () if seen.lacks_ours else (f"targets.{self.name}.space_id {self.settings.space_id} {seen.verdict}.",)
        path = self.lists.path("users")
        users = await http.read(path, self.lists.first(), accept=(403, *_ABSENT))
        shown = await self._first_user(http, users, path) if users.status < _REFUSED else ()
        return (_ACCEPTED, *seen.lines, *verdict, *shown)

    async def unknown_names(self, http: Http) -> Sequence[str]:
        """That `space_id` is none of the Spaces, where all that the token's owner may see can be listed.

        Raises:
            TargetError: they could not be read.
        """
        seen = await self._spaces(http)
        if seen is None or not seen.lacks_ours:
            return ()
        others = "; ".join(seen.lines) or "none"
        return (f"targets.{self.name}.space_id: the token's owner sees no Space {self.settings.space_id}: {others}.",)

    async def _spaces(self, http: Http) -> _Spaces | None:
        """The Spaces that the token's owner sees; None where organisations cannot be listed.

        Raises:
            TargetError: they could not be read.
        """
        path = self.lists.path("orgs")
        first = await http.read(path, self.lists.first(), accept=_ABSENT)
        if first.status in _ABSENT:
            return None
        lines: list[str] = []
        mine, whole = None, True
        for org, about in (await self.lists.pages(http, path, dict, first)).items():
            organisation = f"organisation {name_of(about)!r}"
            path = self.lists.path("spaces", org_id=org)
            first = await http.read(path, self.lists.first(), accept=(403, *_ABSENT))
            if first.status in (403, *_ABSENT):
                lines.append(f"The Spaces of {organisation} {org} cannot be listed ({first.status}).")
                whole = False
                continue
            for space, details in (await self.lists.pages(http, path, dict, first)).items():
                lines.append(f"Space {name_of(details)!r} {space} ({organisation})")
                if space.lower() == (self.settings.space_id or "").lower():
                    mine = name_of(details)
        return _Spaces(tuple(lines), mine, whole)

    async def _probe_users(self, http: Http) -> tuple[str, ...]:
        path = self.lists.path("users")
        answer = await http.read(path, self.lists.first(), accept=_ABSENT)
        if answer.status in _ABSENT:
            raise TargetError(
                self.name,
                f"neither organisations nor users ({answer.status}) can be read.",
                remedy="Check base_url, api_version, space_id and paths.",
            )
        space = self.settings.space_id
        said = f"Organisations cannot be listed, but the users of space_id {space} can."
        return _ACCEPTED, said, *await self._first_user(http, answer, path)

    async def _first_user(self, http: Http, page: Answer, path: str) -> tuple[str, ...]:
        """The first user of a page as it is read, mapped fields first, and what is read of none."""
        rows = self.lists.rows(page, path)
        if not rows:
            return ()
        users = reading.Users(self.settings)
        account = users.account(rows[0])
        values = dict(account.values)
        if self._tags_apart:
            own = await http.read(self.lists.tags_path(account.id), accept=_ABSENT)
            tags = writing.tags_of(own.json, self.settings.dialect.tags.envelope) if own.status < _REFUSED else None
            values["tags"] = canonical(tags, Type.SET)
        mapped = [name for name in {**self.settings.attributes, **self.settings.leaver} if name != "tribes"]
        names = list(dict.fromkeys(["id", *mapped]))
        shown = [f"{name} {values[name]!r}" for name in names if values.get(name)]
        dark = [name for name in names if not values.get(name)]
        said = f"The first user, as it is read: {', '.join(shown)}"
        said += f"; nothing is read as {', '.join(dark)}." if dark else "."
        return said, *(f"{doubt}." for doubt in self._doubts(users, [account]))

    def tag(self, name: str) -> str:
        """In lower case, with at most three levels."""
        return tag(name)

    async def read_back(self, http: Http, accounts: Sequence[str], mark: str | None, moment: float) -> ReadBack:  # noqa: ARG002 - the protocol's name
        """Read which Tribes everyone belongs to; whoever belongs to none is known to.

        Raises:
            TargetError: the Tribes or their users cannot be read.
        """
        tribes = await self.lists.memberships(http)
        return ReadBack({account: [reading.tribes(tribes.get(account, ()), moment)] for account in accounts})
