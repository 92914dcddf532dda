"""The sandbox as a process of its own."""

import signal
import subprocess
import sys

from provisioner.sandbox import Switchboard


def test_the_module_prints_its_address_and_serves() -> None:
    command = [sys.executable, "-m", "provisioner.sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:")
            assert Switchboard(url).seed("mtribes", [{"id": "1"}]) == 1
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) in (0, -signal.SIGTERM)
