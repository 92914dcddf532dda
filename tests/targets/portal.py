"""A deployment with one Tribal Habits portal and a roster of a few columns, driven in this process."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer
from provisioner.sandbox.tribal_habits import TRIBAL_HABITS_KEY
from tests.support.harness import load_settings, plan_once, sync_once

R = TypeVar("R")
PORTAL = "tribal_habits"
COLUMNS = ("id", "first", "last", "status", "team", "licence", "obtained")


def person(number: int, **more: str) -> dict[str, str]:
    """A row of the roster."""
    row = {"id": f"E{number}", "first": "Ann", "last": f"Lee{number}", "status": "active", "team": "Sales"}
    return {**row, "licence": "", "obtained": "", **more}


class Portal:
    """The roster, the settings and the stand-in of one test."""

    def __init__(self, sandbox: SandboxServer, redis_url: str, folder: Path, **target: Any) -> None:
        self.board = sandbox.switchboard
        self.board.options(PORTAL, rate_limit=100_000, rate_window=1)
        self._folder = folder
        self._roster = folder / "people.csv"
        self.document: dict[str, Any] = {
            "redis_url": redis_url,
            "data_dir": str(folder),
            "roster": {
                "url": str(self._roster),
                "key": "id",
                "employed": "status = 'active'",
                "absence": {"snapshots": 1, "grace": "0s"},
                "gate": {"max_shrink": 90, "max_leaving": 90},
            },
            "guards": {"leavers": {"percent": 100}, "updates": {"percent": 100}, "missing": {"percent": 50}},
            "targets": {
                PORTAL: {
                    "base_url": sandbox.url_of(PORTAL),
                    "api_key": TRIBAL_HABITS_KEY,
                    "rate_limit": "20000/second",
                    "page_size": 10,
                    "match": ["user_name", "email"],
                    "attributes": {
                        "user_name": "id",
                        "first_name": "first",
                        "last_name": "last",
                        "email": "LOWER(id) || '@example.com'",
                        "active": "TRUE",
                        "role_1": "team",
                    },
                    "leaver": {"active": "FALSE"},
                    **target,
                }
            },
        }

    @property
    def target(self) -> dict[str, Any]:
        """The settings of the portal, to be changed."""
        part: dict[str, Any] = self.document["targets"][PORTAL]
        return part

    def roster(self, rows: Sequence[dict[str, str]]) -> None:
        """Write the roster again."""
        with self._roster.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)

    def run(self, use: Callable[[Deployment], Awaitable[R]]) -> R:
        """Use the deployment as a process of its own would."""

        async def main() -> R:
            async with Deployment.open(load_settings(self._folder, self.document)) as dep:
                return await use(dep)

        return asyncio.run(main())

    def sync(self, **request: Any) -> dict[str, Any]:
        """One run; the portal's part of its JSON. The log of requests begins with it."""
        self.board.clear_log(PORTAL)
        document = self.run(lambda dep: sync_once(dep, **request))
        assert "error" not in document, document
        part: dict[str, Any] = document["targets"][PORTAL]
        return part

    def plan(self) -> dict[str, Any]:
        """The JSON of a plan."""
        self.board.clear_log(PORTAL)
        return self.run(plan_once)

    def listings(self) -> list[str]:
        """The queries of the requests for users that arrived since the log was cleared."""
        return [one["query"] for one in self.board.log(PORTAL) if one["path"] == "/papi/users"]

    def writes(self) -> int:
        """How many requests since then were no GET."""
        return sum(one["method"] != "GET" for one in self.board.log(PORTAL))

    def held(self, name: str) -> dict[str, Any]:
        """A user as the portal holds it."""
        accounts = self.board.accounts(PORTAL)
        return next(one for one in accounts if one["user_name"] == name)

    def enrolled(self) -> list[tuple[str, str]]:
        """Every enrolment that was asked for, in order: user name and code."""
        return [(one["user_name"], one["code"]) for one in self.board.state(PORTAL)["enrolments"]]
