"""``python -m tests.faults [NAME...]``: kill the commands at every point; exit 1 if one differs."""

import sys

from .commands import COMMANDS
from .harness import prove

if __name__ == "__main__":
    chosen = [c for c in COMMANDS if not sys.argv[1:] or c.name in sys.argv[1:]]
    sys.exit(1 if prove(chosen, pairs=20) else 0)
