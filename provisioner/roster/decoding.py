"""From bytes to text: UTF-8 with or without byte-order mark, UTF-16, Windows-1252, or what the settings say."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Final

from provisioner.errors import ConfigurationError

#: Stands where a byte could not be decoded; nobody writes this noncharacter into a roster.
UNDECODABLE: Final = "\ufdd0"
_ERRORS: Final = "provisioner.undecodable"
# Python knows these as encodings, but they spell other things than text files
_NO_ENCODINGS_OF_FILES: Final = frozenset({"unicode-escape", "raw-unicode-escape", "idna", "punycode", "undefined"})
# These never make halves of characters
_WHOLE: Final = frozenset({"utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"})
_SAMPLE: Final = 4096
_UTF_16_SHARE: Final = 0.3


def _mark(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        return UNDECODABLE, error.end
    raise error


codecs.register_error(_ERRORS, _mark)


@dataclass(frozen=True, slots=True)
class Decoded:
    """`damaged`: some bytes could not be decoded and stand as `UNDECODABLE`."""

    text: str
    encoding: str
    damaged: bool


def decode(content: bytes, encoding: str) -> Decoded:
    """Decode with the named encoding, or find it out if that is ``auto``. Never fails because of the bytes.

    A file that is UTF-8 but for a few bytes stays UTF-8, so that one broken row does not spoil everyone's name.

    Raises:
        ConfigurationError: there is no such encoding.
    """
    name = _detect(content) if encoding.strip().lower() == "auto" else _known(encoding)
    text = content.decode(name, errors=_ERRORS)
    if name not in _WHOLE:
        # Others do (UTF-7), and half a character is no text
        text = text.encode(errors="replace").decode()
    return Decoded(text.removeprefix("\ufeff"), name, UNDECODABLE in text)


def _known(encoding: str) -> str:
    try:
        info = codecs.lookup(encoding.strip())
        "a".encode(info.name)
        b"a\0".decode(info.name, errors="replace")
        if info.name in _NO_ENCODINGS_OF_FILES:
            raise LookupError(encoding)
    except (LookupError, UnicodeError, TypeError, ValueError):
        raise ConfigurationError(
            f"roster.encoding: there is no encoding {encoding!r}.",
            remedy="Write auto, utf-8, utf-16, cp1252 or another that Python knows.",
        ) from None
    return "utf-8-sig" if info.name == "utf-8" else info.name


def _detect(content: bytes) -> str:
    if content.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    sample = content[:_SAMPLE]
    half = max(1, len(sample) // 2)
    # Latin letters in UTF-16 have a NUL as every second byte
    if sample[1::2].count(0) / half > _UTF_16_SHARE and sample[0::2].count(0) / half < _UTF_16_SHARE / 3:
        return "utf-16-le"
    if sample[0::2].count(0) / half > _UTF_16_SHARE and sample[1::2].count(0) / half < _UTF_16_SHARE / 3:
        return "utf-16-be"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return _utf_8_or_western(content)
    return "utf-8"


def _utf_8_or_western(content: bytes) -> str:
    """Whether bytes that are not all UTF-8 are damaged UTF-8, or Windows-1252: whichever explains more of them."""
    text = content.decode("utf-8", errors=_ERRORS)
    broken = text.count(UNDECODABLE)
    beyond_ascii = len(text) - broken - (len(content) - _bytes_beyond_ascii(content))
    return "utf-8" if beyond_ascii > broken else "cp1252"


def _bytes_beyond_ascii(content: bytes) -> int:
    return len(content.translate(None, delete=bytes(range(128))))
