"""Where the roster comes from: a path, the newest file of a folder or glob, https, sftp, s3, or bytes pushed to us."""

from __future__ import annotations

import glob
import hashlib
import os
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from provisioner.errors import ConfigurationError, RosterError, UsageError
from provisioner.roster.forms import MAX_SIZE
from provisioner.roster.forms.packed import TABLES
from provisioner.roster.remote import Access, fetch_https, fetch_stored
from provisioner.roster.values import Source
from provisioner.settings import RosterSettings
from provisioner.settings.allowed import UnclearAddressError, is_allowed
from provisioner.settings.place import is_pushed, path_of, scheme_of, shown

#: How long a file that was written just now is watched before it is believed complete, in seconds.
SETTLE: Final = 0.2
_YOUNG: Final = 2.0
_MAX_SHOWN: Final = 120
_ENDINGS: Final = TABLES | {".zip"}


def fetch(
    settings: RosterSettings,
    *,
    url: str | None = None,
    known: Mapping[str, str] | None = None,
    prefixes: Collection[str] = (),
    bound: bool = False,
) -> Source:
    """Bring the roster from where the settings, or `url`, say.

    `prefixes` are `web.rosters`: a redirect may lead there, whatever network that is in. With `bound`, `url` is of
    somebody who may name nothing else: it, and every address and link that it leads to, has to lie under one of them.

    `known` holds `written` and `digest` of the writing that is known already; if it is still the newest, the source
    comes back with `unchanged` set and without content.

    Raises:
        RosterError: missing, unreadable, empty folder, still being written, or too large; says what to do.
        ConfigurationError: the address is of no kind that we read.
        UsageError: `url` is not covered by the prefixes.
    """
    address = (settings.url if url is None else url).strip()
    if is_pushed(address):
        raise ConfigurationError(
            "People are pushed one by one, so there is no file of them.", remedy="Name a file, or leave it to the runs."
        )
    known = known or {}
    if bound:
        check_allowed(address, prefixes)
    scheme = scheme_of(address)
    if scheme in ("http", "https"):
        headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        access = Access(settings.url, headers, settings.pages, settings.records)
        return fetch_https(address, known, MAX_SIZE, access=access, prefixes=prefixes, bound=bound)
    if scheme in ("sftp", "s3"):
        return fetch_stored(address, known, MAX_SIZE)
    if scheme != "file":
        raise ConfigurationError(
            f"roster.url: {scheme}:// is not read.", remedy="Write a path, folder or glob, https://, sftp:// or s3://."
        )
    path = path_of(address)
    if not path:
        raise ConfigurationError("roster.url is empty.", remedy="Write a path, https://, sftp:// or s3://.")
    return _fetch_local(path, known, prefixes if bound else None)


def check_allowed(address: str, prefixes: Collection[str]) -> None:
    """Check that somebody who may name only what the prefixes cover may name this address.

    Raises:
        UsageError: says why not.
    """
    try:
        if is_allowed(address, prefixes):
            return
        why = "no prefix of web.rosters covers it"
    except UnclearAddressError as exc:
        why = str(exc)
    raise UsageError(
        f"The roster {_cut(shown(address))!r} may not be named here: {why}.",
        remedy="Leave `roster` out to read roster.url, or ask whoever runs this to add a prefix to web.rosters.",
    )


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def pushed(content: bytes, name: str, *, written: str | None = None, modified: datetime | None = None) -> Source:
    """The roster as somebody handed it over.

    Args:
        written: which writing it is; none: each different content is one of its own.
        modified: when it was written; none: just now.
    """
    digest = digest_of(content)
    return Source(name, content, written or f"push:{digest}", modified or datetime.now(UTC), digest)


def digest_of(content: bytes) -> str:
    """``sha256:…`` of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _fetch_local(path: str, known: Mapping[str, str], prefixes: Collection[str] | None) -> Source:
    try:
        candidates = _candidates(path)
        if prefixes is not None:
            # By where links lead; what is read afterwards holds no link
            candidates = [candidate.resolve() for candidate in candidates]
            for candidate in candidates:
                _check_real(candidate, prefixes)
        for index, candidate in enumerate(candidates):
            source = _read_settled(candidate, known)
            if source is not None:
                return source
            if index + 1 == len(candidates):
                raise RosterError(f"{candidate} is still being written.", remedy="Try again when the export is done.")
    except FileNotFoundError:
        raise RosterError(f"{path} does not exist.", remedy="Fix roster.url, or wait for the export.") from None
    except PermissionError:
        raise RosterError(f"{path} may not be read.", remedy="Give this user the right to read it.") from None
    except (OSError, ValueError) as exc:
        raise RosterError(f"{path} cannot be read: {getattr(exc, 'strerror', None) or exc}.") from None
    raise RosterError(f"{path} holds no roster.", remedy="Fix roster.url, or wait for the export.")


def _check_real(path: Path, prefixes: Collection[str]) -> None:
    folders = [Path(path_of(prefix)).resolve() for prefix in prefixes if scheme_of(prefix) == "file"]
    if not any(path == folder or folder in path.parents for folder in folders):
        raise RosterError(
            "A link leads out of what web.rosters covers.", remedy="Put the file itself there, instead of a link."
        )


def _candidates(path: str) -> list[Path]:
    """The file itself, or the files of a folder or glob, the newest first."""
    place = Path(path).expanduser()
    if place.is_file():
        return [place]
    if place.is_dir():
        found = [one for one in place.iterdir() if one.suffix.lower() in _ENDINGS]
    elif glob.has_magic(path):
        found = [Path(one) for one in glob.glob(os.path.expanduser(path), recursive=True)]  # noqa: PTH111, PTH207 - a pattern is no path
    else:
        place.stat()
        raise RosterError(f"{path} is no file.", remedy="Name a file, a folder or a glob.")
    stats = [(one.stat(), one) for one in found if one.is_file() and not one.name.startswith((".", "~"))]
    return [one for stat, one in sorted(stats, key=lambda pair: (-pair[0].st_mtime_ns, str(pair[1]))) if stat.st_size]


def _read_settled(path: Path, known: Mapping[str, str]) -> Source | None:
    """The file's content, or None if it changes while we look."""
    before = path.stat()
    if before.st_size > MAX_SIZE:
        raise RosterError(f"{path} is larger than {MAX_SIZE // 1024**2} MiB.")
    written = _written(before)
    modified = datetime.fromtimestamp(before.st_mtime, UTC)
    if written == known.get("written"):
        return Source(str(path), b"", written, modified, known.get("digest", ""), unchanged=True)
    with path.open("rb") as stream:
        content = stream.read(MAX_SIZE + 1)
    if abs(time.time() - before.st_mtime) < _YOUNG:
        time.sleep(SETTLE)
    if _written(path.stat()) != written or len(content) != before.st_size:
        return None
    return Source(str(path), content, written, modified, digest_of(content))


def _written(stat: os.stat_result) -> str:
    return f"file:{stat.st_mtime_ns}:{stat.st_size}:{stat.st_ino}"
