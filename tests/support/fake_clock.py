"""Calendar clocks that differ from this machine's, for whole processes: ours, and a Redis server."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

_FOLDER: Final = Path(__file__).parent / "other_clock"
#: What gives a Redis server another clock (Debian's package `faketime`), if it is here. Python's sleeps fail under it.
_LIBRARY: Final = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)

needs_fake_clock: Final = pytest.mark.skipif(_LIBRARY is None, reason="libfaketime is not installed")


def seconds_to(moment: datetime) -> int:
    """How far a clock is off that says this moment now, within a second."""
    return round((moment - datetime.now(UTC)).total_seconds())


def our_clock(off: int) -> dict[str, str]:
    """What a Python process's environment needs so that its clock is so many seconds ahead."""
    path = os.pathsep.join(filter(None, (str(_FOLDER), os.environ.get("PYTHONPATH", ""))))
    return {"PROVISIONER_TEST_CLOCK_OFF": str(off), "PYTHONPATH": path}


def redis_clock(off: int) -> dict[str, str]:
    """The same for a Redis server."""
    return {"LD_PRELOAD": str(_LIBRARY), "FAKETIME": f"{off:+}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
