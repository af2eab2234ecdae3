"""A small map with everything a page must show: numbers, classes, gaps, disorder, odd texts."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from crystalssl.datasets.bundled import load_bundled
from crystalssl.features.features import Features
from crystalssl.pipeline import write_map

COUNT = 60
DISORDERED, ODD = 3, 7
"""Rows of a crystal with shared and partly empty sites, and of one with a dangerous id."""
ODD_ID = 'a</script><b>"x"\u2028&'


@pytest.fixture(scope="session")
def crystals():
    taken = load_bundled().take(range(0, 600, 10))
    numbers, occupancy = taken.numbers.copy(), taken.occupancy.copy()
    site = taken.offsets[DISORDERED]
    numbers[site, :2], occupancy[site, :2] = [26, 25], [0.5, 0.25]
    ids = taken.ids.astype("U40")
    ids[ODD] = ODD_ID
    rng = np.random.default_rng(0)
    columns = pa.table(
        {
            "energy": pa.array([None if i % 5 == 0 else float(i) for i in range(COUNT)]),
            "conductivity": pa.array(10.0 ** rng.uniform(-12, 0, COUNT)),
            "family": pa.array([None if i == 1 else f"family {i % 3}" for i in range(COUNT)]),
            "many": pa.array([f"kind {int(i**0.5 * 2)}" for i in range(COUNT)]),
        }
    )
    return replace(taken, numbers=numbers, occupancy=occupancy, ids=ids, columns=columns)


@pytest.fixture(scope="session")
def features(crystals):
    values = np.random.default_rng(1).normal(size=(COUNT, 12)).astype(np.float32)
    return Features(ids=crystals.ids, blocks={"bottleneck": values})


@pytest.fixture(scope="session")
def page_path(crystals, features, tmp_path_factory):
    path = tmp_path_factory.mktemp("map") / "map.html"
    color = ["energy", "conductivity", "family", "many"]
    write_map(features, path, structures=crystals, color=color, title="Sixty crystals")
    return path
