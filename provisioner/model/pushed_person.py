"""One person as an identity provider or HR system pushed them over SCIM."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PushedPerson:
    """A resource as it is kept: `resource` is a SCIM User without `id` and `meta`.

    `key` is their key in the roster, `fold` what keys are compared by, `previous` the key before it, empty where there
    was none. `version` grows with each change; `created` and `modified` are epoch seconds. `deleted`: the client
    deleted it, so the person is a leaver and nothing of it is shown any more.
    """

    id: str
    key: str
    fold: str
    resource: Mapping[str, Any]
    version: int
    created: float
    modified: float
    deleted: bool = False
    previous: str = ""

    @property
    def active(self) -> bool:
        """Whether the person works here, by what was pushed."""
        return not self.deleted and self.resource.get("active") is not False

    @property
    def user_name(self) -> str:
        """The name by which the person signs in."""
        return str(self.resource.get("userName", ""))

    @property
    def external_id(self) -> str:
        """The identifier where the person comes from; empty where there is none."""
        return str(self.resource.get("externalId", ""))

    def to_text(self, names: Sequence[str]) -> str:
        """The form in which it is kept, with the names by which it is found."""
        return json.dumps({**asdict(self), "names": list(names)}, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str | bytes) -> PushedPerson:
        """The inverse of `to_text`."""
        document = json.loads(text)
        del document["names"]
        return cls(**document)
