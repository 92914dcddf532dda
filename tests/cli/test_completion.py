"""Shell completion: the script that is printed, run by the shell that it is for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

#: Where the console script lies.
SCRIPTS: Final = Path(sys.executable).parent
BASH: Final = shutil.which("bash")
ZSH: Final = shutil.which("zsh")
#: What bash does at a press of the tab key, with the words of "$@".
TAB: Final = """
eval "$(provisioner --show-completion)" || exit 9
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_provisioner_completion provisioner
printf '%s\\n' "${COMPREPLY[@]}"
"""


def run(*command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(folder), "PATH": f"{SCRIPTS}{os.pathsep}{os.defpath}", **variables}
    return subprocess.run(
        command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("appr",), {"approve"}),
        (("re",), {"reject", "rekey", "retry", "resume", "restore"}),
        (("check", "--con"), {"--connect"}),
        (("sync", "--w"), {"--wait"}),
        (("nothing-like-it",), {""}),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_bash_completes_commands_and_options(words: tuple[str, ...], offered: set[str], tmp_path: Path) -> None:
    # Settings that cannot be read hinder nobody from typing
    done = run(
        *(str(BASH), "--norc", "-c", TAB, "tab", "provisioner", *words),
        folder=tmp_path,
        PROVISIONER_CONFIG="/there/is/none.yaml",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.removesuffix("\n").split("\n")) == offered
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(ZSH is None, reason="zsh is not installed")
def test_zsh_reads_its_script(tmp_path: Path) -> None:
    script = run("provisioner", folder=tmp_path, _PROVISIONER_COMPLETE="source_zsh")
    assert script.returncode == 0
    assert script.stdout.strip().startswith("#compdef provisioner")
    # Instead of the completion system, which wants a terminal
    shim = 'compdef() { echo "$@"; }; _arguments() { print -l -- $@; }; words=(provisioner appr); CURRENT=2\n'
    call = "\n_provisioner_completion"
    done = run(str(ZSH), "-f", "-c", f"{shim}{script.stdout}{call}", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("_provisioner_completion provisioner\n")
    assert "approve" in done.stdout
    assert "reject" not in done.stdout


def test_a_shell_is_set_up_only_if_it_is_asked_for(tmp_path: Path) -> None:
    done = run("provisioner", "--help", folder=tmp_path)
    assert done.returncode == 0
    assert {"--install-completion", "--show-completion"} <= set(done.stdout.split())
    assert list(tmp_path.iterdir()) == []
