"""`python -m provisioner.sandbox`: the sandbox as a process of its own; prints its address."""

import argparse

from provisioner.sandbox.server import DEFAULT_PORT, serve


def main() -> None:
    """Reads `--host` and `--port` (0: a free one) and serves until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m provisioner.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    chosen = parser.parse_args()
    serve(chosen.host, chosen.port)


if __name__ == "__main__":
    main()
