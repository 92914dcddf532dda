"""Processes that end with the one that started them, even if that dies without a word."""

from __future__ import annotations

import os
import sys
import threading
from typing import Final

#: Run by a Python of its own before it becomes the process, as code between fork and exec is not safe with threads.
#: 1 is PR_SET_PDEATHSIG, 15 SIGTERM: the kernel ends the process in order when its parent dies.
_TIED_TO_PARENT: Final = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15, 0, 0, 0); "
    "os.getppid() == int(sys.argv[1]) or sys.exit(1); os.execv(sys.argv[2], sys.argv[2:])"
)


def tied_to_us(command: list[str]) -> list[str]:
    """The command in a form that ends with this process. Linux only; elsewhere it is the command itself."""
    if sys.platform == "linux" and threading.current_thread() is threading.main_thread():
        return [sys.executable, "-I", "-S", "-c", _TIED_TO_PARENT, str(os.getpid()), *command]
    return command
