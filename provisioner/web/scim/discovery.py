"""What a client discovers the service by: its abilities, resource types and schemas. Pure."""

from __future__ import annotations

from typing import Final

from provisioner.model.scim_names import SCIM_USER
from provisioner.web.scim.errors import Document
from provisioner.web.scim.schema import UserSchema

PROVIDER: Final = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
RESOURCE_TYPE: Final = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
#: Most Users of a page.
MOST: Final = 500


def provider(base: str) -> Document:
    """What the service can do; `base` is its address."""
    return {
        "schemas": [PROVIDER],
        "patch": {"supported": True},
        "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": MOST},
        "changePassword": {"supported": False},
        "sort": {"supported": False},
        "etag": {"supported": True},
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "Bearer token",
                "description": "The token roster.scim.token of the settings.",
                "primary": True,
            }
        ],
        "meta": {"resourceType": "ServiceProviderConfig", "location": f"{base}/ServiceProviderConfig"},
    }


def documents(kind: str, schema: UserSchema, base: str) -> list[Document]:
    """All resource types (``ResourceTypes``) or schemas (``Schemas``)."""
    if kind == "ResourceTypes":
        return [_user_type(schema, base)]
    return [
        {**one, "meta": {"resourceType": "Schema", "location": f"{base}/Schemas/{one['id']}"}}
        for one in schema.documents
    ]


def _user_type(schema: UserSchema, base: str) -> Document:
    return {
        "schemas": [RESOURCE_TYPE],
        "id": "User",
        "name": "User",
        "endpoint": "/Users",
        "description": "A person.",
        "schema": SCIM_USER,
        "schemaExtensions": [{"schema": one.urn, "required": False} for one in schema.extensions],
        "meta": {"resourceType": "ResourceType", "location": f"{base}/ResourceTypes/User"},
    }
