"""The names of SCIM 2.0 that both its source and its target use (RFC 7643 and 7644)."""

from __future__ import annotations

from typing import Final

SCIM_USER: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
SCIM_GROUP: Final = "urn:ietf:params:scim:schemas:core:2.0:Group"
SCIM_ENTERPRISE_USER: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
SCIM_PATCH_OP: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
