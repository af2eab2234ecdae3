"""Kill the commands at every point, and end with 1 if one differs.

python -m tests.faults [NAME...] [--group run] [--size 14] [--pairs 4]
"""

from __future__ import annotations

import argparse
import sys

from .commands import COMMANDS
from .harness import prove


def main() -> int:
    """Prove all commands, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    groups = sorted({command.group for command in COMMANDS})
    parser.add_argument("names", nargs="*", help="commands; all where none is named")
    parser.add_argument("--group", choices=groups, help="the commands of one group")
    parser.add_argument("--size", type=int, help="points of each command, evenly spaced; else all")
    parser.add_argument("--pairs", type=int, help="pairs of processes; one of each command else")
    options = parser.parse_args()
    chosen = [c for c in COMMANDS if not options.names or c.name in options.names]
    chosen = [c for c in chosen if options.group in (None, c.group)]
    pairs = len(chosen) if options.pairs is None else options.pairs
    return 1 if prove(chosen, pairs=pairs, size=options.size) else 0


if __name__ == "__main__":
    sys.exit(main())
