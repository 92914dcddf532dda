"""Which server speaks or wrote a file: Redis or Valkey, its version, and whose data it can read. No I/O here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

Product = Literal["Redis", "Valkey"]

#: Its commands are all that we use. Every Valkey, which began as 7.2, has them.
OLDEST_SERVER: Final = (6, 2)

#: The first output line of `redis-server --version` and `valkey-server --version`.
_OUTPUT: Final = re.compile(r"(Redis|Valkey) server v=(\d+\.\d+\S*)")
_NAME: Final = re.compile(r"(Redis|Valkey) (\d+\.\d+\S*)")
#: The first bytes of a data file: format, then as first field the version of the server that wrote it, with its length.
_HEADER: Final = re.compile(rb"(?:REDIS|VALKEY)\d+\xfa[\x09\x0a](redis|valkey)-ver([\x01-\x3f])", re.DOTALL)

#: Valkey began as Redis 7.2 and reads its files. Redis changed its format in 7.4, Valkey in 9.0; neither reads the
#: other's since.
_SHARED: Final = (7, 2)
_FIRST_OWN_VALKEY: Final = (9, 0)


@dataclass(frozen=True, slots=True)
class ServerVersion:
    """A server's product and version.

    Attributes:
        number: as the server writes it, such as `9.1.2` or `8.0.0-rc1`.
    """

    product: Product
    number: str

    @classmethod
    def of_output(cls, text: str) -> Self | None:
        """From the output of `redis-server --version`; None if it comes from something else."""
        return cls._of(_OUTPUT.search(text))

    @classmethod
    def of_name(cls, text: str) -> Self | None:
        """From its own text, such as `Valkey 9.1.2`; None if it is none."""
        return cls._of(_NAME.fullmatch(text))

    @classmethod
    def of_info(cls, info: Mapping[str, Any]) -> Self:
        """From an answer to INFO, parsed by redis-py.

        Valkey answers `redis_version:7.2.4` for old clients, whatever its own version is.
        """
        if "valkey_version" in info:
            return cls("Valkey", str(info["valkey_version"]))
        return cls("Redis", str(info.get("redis_version", "0")))

    @classmethod
    def of_header(cls, header: bytes) -> Self | None:
        """From the first bytes of a data file (RDB, or an append-only file after a rewrite).

        None for an append-only file of plain commands, which every server reads, and for anything else.
        """
        found = _HEADER.match(header)
        if not found:
            return None
        number = header[found.end() : found.end() + found[2][0]].decode("ascii", "replace")
        return cls.of_name(f"{'Valkey' if found[1] == b'valkey' else 'Redis'} {number}")

    @classmethod
    def _of(cls, found: re.Match[str] | None) -> Self | None:
        return None if found is None else cls("Valkey" if found[1] == "Valkey" else "Redis", found[2])

    @property
    def release(self) -> tuple[int, ...]:
        """Its first two numbers: within them, the format of the files stays the same."""
        return tuple(int(part) for part in self.number.split(".")[:2] if part.isdecimal())

    def reads(self, writer: ServerVersion) -> bool:
        """Whether it reads all that another server may have written: never, where that is newer."""
        if self.product == writer.product:
            return self.release >= writer.release
        if self.product == "Valkey":
            return writer.release <= _SHARED
        return writer.release < _FIRST_OWN_VALKEY and self.release >= _SHARED

    def __str__(self) -> str:
        return f"{self.product} {self.number}"
