"""The webhooks that the stand-ins send: built by the vendors, sent after the answer, never tried again.

An instance sends only where its option `webhook_url` is set. Bodies have the form of the vendors' pages.
"""

import asyncio
import json
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_TIMEOUT = 10.0
_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Webhook:
    """One webhook to be sent: its body, and headers besides the content type."""

    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sent:
    """One webhook that was sent: `status` of the answer, 0 where none came."""

    body: Mapping[str, Any]
    status: int


class Sender:
    """Sends a vendor's webhooks in their order, and records the answers."""

    def __init__(self) -> None:
        self.waiting: deque[Webhook] = deque()
        self.sent: deque[Sent] = deque(maxlen=_KEPT)
        self._task: asyncio.Task[None] | None = None

    def tell(self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        """Puts one webhook in line."""
        self.waiting.append(Webhook(body, headers or {}))

    def flush(self, url: str) -> None:
        """Begins to send what waits; without an address it is forgotten, as nobody asked for it."""
        if not url:
            self.waiting.clear()
        elif self.waiting and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._send(url))

    async def _send(self, url: str) -> None:
        while self.waiting:
            webhook = self.waiting.popleft()
            self.sent.append(Sent(webhook.body, await asyncio.to_thread(_post, url, webhook)))


def _post(url: str, webhook: Webhook) -> int:
    headers = {"Content-Type": "application/json", "Accept": "application/json", **webhook.headers}
    content = json.dumps(webhook.body).encode()
    request = urllib.request.Request(url, content, headers, method="POST")  # noqa: S310 - set by whoever runs it
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0
