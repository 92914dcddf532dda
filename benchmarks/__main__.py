"""`python -m benchmarks [part…]`: every part, or the named ones; each prints its own table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping

from benchmarks import reading, requests

#: Name of a part → what it measures; each takes a size and says whether it reached its figures.
PARTS: Mapping[str, Callable[[int], bool]] = {
    "requests": requests.measure,
    "reading": reading.measure,
}


def main() -> int:
    """Run the chosen parts; 1 if one of them missed its figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of: {', '.join(PARTS)} (default: all)")
    parser.add_argument(
        "--people",
        type=int,
        default=10_000,
        help="people in the roster of `requests`; `reading` takes a hundred times as many",
    )
    chosen = parser.parse_args()
    unknown = [name for name in chosen.parts if name not in PARTS]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; parts are {', '.join(PARTS)}")
    reached = [PARTS[name](chosen.people) for name in chosen.parts or PARTS]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
