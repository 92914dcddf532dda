"""What Redis says when it does not do what was asked, and what to do about each; pure.

A library wraps these answers, and a script repeats them in the middle of its own error, so they are recognised by the
word that Redis itself begins them with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from redis.exceptions import AuthenticationError, BusyLoadingError, NoPermissionError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from provisioner.errors import StoreError, StoreRefusedError


@dataclass(frozen=True, slots=True)
class Refusal:
    """`state` follows the name of the server and makes a sentence with it; `remedy` is what to do."""

    state: str
    remedy: str


#: By the word that Redis begins its answer with.
REFUSALS: Final = {
    "OOM": Refusal(
        "is out of memory and takes no more writes (maxmemory is reached)",
        "Give it more memory by maxmemory, or shorten retention.operations.",
    ),
    "MISCONF": Refusal(
        "takes no writes, since it cannot save its data", "Look at its disk and its log; they say what failed."
    ),
    "READONLY": Refusal(
        "is a replica, which takes no writes", "Name the master in redis_url, or the Sentinels that know it."
    ),
    "MASTERDOWN": Refusal("is a replica that has lost its master", "Name the master in redis_url, or the Sentinels."),
    "NOREPLICAS": Refusal(
        "takes no writes, since too few replicas follow it (min-replicas-to-write)", "Start the replicas again."
    ),
    "LOADING": Refusal("is still loading its data", "Wait, then try again."),
    "BUSY": Refusal("is busy with a script that does not end", "Look at its log; `SCRIPT KILL` ends the script."),
    "NOAUTH": Refusal(
        "asks for a password, and redis_url has none", "Write redis://:password@host, or redis://user:password@host."
    ),
    "WRONGPASS": Refusal("refused the user or password of redis_url", "Correct them in redis_url."),
    "NOPERM": Refusal(
        "does not let the user of redis_url do what is needed",
        "Let that user use all keys, channels and commands but those of @admin, with INFO and CONFIG|GET besides.",
    ),
}
_WORDS: Final = re.compile(rf"(?:^|[\s:\-])({'|'.join(REFUSALS)})\b")
#: What redis-py makes of an answer without the word in front.
_TYPES: Final = ((NoPermissionError, "NOPERM"), (BusyLoadingError, "LOADING"), (AuthenticationError, "NOAUTH"))
_CLIENTS: Final = "max number of clients reached"
_ENCRYPTED: Final = "rediss://"
_BAD_PASSWORDS: Final = ("invalid username-password", "invalid password", "without any password configured")


def refusal_of(exc: BaseException) -> Refusal | None:
    """What Redis refuses by an error, or by what the error was raised from; None if it is something else."""
    for one in _chain(exc):
        if not isinstance(one, RedisError):
            continue
        said = str(one)
        if any(part in said.lower() for part in _BAD_PASSWORDS):
            return REFUSALS["WRONGPASS"]
        if found := _WORDS.search(said):
            return REFUSALS[found[1]]
        for kind, word in _TYPES:
            if isinstance(one, kind):
                return REFUSALS[word]
        name = type(one).__name__
        # redis-py has classes of its own for these, and takes the word away
        for kind_name, word in (("OutOfMemoryError", "OOM"), ("ReadOnlyError", "READONLY"), ("BusyError", "BUSY")):
            if name == kind_name:
                return REFUSALS[word]
        if _CLIENTS in said:
            return Refusal(
                "has no room for another client (maxclients)", "Raise maxclients, or find who holds so many."
            )
    return None


def explained(place: str, exc: BaseException, *, own: bool = False) -> StoreError:
    """An error of redis-py, or of what is built on it, as one of ours.

    Args:
        place: the server, as the beginning of a sentence.
        own: whether it is the server of `provisioner up`.
    """
    if (refusal := refusal_of(exc)) is not None:
        return StoreRefusedError(f"{place} {refusal.state}.", remedy=refusal.remedy, state=refusal.state)
    if (found := _encryption(place, exc)) is not None:
        state, remedy = found
        return StoreError(f"{place} {state}.", remedy=remedy)
    if ran_out_of_time(exc):
        remedy = (
            "See whether the server hangs: its log, its disk, `redis-cli ping`; or whether a firewall drops packets."
        )
        if _ENCRYPTED in place:
            remedy += " If it speaks no TLS at this port, write redis://."
        return StoreError(f"{place} does not answer in time.", remedy=remedy)
    said = (str(exc) or type(exc).__name__).rstrip(".")
    if any(isinstance(one, (RedisConnectionError, OSError)) for one in _chain(exc)):
        remedy = (
            "Start `provisioner up`, or set redis_url to the address of a Redis server."
            if own
            else "Check redis_url and that the server runs."
        )
        if "reset by peer" in said and _ENCRYPTED not in place and not own:
            remedy += " If it wants TLS at this port, write rediss://."
        return StoreError(f"{place} does not answer ({said}).", remedy=remedy)
    return StoreError(f"{place} refused a command ({said}).", remedy="Look at its log, and report it.")


def _encryption(place: str, exc: BaseException) -> tuple[str, str] | None:
    """What is wrong with TLS, as the rest of a sentence, and what to do; None if something else is wrong."""
    if _ENCRYPTED not in place:
        return None
    said = " ".join(str(one) for one in _chain(exc))
    if any(isinstance(one, FileNotFoundError) for one in _chain(exc)):
        return "cannot be asked, since a file that redis_url names for TLS is not there", "Correct ssl_ca_certs."
    if "CERTIFICATE_VERIFY_FAILED" not in said:
        return None
    if "mismatch" in said:
        return "shows a certificate of another name", "Write the name of its certificate into redis_url."
    if "expired" in said:
        return "shows a certificate that has expired", "Renew it, or set this machine's clock."
    remedy = "Name the file of the authority that signed it: rediss://…?ssl_ca_certs=/path/to/ca.pem"
    return "shows a certificate of an authority that this machine does not know", remedy


def ran_out_of_time(exc: BaseException) -> bool:
    """Whether nobody answered in time, or that is what an error was raised from."""
    return any(isinstance(one, (RedisTimeoutError, TimeoutError)) for one in _chain(exc))


def _chain(exc: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = exc
    for _ in range(10):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__
