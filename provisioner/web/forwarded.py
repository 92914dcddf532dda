"""From where a request comes, and by which scheme, where reverse proxies are between the client and this process.

A proxy adds the address that it got a request from to the end of `X-Forwarded-For`. Whoever sends a request can write
anything before that. So the entries are read from the right, and only as long as the one who wrote them is trusted.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

from provisioner.errors import StoreError
from provisioner.logs import get_logger

log = get_logger(__name__)

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_SCHEMES: Final = ("http", "https")
#: Seconds after which a proxy that is not trusted is noted again.
_NOTED_EVERY: Final = 600.0


def address_of(text: str) -> Address | None:
    """Parse an address as proxies write it, with or without port and brackets; None for anything else.

    An IPv4 address within an IPv6 one is returned as IPv4, since a socket for both families shows it so.
    """
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def client_of(
    peer: str, forwarded_for: Iterable[str], forwarded_proto: Iterable[str], trusted: Sequence[Network]
) -> tuple[str, str | None]:
    """(address, scheme) of the client; the scheme is None where no trusted proxy names it.

    The rightmost address that is no trusted proxy is the client. If all are, the leftmost is. An entry that is no
    address ends the look: the proxy that wrote it is the client. With one scheme for several proxies, it is the
    client's; with several, it is the one that the same proxy wrote.

    Args:
        peer: the other end of the connection.
        forwarded_for: values of `X-Forwarded-For`, in the order of the headers.
        forwarded_proto: values of `X-Forwarded-Proto`, likewise.
    """

    def is_proxy(address: Address) -> bool:
        return any(address in network for network in trusted)

    found = address_of(peer)
    if found is None or not is_proxy(found):
        return (peer if found is None else str(found)), None
    hops = 0
    for text in reversed(_entries(forwarded_for)):
        address = address_of(text)
        if address is None:
            break
        found, hops = address, hops + 1
        if not is_proxy(address):
            break
    schemes = [text.lower() for text in _entries(forwarded_proto)]
    scheme = schemes[max(0, len(schemes) - max(hops, 1))] if schemes else None
    return str(found), scheme if scheme in _SCHEMES else None


def _entries(values: Iterable[str]) -> list[str]:
    return [text.strip() for value in values for text in value.split(",") if text.strip()]


class ForwardedHeaders:
    """Puts client and scheme into each request's scope; everything behind it reads them there only."""

    def __init__(
        self, app: ASGIApp, trusted: Sequence[Network], note: Callable[[str], Awaitable[None]] | None = None
    ) -> None:
        """
        Args:
            note: takes the address of a proxy that is not trusted, for `check`.
        """
        self._app, self._trusted, self._note = app, tuple(trusted), note
        self._said = False
        self._noted = -_NOTED_EVERY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and scope.get("client"):
            peer, port = scope["client"]
            own = _values(scope, b"x-forwarded-for")
            address, scheme = client_of(peer, own, _values(scope, b"x-forwarded-proto"), self._trusted)
            scope["client"] = (address, port if address == peer else 0)
            if scheme is not None:
                scope["scheme"] = scheme
            elif own and address_of(peer) == address_of(address):
                await self._app(scope, receive, send)
                await self._ignored(address)
                return
        await self._app(scope, receive, send)

    async def _ignored(self, address: str) -> None:
        """Say once that a proxy's headers are ignored, and note it; an address of the public net may be a person's."""
        found = address_of(address)
        if found is None or not found.is_private or any(found in one for one in self._trusted):
            return
        if self._note is not None and time.monotonic() - self._noted >= _NOTED_EVERY:
            self._noted = time.monotonic()
            try:
                await self._note(address)
            except StoreError:
                log.debug("proxy_not_noted", proxy=address)
        if self._said:
            return
        self._said = True
        log.warning(
            "forwarded_headers_ignored",
            proxy=address,
            remedy="If this is a reverse proxy of yours, add its address to web.trusted_proxies.",
        )


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
