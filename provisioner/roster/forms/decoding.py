"""From bytes to text: UTF-8 with or without byte-order mark, UTF-16, what the settings say, or a guess."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Final

from provisioner.errors import ConfigurationError
from provisioner.roster.forms.encodings import Guess, guess

#: The mark where a byte could not be decoded; nobody writes this noncharacter into a roster.
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


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text as UTF-8 without byte-order mark, and which encoding it was in.

    `encoding` is ``ascii`` where nothing tells. `guess` is set where the encoding was guessed by what it gives.
    """

    text: bytes
    encoding: str
    guess: Guess | None = None


def decode(content: bytes, encoding: str) -> Decoded:
    """The content as UTF-8, from the named encoding or, if that is ``auto``, the one found out.

    Never fails because of the bytes: what cannot be decoded becomes `UNDECODABLE`. A file that is UTF-8 but for a few
    bytes stays UTF-8, so that one broken row does not spoil everyone's name. What is UTF-8 already is not copied.

    Raises:
        ConfigurationError: there is no such encoding.
    """
    guessed: Guess | None = None
    valid = False
    if encoding.strip().lower() == "auto":
        name, valid = _detect(content)
        if name is None:
            guessed = guess(content)
            name = guessed.encoding
    else:
        name = _known(encoding)
    if name in ("utf-8", "utf-8-sig") and (valid or _is_utf_8(content)):
        # Once for the file and once more for what was in it
        text = content.removeprefix(codecs.BOM_UTF8 if name == "utf-8-sig" else b"").removeprefix(codecs.BOM_UTF8)
        return Decoded(text, "ascii" if text.isascii() else "utf-8")
    # Some make halves of characters (UTF-7), which are no text
    decoded = content.decode(name, errors=_ERRORS)
    text = decoded.removeprefix("\ufeff").encode(errors="strict" if name in _WHOLE else "replace")
    return Decoded(text, "ascii" if text.isascii() else name.removesuffix("-sig"), guessed)


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


def _detect(content: bytes) -> tuple[str | None, bool]:
    """The encoding, none where it can only be guessed, and whether the content is known to be valid in it."""
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
    if _is_utf_8(content):
        return "utf-8", True
    return ("utf-8" if _is_damaged_utf_8(content) else None), False


def _is_utf_8(content: bytes) -> bool:
    """Whether the bytes are valid UTF-8. They are decoded in pieces, so that the text takes no room besides."""
    if content.isascii():
        return True
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(content), _PIECE):
            decoder.decode(content[start : start + _PIECE], final=start + _PIECE >= len(content))
    except UnicodeDecodeError:
        return False
    return True


def _is_damaged_utf_8(content: bytes) -> bool:
    """Whether bytes that are not all UTF-8 are damaged UTF-8: whether that explains more of them than it does not."""
    text = content.decode("utf-8", errors=_ERRORS)
    broken = text.count(UNDECODABLE)
    beyond_ascii = len(text) - broken - (len(content) - _bytes_beyond_ascii(content))
    return beyond_ascii > broken


def _bytes_beyond_ascii(content: bytes) -> int:
    return len(content.translate(None, delete=bytes(range(128))))
