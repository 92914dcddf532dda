"""The pin files as pip sees them, the oldest one of a supported Python and the newest.

`tests/test_ground.py` compares the files with the installed packages' own metadata; here pip itself says what it does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

import pytest
from packaging.utils import canonicalize_name

from tests.packaging.environments import empty_environment, run
from tests.support.pins import PIN_FILES, ROOT, read_pins, this_environment

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(900)]

#: By minor version of Python: the pip inside its first release. A system's own packages may bring a newer one.
_FIRST_PIP: Final = {11: "22.3", 12: "23.2.1", 13: "24.2", 14: "25.2"}
_LIST: Final = """
import importlib.metadata, json
print(json.dumps({package.metadata["Name"]: package.version for package in importlib.metadata.distributions()}))
"""


@pytest.mark.parametrize("file", PIN_FILES)
@pytest.mark.parametrize("pip", [f"pip=={_FIRST_PIP.get(sys.version_info.minor, '25.2')}", "pip"])
def test_pip_installs_what_the_file_names_and_nothing_else(pip: str, file: str, tmp_path: Path) -> None:
    python = empty_environment(tmp_path / "empty", pip)

    run(python, "-m", "pip", "install", "--no-input", "--no-compile", "--require-hashes", "--requirement", ROOT / file)

    installed = {
        str(canonicalize_name(name)): version for name, version in json.loads(run(python, "-c", _LIST)).items()
    }
    ours = installed.pop("pip")
    assert pip in {"pip", f"pip=={ours}"}
    wanted = {pin.name: pin.version for pin in read_pins(ROOT / file) if pin.applies(this_environment())}
    assert installed == wanted
    run(python, "-m", "pip", "check")
