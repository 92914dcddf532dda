"""`python -m benchmarks [part…]`: every part, or the named ones.

Each prints its table, and `docs/benchmarks.md` keeps the last one of each.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Final

from benchmarks.report import PAGE, Figures, as_failure, as_markdown, as_text, circumstances, judged, ticks, updated

#: Every part in the page's order; each is a module here with `measure(people)`.
PARTS: Final = (
    "reading",
    "planning",
    "observed",
    "requests",
    "blocking",
    "throughput",
    "slow_vendor",
    "pacing",
    "resync",
    "leaver",
    "inbound",
    "scim",
    "large",
)
PEOPLE: Final = 10_000


def measure(part: str, people: int) -> Figures:
    """What one part found; imported only now, so that no part's memory is another's."""
    found = importlib.import_module(f"benchmarks.{part}").measure(people)
    assert isinstance(found, Figures)
    return found


def main() -> int:
    """Run the chosen parts; 1 if one of them missed a goal, could not judge one or could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of: {', '.join(PARTS)} (default: all)")
    parser.add_argument(
        "--people",
        type=int,
        default=PEOPLE,
        help=f"people in the middle-sized parts (default: {PEOPLE}); the others take a multiple, which each says",
    )
    parser.add_argument("--no-page", action="store_true", help="do not write docs/benchmarks.md")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.parts if name not in PARTS]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; parts are {', '.join(PARTS)}")
    missed: list[str] = []
    unjudged: list[str] = []
    failed: list[str] = []
    for part in chosen.parts or PARTS:
        began = ticks()
        try:
            figures = measure(part, chosen.people)
        except Exception as exc:  # noqa: BLE001 - the other parts are measured all the same, and the page says it
            failed.append(part)
            section = as_failure(part, exc, circumstances(began))
            print(f"\n== {section}", flush=True)
        else:
            where = circumstances(began)
            figures = judged(figures, where)
            section = as_markdown(figures, where)
            print(f"\n== {part}: {as_text(figures)}", flush=True)
            missed += [part] * figures.missed
            unjudged += [part] * figures.unjudged
        if not chosen.no_page:
            page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
            PAGE.write_text(updated(page, {part: section}, PARTS), encoding="utf-8")
    if missed:
        print(f"\nMissed a goal: {', '.join(missed)}", file=sys.stderr)
    if unjudged:
        print(f"\nCould not judge a goal: {', '.join(unjudged)}", file=sys.stderr)
    if failed:
        print(f"\nCould not be measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if missed or unjudged or failed else 0


if __name__ == "__main__":
    sys.exit(main())
