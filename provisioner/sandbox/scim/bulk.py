"""Bulk requests of the SCIM stand-in: users are made, nothing else (RFC 7644, 3.7)."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from provisioner.sandbox.scim.filters import ScimRefusedError
from provisioner.sandbox.scim.lists import SCIM_TYPE
from provisioner.sandbox.scim.options import ScimOptions
from provisioner.sandbox.wire import Answer, Call, RefusedError

_REQUEST = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
_RESPONSE = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"


def carried_out(
    own: ScimOptions,
    call: Call,
    body: Mapping[str, Any],
    create: Callable[[Call], Answer],
    refusal: Callable[..., Answer],
) -> Answer:
    """The answer to a bulk request; one that is too large is refused as a whole, and nothing is done."""
    if not own.bulk:
        raise ScimRefusedError(501, "Bulk requests are not served")
    operations = body.get("Operations")
    if body.get("schemas") != [_REQUEST] or not isinstance(operations, list):
        raise ScimRefusedError(400, "This is no BulkRequest", "invalidSyntax")
    if len(operations) > own.bulk:
        raise ScimRefusedError(413, f"The number of operations exceeds the maxOperations ({own.bulk})", "tooMany")
    if len(call.body) > own.bulk_bytes:
        raise ScimRefusedError(413, f"The size of the bulk operation exceeds the maxPayloadSize ({own.bulk_bytes})")
    rows = [_one(own, call, one, create, refusal) for one in operations]
    return Answer(200, {"schemas": [_RESPONSE], "Operations": rows[: own.bulk_cut or None]}, SCIM_TYPE)


def _one(
    own: ScimOptions,
    call: Call,
    one: Mapping[str, Any],
    create: Callable[[Call], Answer],
    refusal: Callable[..., Answer],
) -> object:
    said = {"method": one.get("method"), "bulkId": one.get("bulkId")}
    try:
        if (one.get("method"), one.get("path")) != ("POST", "/Users") or not one.get("bulkId"):
            raise ScimRefusedError(400, "Only users are made here, each with a bulkId", "invalidValue")
        answer = create(replace(call, method="POST", path="/Users", body=json.dumps(one.get("data")).encode()))
    except RefusedError as refused:
        answer = refusal(refused)
    said |= {"status": str(answer.status)}
    if answer.status < 300:
        said |= {"location": answer.headers["Location"], "version": answer.headers.get("ETag")}
    return said | ({} if own.bulk_silent and answer.status < 300 else {"response": answer.body})
