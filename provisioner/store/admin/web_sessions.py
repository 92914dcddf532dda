"""What the web server has to remember of its visitors: the key that signs sessions, wrong tokens, repeated requests."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass
from typing import Final

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors

#: Wrong tokens that cost nothing; from then on each doubles the wait.
FREE_TRIES: Final = 5
LONGEST_WAIT: Final = 300
#: Seconds after the last wrong token until an address starts over, and for which a proxy that is not trusted is noted.
_FORGOTTEN: Final = 3600
#: Seconds for which an idempotency key is remembered.
REMEMBERED: Final = 24 * 3600
#: Seconds after which a request that died in the middle may be repeated.
_IN_HAND: Final = 60
#: Seconds for which an answer of the provider cannot be taken twice; longer than a sign-in may take.
_USED_FOR: Final = 3600


@dataclass(frozen=True, slots=True)
class Repeat:
    """What is known of an idempotency key: whether it came with another request, and the run it led to, if by now."""

    differs: bool
    run: str | None


@dataclass(frozen=True, slots=True)
class SignedInBy:
    """Who signed in by OpenID Connect, for one session.

    `made_by` is a digest of the settings that decided on the role; `id_token` is for ending the provider's session.
    """

    subject: str
    role: str
    made_by: str
    id_token: str


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a session: the key that signs all of them, whether it is over, and who it is by a provider."""

    key: bytes
    over: bool
    by: SignedInBy | None


class WebSessionStore:
    """Sessions, wrong tokens and idempotency keys."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def key(self) -> bytes:
        """The key that signs sessions, the same for all processes."""
        return (await self.session("-")).key

    async def session(self, name: str) -> Known:
        """What is known of a session by its name, in one round trip."""
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.get(keys.WEB_KEY)
                pipe.exists(keys.web_ended(name))
                pipe.get(keys.web_signed_in(name))
                key, over, by = await pipe.execute()
            if key is None:
                await self._redis.set(keys.WEB_KEY, secrets.token_bytes(32), nx=True)
                key = await self._redis.get(keys.WEB_KEY)
        return Known(bytes(key), bool(over), None if by is None else SignedInBy(**json.loads(by)))

    async def begin_session(self, name: str, by: SignedInBy, seconds: int) -> None:
        """Remember who signed in by a provider, for as long as the session lasts."""
        with redis_errors():
            await self._redis.set(keys.web_signed_in(name), json.dumps(asdict(by)), ex=max(1, seconds))

    async def end_session(self, session: str, seconds: int) -> None:
        """Remember that somebody signed out, for as long as the session would have lasted, and forget who it was."""
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.set(keys.web_ended(session), "1", ex=max(1, seconds))
                pipe.delete(keys.web_signed_in(session))
                await pipe.execute()

    async def take_answer(self, state: str) -> bool:
        """Whether the answer to a sign-in comes for the first time; it is remembered."""
        with redis_errors():
            return bool(await self._redis.set(keys.web_used(_digest(state)), "1", nx=True, ex=_USED_FOR))

    async def note_ignored_proxy(self, address: str) -> None:
        """Note that somebody sent headers of a reverse proxy, and is not trusted."""
        with redis_errors():
            await self._redis.set(keys.WEB_PROXY, address, ex=_FORGOTTEN)

    async def ignored_proxy(self) -> str | None:
        """Who was last noted so within the hour; None: nobody."""
        with redis_errors():
            found = await self._redis.get(keys.WEB_PROXY)
        return found.decode() if found is not None else None

    async def wait(self, address: str) -> int:
        """Seconds until an address may try a token again; 0 if at once."""
        with redis_errors():
            left = await self._redis.pttl(f"{_tries(address)}:wait")
        return max(0, -(-int(left) // 1000))

    async def wrong(self, address: str) -> int:
        """Count a wrong token; seconds until the next try, which double with each."""
        place = _tries(address)
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.incr(place)
                pipe.expire(place, _FORGOTTEN)
                count, _ = await pipe.execute()
            seconds = min(LONGEST_WAIT, 2 ** min(16, int(count) - FREE_TRIES - 1)) if count > FREE_TRIES else 0
            if seconds:
                await self._redis.set(f"{place}:wait", "1", ex=seconds)
        return seconds

    async def right(self, address: str) -> None:
        """Forget an address's wrong tokens."""
        with redis_errors():
            await self._redis.delete(_tries(address))

    async def begin_once(self, name: str, content: bytes) -> Repeat | None:
        """Take an idempotency key for a request; None if it is new, else what is known of it."""
        place, digest = keys.web_once(_digest(name)), _digest(content)
        # With a word of its own: a client whose answer was lost asks again, and must know its own mark
        fresh = json.dumps({"content": digest, "run": None, "by": secrets.token_hex(8)})
        with redis_errors():
            if await self._redis.set(place, fresh, nx=True, ex=_IN_HAND):
                return None
            text = await self._redis.get(place)
        if text is None:
            return await self.begin_once(name, content)
        if text == fresh.encode():
            return None
        known = json.loads(text)
        return Repeat(known["content"] != digest, known["run"])

    async def end_once(self, name: str, content: bytes, run: str | None) -> None:
        """Remember what a request with an idempotency key led to; None: to nothing, so it may be repeated."""
        place = keys.web_once(_digest(name))
        with redis_errors():
            if run is None:
                await self._redis.delete(place)
            else:
                await self._redis.set(place, json.dumps({"content": _digest(content), "run": run}), ex=REMEMBERED)


def _tries(address: str) -> str:
    return keys.web_tries(_digest(address))


def _digest(text: str | bytes) -> str:
    content = text.encode() if isinstance(text, str) else text
    return hashlib.blake2b(content, digest_size=16).hexdigest()
