"""Real-life disordered CIF files; skipped where the shared data are not at hand.

``python -m tests.structures.test_obelix`` also makes features of them: scripts/prove.py.
"""

from __future__ import annotations

import json
import re
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from crystalssl.features.extractor import ExtractorConfig
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import ReadResult
from crystalssl.structures.objects import to_pymatgen
from crystalssl.structures.reading import read_structures

ARCHIVE = Path(__file__).resolve().parents[2].parent / "shared/data/obelix_train_cifs.tar.gz"
pytestmark = pytest.mark.skipif(not ARCHIVE.exists(), reason="shared data not at hand")


@pytest.fixture(scope="module", name="read")
def _read() -> ReadResult:
    return read_structures([ARCHIVE])


def test_all_files_are_read_and_at_least_200_become_canonical(read: ReadResult) -> None:
    assert len(read.crystals) == 254
    assert read.skipped == []
    result = canonicalize(read.crystals)
    assert len(result.crystals) >= 200
    assert len(result.crystals) + len(result.skipped) == 254
    true = re.compile(r"(\d+) sites in the cell|(0\.4\d+) angstrom apart")
    assert all(true.match(skip.reason) or true.search(skip.reason) for skip in result.skipped)
    assert not result.symmetry.failed.any()


@pytest.mark.filterwarnings("ignore")
def test_sites_and_occupancies_agree_with_pymatgen(read: ReadResult) -> None:
    from pymatgen.io.cif import CifParser

    ours = dict(zip(read.crystals.ids.tolist(), to_pymatgen(read.crystals), strict=True))
    with tarfile.open(ARCHIVE) as archive:
        for info in archive.getmembers()[::9]:
            handle = archive.extractfile(info)
            if handle is None:
                continue
            parser = CifParser.from_str(handle.read().decode(), occupancy_tolerance=1.05)
            (expected,) = parser.parse_structures(primitive=False)
            found = ours[Path(info.name).stem]
            assert len(found) == len(expected), info.name
            assert found.composition.almost_equals(expected.composition, rtol=1e-3, atol=1e-2)


def test_canonical_cells_keep_the_composition(read: ReadResult) -> None:
    result = canonicalize(read.crystals)
    before = to_pymatgen(read.crystals.take(result.kept))
    for old, new in zip(before, to_pymatgen(result.crystals), strict=True):
        assert old.composition.fractional_composition.almost_equals(
            new.composition.fractional_composition, rtol=1e-3, atol=1e-4
        )
        assert old.volume / len(old) == pytest.approx(new.volume / len(new), rel=0.01)


def figures() -> dict[str, object]:
    """How many of the files are read, become canonical and get features; why the others do not."""
    result = read_structures([ARCHIVE])
    canonical = canonicalize(result.crystals)
    extractor = ExtractorConfig(weights="default", device="cpu").extractor()
    features, odd = extractor.encode(canonical).finite()
    reasons = [skip.reason for skip in (*result.skipped, *canonical.skipped, *odd)]
    kinds = Counter(re.sub(r"[\d.]+", "N", reason) for reason in reasons)
    return {
        "files": len(result.crystals) + len(result.skipped),
        "read": len(result.crystals),
        "with_features": len(features),
        "beyond_training": int(canonical.beyond_training.sum()),
        "left_out": dict(kinds.most_common()),
    }


if __name__ == "__main__":
    if not ARCHIVE.exists():
        sys.exit(f"Nothing was proved: {ARCHIVE.name} is not there; --only names proofs")
    counted = figures()
    sys.stdout.write(json.dumps(counted) + "\n")
    sys.exit(int(str(counted["with_features"])) < 235)
