"""``python -m tests.fuzz [--reader cif] [--minutes 10] [--first 0]``: counts for each reader."""

from __future__ import annotations

import argparse
import faulthandler
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict

from tests.fuzz.harness import TEXT, Counts, fuzz_apart
from tests.fuzz.mutations import mutated
from tests.fuzz.seeds import ENDINGS, seeds


def main() -> int:
    """Fuzz one reader or all, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reader", choices=sorted(ENDINGS), action="append")
    parser.add_argument("--minutes", type=float, default=1.0, help="CPU time of each reader")
    parser.add_argument("--first", type=int, default=0, help="seed of the first input")
    parser.add_argument("--show", type=int, help="write the input of this seed and stop")
    options = parser.parse_args()
    readers = options.reader or sorted(ENDINGS)
    if options.show is not None:
        text = readers[0] in TEXT
        sys.stdout.buffer.write(mutated(options.show, seeds(readers[0]), text=text))
        return 0
    faulthandler.enable()
    every: dict[str, Counts] = {}
    for reader in readers:
        counts = fuzz_apart(reader, first=options.first, seconds=60 * options.minutes)
        print(
            f"{reader}: {counts.inputs} inputs, {counts.uncaught} uncaught, {counts.slow} slower "
            f"than 10 s, {counts.large} above 1 GB, {counts.netted} left to the last net",
            flush=True,
        )
        for failure in counts.failures[:5]:
            print(failure, flush=True)
        every[reader] = counts
    print(json.dumps(_figures(every, options.minutes)))
    return 0 if all(counts.clean for counts in every.values()) else 1


def _figures(every: Mapping[str, Counts], minutes: float) -> dict[str, object]:
    """Counts of each reader and of all, for the record."""
    numbers = {reader: asdict(counts) for reader, counts in every.items()}
    for counts in numbers.values():
        del counts["failures"]
    totals = {name: sum(c[name] for c in numbers.values()) for name in next(iter(numbers.values()))}
    return {"minutes_a_reader": minutes, **totals, "readers": numbers}


if __name__ == "__main__":
    sys.exit(main())
