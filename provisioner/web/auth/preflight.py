"""What `check --connect` asks the OpenID provider."""

from __future__ import annotations

from contextlib import aclosing

from provisioner.model.check_result import Line
from provisioner.model.wording import counted
from provisioner.settings import Settings
from provisioner.web.auth.provider import Provider, ProviderError

_SUBJECT = "sign-in"


async def reach(settings: Settings) -> list[Line]:
    """Whether people can sign in by it; nothing where they need not. A sync goes on without."""
    if settings.web.oidc is None:
        return []
    provider = Provider(settings.web.oidc)
    async with aclosing(provider):
        try:
            keys = await provider.published()
        except ProviderError as exc:
            remedy = "Until then people sign in with tokens. See web.oidc.issuer, and that the web reaches it."
            return [Line(_SUBJECT, "warn", str(exc), remedy)]
    return [Line(_SUBJECT, "ok", f"{provider.host} answers and publishes {counted(keys, 'key')}.")]
