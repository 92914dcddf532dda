"""A small client of the switchboard, for tests and the demo; works against any sandbox process."""

import json
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlsplit


class SwitchboardError(Exception):
    """The switchboard refused a request; the message has its reason."""


class Switchboard:
    """Orders and looks at a sandbox at `url`. Every method opens its own connection, so threads may share one."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 80

    def state(self, instance: str) -> dict[str, Any]:
        """Everything that an instance holds: `accounts`, and what its kind has besides."""
        return dict(self._ask("GET", f"state/{instance}"))

    def accounts(self, instance: str) -> list[dict[str, Any]]:
        """The accounts of an instance, oldest first."""
        return list(self.state(instance)["accounts"])

    def seed(self, instance: str, accounts: Sequence[Mapping[str, Any]]) -> int:
        """Puts accounts in place, unchecked, in the vendor's read form; known ones are overlaid."""
        return int(self._ask("POST", f"seed/{instance}", list(accounts))["seeded"])

    def remove(self, instance: str, key: str) -> None:
        """Takes one account away: by user_name, msid, customer_id or id."""
        self._ask("DELETE", f"accounts/{instance}/{quote(key, safe='')}")

    def act(self, instance: str, action: str, **given: Any) -> Any:
        """Has somebody do something in a product's own pages: `complete` and `enrol` in Tribal Habits (`user_name`,
        `code`), `join` in habitate (a member in read form, `waitlist`), `next_actions` and `propensity` in Traitly
        (`customer_id`, `goal_name`, `likelihood`). Its webhooks are sent."""
        return self._ask("POST", f"act/{instance}/{action}", given)["done"]

    def webhooks(self, instance: str) -> list[dict[str, Any]]:
        """The webhooks that an instance sent: `body`, and the `status` that answered (0: nothing did)."""
        return list(self._ask("GET", f"webhooks/{instance}")["sent"])

    def log(self, instance: str, since: int = 0) -> list[dict[str, Any]]:
        """The requests from number `since` on: `at`, `method`, `path`, `query`, `template`, `source`, `status`,
        `rows`."""
        return list(self._ask("GET", f"log/{instance}?since={since}")["entries"])

    def clear_log(self, instance: str) -> None:
        """Forgets log and counts, keeps the state."""
        self._ask("DELETE", f"log/{instance}")

    def counts(self, instance: str) -> dict[str, Any]:
        """`reads`, `writes`, `rows`, `answers_429`, `dropped`, `by_endpoint`, `by_status`."""
        return dict(self._ask("GET", f"counts/{instance}"))

    def options(self, instance: str, **changes: Any) -> dict[str, Any]:
        """Changes options of an instance and answers all of them."""
        return dict(self._ask("POST", f"options/{instance}", changes))

    def fault(self, instance: str, **fault: Any) -> None:
        """Orders one fault: `match`, `times`, `share`, `seed`, `status`, `body`, `content_type`, `headers`,
        `delay_ms`, `hold`, `drop`, `after`, `skip`."""
        self._ask("POST", f"faults/{instance}", [fault])

    def clear_faults(self, instance: str) -> None:
        """Takes all faults of an instance back."""
        self._ask("DELETE", f"faults/{instance}")

    def reset(self, instance: str | None = None) -> None:
        """Forgets one instance, or all."""
        self._ask("POST", f"reset/{instance}" if instance else "reset")

    def _ask(self, method: str, path: str, payload: Any = None) -> Any:
        connection = HTTPConnection(self._host, self._port, timeout=30)
        try:
            body = None if payload is None else json.dumps(payload).encode()
            connection.request(method, f"/_sandbox/{path}", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise SwitchboardError(f"{method} {path}: {response.status} {answer.decode(errors='replace')}")
        return json.loads(answer)
