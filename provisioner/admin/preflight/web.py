"""What of the web a check can see: tokens that somebody could find by trying, and which proxies are believed."""

from __future__ import annotations

import ipaddress
from typing import Final

from provisioner.model.check_result import Line
from provisioner.settings import UNGUESSABLE, Settings
from provisioner.store.admin.web_sessions import WebSessionStore

#: Bits of a network below which it holds so many addresses that it names no proxy.
_WIDE: Final = {4: 8, 6: 16}


def web(settings: Settings) -> list[Line]:
    """What the settings say by themselves; a token is never shown."""
    found: list[Line] = []
    own = settings.web
    owned = [("web.token", own.token), *((f"web.users: {user.name}", user.token) for user in own.users)]
    short = [name for name, token in owned if token is not None and len(token.get_secret_value()) < UNGUESSABLE]
    if short:
        message = f"A token of fewer than {UNGUESSABLE} characters can be found by trying: {', '.join(short)}."
        found.append(Line("web", "warn", message, "Use long random ones, such as `openssl rand -hex 32` makes."))
    wide = [str(one) for one in own.trusted_proxies if one.prefixlen < _WIDE[one.version]]
    if wide:
        message = (
            f"web.trusted_proxies believes {', '.join(wide)}, so anybody there can pretend to have another address: "
            "webhook_sources and the limit of wrong tokens protect nothing."
        )
        found.append(Line("web", "warn", message, "Name the address or the network of your proxy only."))
    return found


async def proxies(sessions: WebSessionStore, settings: Settings) -> list[Line]:
    """Whether the web saw a proxy within the last hour that the settings do not name.

    Raises:
        StoreError: Redis does not answer any more.
    """
    address = await sessions.ignored_proxy()
    if address is None or any(ipaddress.ip_address(address) in one for one in settings.web.trusted_proxies):
        return []
    message = (
        f"{address} sends headers of a reverse proxy, and web.trusted_proxies does not name it, so they are ignored: "
        "all who come through it count as one client."
    )
    remedy = "If it is a reverse proxy of yours, add its address to web.trusted_proxies."
    return [Line("web", "warn", message, remedy)]
