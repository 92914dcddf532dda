"""Writes docs/redis-keys.md from the table of keys in provisioner/store/redis/keys.py.

::

    python scripts/make_keys_reference.py            write the file
    python scripts/make_keys_reference.py --check    exit with 1 if it is not current
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from provisioner.store.redis.keys import PREFIX, TABLE, Key

FILE: Final = Path(__file__).parents[1] / "docs" / "redis-keys.md"
_HEAD: Final = f"""# What is kept in Redis

<!-- Written by scripts/make_keys_reference.py from provisioner/store/redis/keys.py; edit that. -->

Every key, without its beginning `{PREFIX}`. A part in angle brackets stands for a name. A backup holds what cannot be
read or planned again.

## Keys that name people, or that something about people can be read from
"""
_REST: Final = """
## Keys that name nobody of the roster
"""


def reference() -> str:
    """The page."""
    personal = [key for key in TABLE if key.personal]
    rest = [key for key in TABLE if not key.personal]
    return "\n".join([_HEAD, *_table(personal, personal=True), _REST, *_table(rest, personal=False), ""])


def _table(rows: Iterable[Key], *, personal: bool) -> Iterator[str]:
    columns = ["key", "type", "what it holds", *(["what of a person"] if personal else []), "for how long", "backup"]
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for key in rows:
        what = [key.meaning, *([key.personal] if personal else [])]
        cells = [f"`{key.template}`", key.type.lower(), *what, key.lifetime, "yes" if key.backup else ""]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description="Write the reference of Redis keys.")
    parser.add_argument("--check", action="store_true", help="only say whether the page is current")
    if parser.parse_args().check:
        if FILE.exists() and FILE.read_text(encoding="utf-8") == reference():
            return 0
        print(f"{FILE.name} is not current: run scripts/make_keys_reference.py", file=sys.stderr)
        return 1
    FILE.write_text(reference(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
