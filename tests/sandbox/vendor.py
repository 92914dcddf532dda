"""A stand-in as the tests talk to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from provisioner.sandbox import Switchboard


@dataclass(frozen=True, slots=True)
class Vendor:
    """One instance: its name, a client with its credentials, and the switchboard."""

    name: str
    client: httpx.Client
    switchboard: Switchboard

    def get(self, path: str, **query: str | int) -> httpx.Response:
        """Sends a GET with a query."""
        return self.client.get(path, params=dict(query))

    def status(self, path: str, **query: str | int) -> int:
        """The status of a GET."""
        return self.get(path, **query).status_code

    def post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        """Sends a POST with a JSON body."""
        return self.client.post(path, json=body)

    def put(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        """Sends a PUT with a JSON body."""
        return self.client.put(path, json=body)

    def patch(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        """Sends a PATCH with a JSON body."""
        return self.client.patch(path, json=body)

    def options(self, **changes: Any) -> None:
        """Changes options of the instance."""
        self.switchboard.options(self.name, **changes)

    def fault(self, **fault: Any) -> None:
        """Orders a fault of the instance."""
        self.switchboard.fault(self.name, **fault)

    def state(self) -> dict[str, Any]:
        """What the instance holds."""
        return self.switchboard.state(self.name)

    def seed(self, *accounts: Mapping[str, Any]) -> None:
        """Puts accounts in place."""
        self.switchboard.seed(self.name, accounts)

    def counts(self) -> dict[str, Any]:
        """What was counted."""
        return self.switchboard.counts(self.name)
