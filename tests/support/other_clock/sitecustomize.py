"""Python reads this where the folder is on PYTHONPATH: the process's calendar clock is so many seconds off."""

import os
from datetime import UTC, datetime, timedelta

import time_machine

# `time.monotonic` and sleeps stay as they are
_OFF = timedelta(seconds=float(os.environ["PROVISIONER_TEST_CLOCK_OFF"]))
time_machine.travel(datetime.now(UTC) + _OFF, tick=True).start()
