"""Files that people ask for: whole or not there, and for their owner only, since they name people."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from provisioner.errors import UsageError


@contextmanager
def whole_file(path: str | Path, option: str) -> Iterator[BinaryIO]:
    """A file that takes its place once it is whole.

    Args:
        option: that named the path, for the error.

    Raises:
        UsageError: it cannot be written.
    """
    target = Path(path)
    try:
        handle, fresh = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
            Path(fresh).replace(target)
        except BaseException:
            Path(fresh).unlink(missing_ok=True)
            raise
    except OSError as exc:
        reason = exc.strerror or type(exc).__name__
        raise UsageError(f"{option}: {path} cannot be written: {reason}.", remedy="Name another file.") from exc
