"""`docs/wrong-mapping.md`: its commands print what stands there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_print_what_the_page_says() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = str(ROOT / "scripts" / "make_wrong_mapping.py")
    subprocess.run([sys.executable, script, "--check"], check=True, env=environment)
