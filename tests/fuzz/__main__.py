"""``python -m tests.fuzz [--reader cif] [--minutes 10] [--first 0]``: counts for each reader."""

from __future__ import annotations

import argparse
import faulthandler
import sys

from tests.fuzz.harness import fuzz
from tests.fuzz.mutations import mutated
from tests.fuzz.seeds import ENDINGS, seeds


def main() -> int:
    """Fuzz one reader or all, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reader", choices=sorted(ENDINGS), action="append")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each reader")
    parser.add_argument("--first", type=int, default=0, help="seed of the first input")
    parser.add_argument("--show", type=int, help="write the input of this seed and stop")
    options = parser.parse_args()
    readers = options.reader or sorted(ENDINGS)
    if options.show is not None:
        text = readers[0] in ("cif", "poscar", "extxyz", "json")
        sys.stdout.buffer.write(mutated(options.show, seeds(readers[0]), text=text))
        return 0
    faulthandler.enable()
    clean = True
    for reader in readers:
        counts = fuzz(reader, first=options.first, seconds=60 * options.minutes)
        print(
            f"{reader}: {counts.inputs} inputs, {counts.uncaught} uncaught, {counts.slow} slower "
            f"than 10 s, {counts.large} above 1 GB, {counts.netted} left to the last net",
            flush=True,
        )
        for failure in counts.failures[:5]:
            print(failure, flush=True)
        clean = clean and counts.clean
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
