"""Which of the old encodings bytes are in that are no UTF-8: a guess, by how the words look that it gives. Pure.

A list of people has few words beyond ASCII, too few for the statistics of languages. What each encoding makes of those
words tells more: signs within a name, capitals behind small letters and mixed scripts are wrong.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

_HIGH: Final = re.compile(rb"[\x80-\xff]")
_SEPARATORS: Final = frozenset(range(0x40))
#: Words that are looked at, and bytes of each.
_MOST_WORDS: Final = 1_000
_LONGEST: Final = 64
#: Encodings that are tried; of equally good ones the first.
CANDIDATES: Final = (
    *("cp1252", "cp1250", "cp1251", "mac_roman", "cp850", "cp852", "cp866", "koi8_r", "cp1253", "cp1254", "cp1257"),
    *("cp932", "gb18030", "euc_kr", "big5", "euc_jp", "cp1255", "cp1256"),
)
_BAD: Final = 1.0
_CAPITAL: Final = 0.8
_RARE: Final = 0.4
_NEIGHBOURS: Final = 0.3
_SLIGHT: Final = 0.04
#: Of guesses as near as this the first is taken; up to the other figure they are told as equally good.
_EQUAL: Final = 0.03
_NEAR: Final = 0.06
_VOWELS: Final = frozenset("аеиоуыэюяёіїєαεηιουωάέήίόύώ")
_VOWEL_SHARE: Final = 0.42
#: Lead bytes of the letters of a language that are used daily.
_COMMON: Final = {"gb18030": (0xB0, 0xD7), "big5": (0xA4, 0xC6), "euc_jp": (0xB0, 0xCF), "cp932": (0x88, 0x97)}
_HANGUL_LEADS: Final = 0xC8


@dataclass(frozen=True, slots=True)
class Guess:
    """The encoding that fits best, and the others that give as plain words, though different ones."""

    encoding: str
    others: tuple[str, ...] = ()


def guess(content: bytes) -> Guess:
    """Which encoding some bytes are in that are neither ASCII nor UTF-8."""
    words = _words(content)
    costs = {name: _cost(words, name) for name in CANDIDATES}
    least = min(costs.values())
    best = next(name for name in CANDIDATES if costs[name] <= least + _EQUAL)
    read = [word.decode(best, errors="replace") for word in words]
    others = [
        name
        for name in CANDIDATES
        if costs[name] - costs[best] < _NEAR and [word.decode(name, errors="replace") for word in words] != read
    ]
    return Guess(best, tuple(others))


def _words(content: bytes) -> list[bytes]:
    """Different words with a byte beyond ASCII."""
    found: dict[bytes, None] = {}
    place = 0
    while len(found) < _MOST_WORDS and (hit := _HIGH.search(content, place)) is not None:
        begin, end = hit.start(), hit.end()
        while begin > place and hit.start() - begin < _LONGEST and content[begin - 1] not in _SEPARATORS:
            begin -= 1
        while end < len(content) and end - hit.start() < _LONGEST and content[end] not in _SEPARATORS:
            end += 1
        found[content[begin:end]] = None
        place = end
    return list(found)


def _cost(words: list[bytes], encoding: str) -> float:
    """How odd the words look in an encoding, for each letter beyond ASCII; 0 is plain."""
    total, letters, vowels, foreign = 0.0, 0, 0, 0
    for word in words:
        try:
            text = word.decode(encoding)
        except UnicodeDecodeError:
            total += 2 * _BAD
            letters += 1
            continue
        beyond = [place for place, sign in enumerate(text) if sign > "\x7f"]
        letters += len(beyond)
        if encoding in _COMMON or encoding == "euc_kr":
            total += sum(_eastern(text[place], encoding) for place in beyond)
            continue
        total += sum(_western(text, place) for place in beyond)
        other = [text[place].lower() for place in beyond if _script(text[place]) not in ("LATIN", "")]
        foreign += len(other)
        vowels += sum(sign in _VOWELS for sign in other)
    if not letters:
        return 0.0
    # Every other letter or so is a vowel, whatever the language
    uneven = abs(vowels / foreign - _VOWEL_SHARE) * _NEIGHBOURS * foreign / letters if foreign else 0.0
    return total / letters + uneven


def _eastern(sign: str, encoding: str) -> float:
    if encoding == "euc_kr":
        return 0.0 if "\uac00" <= sign <= "\ud7a3" else _RARE
    if encoding in ("cp932", "euc_jp"):
        if "\uff61" <= sign <= "\uff9f":
            return 1.5 * _RARE
        if "\u3041" <= sign <= "\u30fe" or sign == "\u3005":
            return 0.0
    if not "\u3400" <= sign <= "\u9fff":
        return _RARE if unicodedata.category(sign).startswith(("P", "Z")) else _BAD
    lead = sign.encode(encoding)[0]
    first, last = _COMMON[encoding]
    if not first <= lead <= last:
        return _RARE
    # Of Korean bytes all lie here
    return _SLIGHT if encoding in ("gb18030", "big5") and lead <= _HANGUL_LEADS else 0.0


def _western(text: str, place: int) -> float:
    sign, before, after = text[place], text[place - 1 : place], text[place + 1 : place + 2]
    if not sign.isalpha() or unicodedata.category(sign) == "Lm":
        quiet = sign in "\u2019\u2018\u2013\u2014\xa0\xb7\xaa\xba"
        within = before.isalpha() and after.isalpha()
        return (_SLIGHT / 2 if within else _NEIGHBOURS) if quiet else _BAD
    script = _script(sign)
    cost = 0.0
    for other in (before, after):
        if other and other.isalpha() and _script(other) != script:
            cost += _BAD
        elif other > "\x7f" and script == "LATIN":
            # Names have accents here and there, seldom two in a row
            cost += _NEIGHBOURS / 2
    if sign.isupper() and before and before.isalpha() and (before.islower() or (after and after.islower())):
        cost += _CAPITAL
    if sign in "\u0390\u03b0\xd7\xf7\xaa\xba\xd0\xf0\xde\xfe\u0192":
        cost += _RARE
    return cost


def _script(sign: str) -> str:
    return unicodedata.name(sign, "").partition(" ")[0] if sign.isalpha() else ""
