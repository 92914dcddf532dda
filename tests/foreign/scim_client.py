"""A client of SCIM that others wrote, run by the Python of its own environment; says what it found as JSON.

::

    python scim_client.py check URL TOKEN        every check of scim2-tester
    python scim_client.py days URL TOKEN         joiners, movers, leavers and somebody who comes back, by scim2-client
"""

from __future__ import annotations

import json
import sys
from typing import Any

import httpx2
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_models import PatchOp, PatchOperation
from scim2_tester import check_server

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


def _client(url: str, token: str) -> Any:
    return SyncSCIMClient(httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60))


def check(client: Any) -> list[dict[str, str]]:
    """The results of all checks."""
    client.discover()
    return [
        {"status": one.status.name, "title": one.title, "reason": str(one.reason or "")} for one in check_server(client)
    ]


def days(client: Any) -> dict[str, Any]:
    """What was done, and what the service said of it."""
    client.discover()
    model = client.get_resource_model("User")

    def user(number: int, **more: Any) -> Any:
        return model.model_validate(
            {
                "schemas": [USER, ENTERPRISE],
                "userName": f"u{number}@example.com",
                "externalId": f"E{number}",
                "name": {"givenName": "Ada", "familyName": f"Ng{number}"},
                "emails": [{"value": f"u{number}@example.com", "type": "work", "primary": True}],
                "active": True,
                "title": "Engineer",
                ENTERPRISE: {"department": "Engineering"},
                **more,
            }
        )

    made = [client.create(user(number)) for number in range(12)]
    mover = client.query(model, made[0].id)
    mover.title = "Sales Manager"
    replaced = client.replace(mover)
    leave = PatchOp[model](
        operations=[PatchOperation[model](op=PatchOperation.Op.replace_, path="active", value=False)]
    )
    client.modify(model, made[1].id, leave)
    client.delete(model, made[2].id)
    client.delete(model, made[3].id)
    back = client.create(user(3))
    listed = client.query(model)
    return {
        "title": replaced.title,
        "listed": listed.total_results,
        "deactivated": client.query(model, made[1].id).active,
        "came_back": back.id != made[3].id,
    }


if __name__ == "__main__":
    what, url, token = sys.argv[1:]
    sys.stdout.write(json.dumps({"check": check, "days": days}[what](_client(url, token))))
