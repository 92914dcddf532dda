"""What is wrong with a request, as RFC 7644 (3.12) names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

ERROR: Final = "urn:ietf:params:scim:api:messages:2.0:Error"

#: A document of SCIM; the schemas that it names say what is in it.
Document = dict[str, Any]

#: The keywords of RFC 7644, table 9.
ScimType = Literal[
    "invalidFilter",
    "tooMany",
    "uniqueness",
    "mutability",
    "invalidSyntax",
    "invalidPath",
    "noTarget",
    "invalidValue",
    "invalidVers",
    "sensitive",
]


class ScimError(Exception):
    """A request that cannot be carried out: the status of HTTP, a sentence, and the keyword where there is one."""

    def __init__(
        self, status: int, detail: str, scim_type: ScimType | None = None, *, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status, self.detail, self.scim_type = status, detail, scim_type
        self.headers = dict(headers or {})
        super().__init__(detail)

    def to_json(self) -> Document:
        """The body of the answer."""
        kind = {"scimType": self.scim_type} if self.scim_type else {}
        return {"schemas": [ERROR], "status": str(self.status), **kind, "detail": self.detail}


def invalid(detail: str, scim_type: ScimType = "invalidValue") -> ScimError:
    """400."""
    return ScimError(400, detail, scim_type)
