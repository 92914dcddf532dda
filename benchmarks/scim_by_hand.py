"""The people of a roster in a SCIM service by scim2-client alone; run by the Python of the client's own environment.

::

    python scim_by_hand.py load|look URL TOKEN ROSTER SENDERS

`load` makes everybody and puts them into the groups of their department, many in one request. `look` reads everything
and compares it. Each says as JSON the seconds that it took, and what it found otherwise than the roster has it.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_models import PatchOp, PatchOperation, SearchRequest

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
#: Members of one request, and users of a page.
MEMBERS, PAGE = 50, 100


def user(row: dict[str, str]) -> dict[str, Any]:
    """What the service is to hold of a person."""
    email = row["work_email"].lower()
    return {
        "schemas": [USER, ENTERPRISE],
        "userName": email,
        "externalId": row["employee_id"],
        "displayName": f"{row['first_name']} {row['last_name']}",
        "name": {"givenName": row["first_name"], "familyName": row["last_name"]},
        "emails": [{"value": email, "type": "work"}],
        "active": True,
        "title": row["job_title"],
        ENTERPRISE: {"department": row["department"]},
    }


def all_of(client: Any, model: Any) -> Iterator[Any]:
    """Every resource, page by page."""
    shown, total = 0, 1
    while shown < total:
        page = client.query(model, query_parameters=SearchRequest(start_index=shown + 1, count=PAGE))
        shown += len(page.resources or ())
        total = page.total_results
        yield from page.resources or ()


def load(client: Any, rows: list[dict[str, str]], senders: int) -> list[str]:
    """Make everybody, so many at once, and put them into their groups."""
    users, groups = client.get_resource_model("User"), client.get_resource_model("Group")
    ids = {group.display_name: group.id for group in all_of(client, groups)}
    with ThreadPoolExecutor(senders) as pool:
        made = list(pool.map(lambda row: client.create(users.model_validate(user(row))).id, rows))
    for name, id_ in ids.items():
        inside = [key for key, row in zip(made, rows, strict=True) if row["department"] == name]
        for start in range(0, len(inside), MEMBERS):
            value = [{"value": key} for key in inside[start : start + MEMBERS]]
            operation = PatchOperation[groups](op=PatchOperation.Op.add, path="members", value=value)
            client.modify(groups, id_, PatchOp[groups](operations=[operation]))
    return []


def look(client: Any, rows: list[dict[str, str]], senders: int) -> list[str]:
    """Read everybody and every group, and compare: who is otherwise than the roster has it."""
    del senders
    users, groups = client.get_resource_model("User"), client.get_resource_model("Group")
    inside = {member.value: group.display_name for group in all_of(client, groups) for member in group.members or ()}
    held = {}
    for one in all_of(client, users):
        shown = one.model_dump()
        held[one.external_id] = {name: shown.get(name) for name in user(rows[0])} | {"group": inside.get(one.id)}
    return [
        row["employee_id"] for row in rows if held.get(row["employee_id"]) != user(row) | {"group": row["department"]}
    ]


def main(what: str, url: str, token: str, roster: str, senders: str) -> None:
    """Do it, and say how long it took."""
    with Path(roster).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    client = SyncSCIMClient(httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60))
    began = time.perf_counter()
    client.discover()
    wrong = {"load": load, "look": look}[what](client, rows, int(senders))
    took = time.perf_counter() - began
    sys.stdout.write(json.dumps({"seconds": took, "wrong": len(wrong), "first": wrong[:3]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
