"""From bytes to text: UTF-8 with or without byte-order mark, UTF-16, Windows-1252, or what the settings say."""

from __future__ import annotations

import codecs
from typing import Final

from provisioner.errors import ConfigurationError

#: Stands where a byte could not be decoded; nobody writes this noncharacter into a roster.
UNDECODABLE: Final = "\ufdd0"
_MARK: Final = UNDECODABLE.encode()
_ERRORS: Final = "provisioner.undecodable"
# Python knows these as encodings, but they spell other things than text files
_NO_ENCODINGS_OF_FILES: Final = frozenset({"unicode-escape", "raw-unicode-escape", "idna", "punycode", "undefined"})
# These never make halves of characters
_WHOLE: Final = frozenset({"utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"})
_SAMPLE: Final = 4096
_PIECE: Final = 1024 * 1024
_UTF_16_SHARE: Final = 0.3


def _mark(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        return UNDECODABLE, error.end
    raise error


codecs.register_error(_ERRORS, _mark)


def decode(content: bytes, encoding: str) -> bytes:
    """The content as UTF-8 without byte-order mark, from the named encoding or, if that is ``auto``, the one found out.

    Never fails because of the bytes: what cannot be decoded stands as `UNDECODABLE`. A file that is UTF-8 but for a few
    bytes stays UTF-8, so that one broken row does not spoil everyone's name. What is UTF-8 already is not copied.

    Raises:
        ConfigurationError: there is no such encoding.
    """
    name, valid = _detect(content) if encoding.strip().lower() == "auto" else (_known(encoding), False)
    if name in ("utf-8", "utf-8-sig") and (valid or _is_utf_8(content)):
        # Once for the file and once more for what was in it
        return content.removeprefix(codecs.BOM_UTF8 if name == "utf-8-sig" else b"").removeprefix(codecs.BOM_UTF8)
    # Some make halves of characters (UTF-7), which are no text
    text = content.decode(name, errors=_ERRORS)
    return text.removeprefix("\ufeff").encode(errors="strict" if name in _WHOLE else "replace")


def is_marked(text: bytes) -> bool:
    """Whether UTF-8 holds what nobody writes: NUL, or `UNDECODABLE`."""
    return b"\0" in text or (not text.isascii() and _MARK in text)


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


def _detect(content: bytes) -> tuple[str, bool]:
    """The encoding, and whether the content was looked through already and is valid in it."""
    if content.startswith(codecs.BOM_UTF8):
        return "utf-8-sig", False
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32", False
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", False
    sample = content[:_SAMPLE]
    half = max(1, len(sample) // 2)
    # Latin letters in UTF-16 have a NUL as every second byte
    if sample[1::2].count(0) / half > _UTF_16_SHARE and sample[0::2].count(0) / half < _UTF_16_SHARE / 3:
        return "utf-16-le", False
    if sample[0::2].count(0) / half > _UTF_16_SHARE and sample[1::2].count(0) / half < _UTF_16_SHARE / 3:
        return "utf-16-be", False
    return ("utf-8", True) if _is_utf_8(content) else (_utf_8_or_western(content), False)


def _is_utf_8(content: bytes) -> bool:
    """Whether all of it is valid; piece by piece, since the text of a large file would take its room twice over."""
    if content.isascii():
        return True
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(content), _PIECE):
            decoder.decode(content[start : start + _PIECE], final=start + _PIECE >= len(content))
    except UnicodeDecodeError:
        return False
    return True


def _utf_8_or_western(content: bytes) -> str:
    """Whether bytes that are not all UTF-8 are damaged UTF-8, or Windows-1252: whichever explains more of them."""
    text = content.decode("utf-8", errors=_ERRORS)
    broken = text.count(UNDECODABLE)
    beyond_ascii = len(text) - broken - (len(content) - _bytes_beyond_ascii(content))
    return "utf-8" if beyond_ascii > broken else "cp1252"


def _bytes_beyond_ascii(content: bytes) -> int:
    return len(content.translate(None, delete=bytes(range(128))))
