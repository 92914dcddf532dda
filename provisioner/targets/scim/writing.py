"""Creating and changing users, each in requests of their own.

A change reads the user first: what is the same already is not sent, what nobody manages is kept, and the version that
was read goes along, so that somebody else's change in between is noticed (412) and the user is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from provisioner.errors import MalformedAnswerError, TargetError
from provisioner.model.attributes import Attribute, fold, proves
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Done, Outcome, Permanent, Temporary, Unclear
from provisioner.targets.http import Http
from provisioner.targets.paths import at
from provisioner.targets.responses import Answer, Failure, as_outcome, not_kept, sentence
from provisioner.targets.scim.attributes import CATALOGUE, GROUPS, USER_NAME
from provisioner.targets.scim.discovery import Discovery, Features
from provisioner.targets.scim.groups import TRIES
from provisioner.targets.scim.listing import Reader
from provisioner.targets.scim.requests import id_of, resource_of, scim_type, version_of
from provisioner.targets.scim.resources import applied, changes, patch, replacement, schemas_of
from provisioner.targets.scim.settings import ScimSettings

#: How a service says that a value is another's: 409 (RFC 7644, 3.12), and 400 with the keyword from some.
_UNIQUENESS: Final = "uniqueness"
#: Statuses that this module reads for itself.
_READ: Final = (400, 404, 405, 409, 410, 412, 428, 501)
_GONE: Final = (404, 410)
#: Statuses of a create besides 2xx that this module reads for itself.
MADE_OR_NOT: Final = (400, 409)
_OVERTAKEN: Final = (412, 428)
_UNSUPPORTED: Final = (405, 501)


class Writer:
    """Writes users of one service; their groups are changed elsewhere."""

    def __init__(
        self,
        target: str,
        settings: ScimSettings,
        discovery: Discovery,
        reader: Reader,
        attribute: Callable[[str], Attribute],
    ) -> None:
        self._target = target
        self._settings = settings
        self._discovery = discovery
        self._reader = reader
        self._attribute = attribute
        self._user = settings.paths.users + "/{}"

    def body_of(self, operation: Operation) -> dict[str, Any] | Permanent:
        """The user that a create is to make, or why there can be none."""
        wanted = self._wanted(operation)
        fault = _missing(wanted)
        if fault is not None:
            return fault
        body = applied({}, self._changes(wanted))
        body["schemas"] = schemas_of(body)
        return body

    async def create(self, http: Http, operation: Operation) -> Outcome:
        """Make a user. Where the service says that a value is taken, whoever holds it is looked at."""
        body = self.body_of(operation)
        if isinstance(body, Permanent):
            return body
        answer = await http.send("POST", self._settings.paths.users, body, accept=MADE_OR_NOT)
        if not isinstance(answer, Answer):
            return answer
        return await self.made(http, operation, answer)

    async def made(self, http: Http, operation: Operation, answer: Answer) -> Outcome:
        """What the answer to a create came to; its status is 2xx or one of `MADE_OR_NOT`."""
        if answer.status == 409 or (answer.status == 400 and scim_type(answer) == _UNIQUENESS):
            return await self._taken(http, operation, answer)
        if answer.status == 400:
            return _refused(answer)
        try:
            user = resource_of(self._target, answer, self._settings.paths.users)
            account = str(id_of(user))
            learnt = self._shown(user, self._wanted(operation))
        except MalformedAnswerError as exc:
            # It may have been made; whoever was made is looked up before anything is sent again
            return Unclear(exc.code, exc.message)
        return Done(account=account, learnt=learnt, note=not_kept(learnt))

    @staticmethod
    def made_unseen(account: str | None) -> Outcome:
        """What it came to where a user was made, and the answer says no more than where they are."""
        if account is None:
            return Unclear("no_outcome", "the user was made, but the answer does not say where they are")
        return Done(account=account)

    @staticmethod
    def _wanted(operation: Operation) -> dict[str, str]:
        return {name: value for name, value in operation.wanted.items() if value and name != GROUPS}

    async def update(self, http: Http, operation: Operation) -> Outcome:
        """Bring a user to what is wanted of them; no request where they hold it already."""
        account = operation.account
        if not account:
            return Permanent("no_account", "the operation names no account")
        after = {name: value for name, value in operation.after.items() if name != GROUPS}
        if USER_NAME in after and not after[USER_NAME]:
            return Permanent("cannot_be_empty", "every SCIM user has a userName")
        for _ in range(TRIES):
            try:
                features = await self._discovery.features(http)
                shown = await http.read(at(self._user, account), accept=_GONE)
                if shown.status in _GONE:
                    return gone(operation)
                user = resource_of(self._target, shown, f"{self._settings.paths.users}/…")
            except TargetError as exc:
                return as_outcome(exc)
            answer = await self._send(http, account, user, version_of(shown), features, after)
            if answer is None:
                return Done(account=account)
            if not isinstance(answer, Answer):
                return answer
            if answer.status < 300:
                return self._updated(answer, account, after)
            if answer.status in _GONE:
                return gone(operation)
            if answer.status in _UNSUPPORTED and self._settings.dialect.update == "auto" and features.patch is None:
                self._discovery.cannot_patch()
                continue
            if answer.status not in _OVERTAKEN:
                return _refused(answer)
        return Temporary("overtaken", "the account was changed by others, again and again")

    async def _send(
        self,
        http: Http,
        account: str,
        user: Mapping[str, Any],
        version: str | None,
        features: Features,
        after: Mapping[str, str | None],
    ) -> Answer | Failure | None:
        dialect, wanted = self._settings.dialect, self._changes(after)
        body = patch(user, wanted, dialect.patch)
        if body is None:
            return None
        method = "PATCH"
        if not features.updates_by_patch(dialect):
            method, body = "PUT", replacement(applied(user, wanted))
        headers = {"If-Match": version} if version and dialect.etag == "auto" and features.etag is not False else {}
        return await http.send(method, at(self._user, account), body, headers=headers, accept=_READ)

    def _updated(self, answer: Answer, account: str, after: Mapping[str, str | None]) -> Outcome:
        """What an accepted change came to; many services answer the user as they are now, others nothing."""
        user = answer.json if isinstance(answer.json, Mapping) else {}
        if id_of(user) != account:
            return Done(account=account)
        try:
            unkept = self._shown(user, after)
        except MalformedAnswerError:
            return Done(account=account)
        return Done(account=account, unkept=unkept, note=not_kept(unkept))

    def _shown(self, user: Mapping[str, Any], sent: Mapping[str, str | None]) -> dict[str, str | None]:
        """What an answer shows otherwise than it was sent.

        Raises:
            MalformedAnswerError: a value is not of its attribute's type.
        """
        shown = self._reader.values(user, sent)
        return {name: shown[name] for name, value in sent.items() if not self._same(name, shown[name], value)}

    def _same(self, name: str, one: str | None, other: str | None) -> bool:
        type_ = self._attribute(name).type
        return fold(one, type_) == fold(other, type_)

    def _changes(self, after: Mapping[str, str | None]) -> list[Any]:
        attributes = {name: self._attribute(name) for name in after}
        return changes(after, attributes, text=self._settings.dialect.booleans == "text")

    async def _taken(self, http: Http, operation: Operation, answer: Answer) -> Outcome:
        """A refused create: the account that holds the wanted values is adopted if that proves whose it is."""
        said = sentence(answer.json)
        try:
            found = await self.holders(http, operation)
        except TargetError as exc:
            return as_outcome(exc)
        why = f"the service has such a user already ({answer.status}){f': {said}' if said else ''}"
        if len(found) != 1:
            seen = "none is seen" if not found else "they are several"
            return Permanent("taken", f"{why}; {seen}. Look there for an account that is deactivated or deleted")
        return self._adopted(found[0], operation, note="adopted: the account was there already", why=why)

    def _adopted(self, user: Mapping[str, Any], operation: Operation, *, note: str, why: str) -> Outcome:
        proven = [name for name in self._agreeing(user, operation) if proves(self._attribute(name), {})]
        if not proven:
            return Permanent("taken", f"{why}; nothing that proves whose it is agrees. If it is theirs, link it")
        try:
            values = self._reader.values(user)
        except MalformedAnswerError as exc:
            return as_outcome(exc)
        learnt = {**dict.fromkeys(operation.wanted), **values}
        return Done(account=str(id_of(user)), learnt=learnt, adopted=True, note=note)

    def _agreeing(self, user: Mapping[str, Any], operation: Operation) -> list[str]:
        names = [name for name in self._settings.match if name != GROUPS and operation.wanted.get(name)]
        shown = self._reader.values(user, names)
        return [name for name in names if self._same(name, shown[name], operation.wanted[name])]

    async def holders(self, http: Http, operation: Operation) -> list[Mapping[str, Any]]:
        """The users who hold the first of the values that people are matched by, or the userName.

        Raises:
            TargetError: they cannot be read.
        """
        for name in dict.fromkeys((*self._settings.match, USER_NAME)):
            value = operation.wanted.get(name)
            found = await self._reader.holders(http, name, value) if value and name != GROUPS else ()
            if found:
                return list(found)
        return []

    async def confirm(self, http: Http, operation: Operation) -> Outcome | None:
        """The user that an unclear create made, None if there is none.

        Raises:
            TargetError: the look-up failed.
        """
        found = await self._reader.holders(http, USER_NAME, operation.wanted.get(USER_NAME) or "")
        if not found:
            return None
        if len(found) > 1:
            return Permanent(
                "create_unclear", "the answer to the create was lost, and several users have this userName"
            )
        values = self._reader.values(found[0])
        if USER_NAME not in self._settings.match:
            differing = [
                name
                for name, value in operation.wanted.items()
                if value and name != GROUPS and not self._same(name, values.get(name), value)
            ]
            if differing:
                return Permanent(
                    "create_unclear",
                    f"the answer to the create was lost; account {id_of(found[0])} has this userName, but another "
                    f"{', '.join(sorted(differing))}",
                )
        learnt = {name: values.get(name) for name in operation.wanted if name != GROUPS}
        return Done(account=str(id_of(found[0])), learnt=learnt, note="found created after an unclear answer")


def gone(operation: Operation) -> Outcome:
    """What a change of an account comes to that is not there any more."""
    if operation.kind is Kind.LEAVE:
        return Done(account=operation.account, note="the account no longer existed")
    return Permanent("gone", "the account no longer exists; the next full run creates it again")


def _missing(wanted: Collection[str]) -> Permanent | None:
    missing = [name for name, attribute in CATALOGUE.items() if attribute.required and name not in wanted]
    return Permanent("missing_required", f"SCIM has no user without {', '.join(missing)}") if missing else None


def _refused(answer: Answer) -> Permanent:
    said, keyword = sentence(answer.json), scim_type(answer)
    if answer.status == 409 or keyword == _UNIQUENESS:
        code, why = "taken", "another user has this value"
    elif answer.status in _UNSUPPORTED:
        code, why = "method_not_allowed", "the service takes no such request; see dialect.update"
    else:
        code, why = "invalid", f"the service refused it as {keyword}" if keyword else "the service refused it"
    return Permanent(code, f"{why} ({answer.status}){f': {said}' if said else ''}")
