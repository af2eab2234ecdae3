"""Reading P1 CIF text, ours and pymatgen in turn: crystals per CPU second of one core.

    python benchmarks/read_cif.py

Alternating blocks on the same texts, so that what else runs on the machine meets both; the fastest
block of each counts. Rates and their ratio are in the last line, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence

from pymatgen.io.cif import CifParser
from steps import cif_of, sample

from crystalssl.structures.assembly import Assembler
from crystalssl.structures.formats.cif import read_cif

CRYSTALS, PEERS, REPEATS, BLOCKS = 200, 10, 10, 8


def ours(texts: Sequence[bytes]) -> None:
    """Read all texts to one batch of crystals."""
    assembler = Assembler()
    for _ in range(REPEATS):
        for text in texts:
            read_cif(text, "file", "id", assembler)
    if len(assembler.finish().crystals) != REPEATS * len(texts):
        raise SystemExit("texts were skipped")


def theirs(texts: Sequence[bytes]) -> None:
    """Read some texts with pymatgen."""
    for text in texts[:PEERS]:
        CifParser.from_str(text.decode()).parse_structures(primitive=False)


def seconds(work: Callable[[Sequence[bytes]], None], texts: Sequence[bytes]) -> float:
    """CPU time of the process."""
    start = time.process_time()
    work(texts)
    return time.process_time() - start


def main() -> int:
    """Measure and print."""
    warnings.simplefilter("ignore")
    crystals = sample(CRYSTALS)
    texts = [cif_of(crystals, row).encode() for row in range(len(crystals))]
    ours(texts)
    pairs = [(seconds(ours, texts), seconds(theirs, texts)) for _ in range(BLOCKS)]
    rate = REPEATS * len(texts) / min(mine for mine, _ in pairs)
    peer = PEERS / min(other for _, other in pairs)
    figures = {"per_second": round(rate), "pymatgen": round(peer), "ratio": round(rate / peer, 1)}
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
