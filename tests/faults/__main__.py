"""``python -m tests.faults [NAME...]``: kill the commands at every point; exit 1 if one differs."""

from __future__ import annotations

import argparse
import sys

from .commands import COMMANDS
from .harness import prove


def main() -> int:
    """Prove all commands, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="commands; all where none is named")
    parser.add_argument("--size", type=int, help="points of each command, evenly spaced; else all")
    parser.add_argument("--pairs", type=int, default=20, help="pairs of processes at one time")
    options = parser.parse_args()
    chosen = [c for c in COMMANDS if not options.names or c.name in options.names]
    return 1 if prove(chosen, pairs=options.pairs, size=options.size) else 0


if __name__ == "__main__":
    sys.exit(main())
