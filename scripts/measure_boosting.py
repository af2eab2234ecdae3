"""What features are worth to boosted trees, beside element statistics and geometry; resumable.

    python scripts/measure_boosting.py TABLE --cache FOLDER [--split test] [--also NAME=FEATURES]

LightGBM, settings as everywhere, mean absolute errors. Properties of TABLE are fitted on ``train``
and scored on ``--split``; refractive index and shear modulus of the bundled table in five folds
with formulas kept together. Sets: Magpie, Magpie with plain numbers of geometry, named physics,
named physics with the features, and with few axes and a cross-fitted ridge of them
(models/linear_boosting.py); ridge on the features, and on those of ``--also``, stand beside.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
from sklearn.model_selection import GroupKFold

from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.load import load_crystals
from crystalssl.evaluation.cache import Cache
from crystalssl.evaluation.magpie import magpie_statistics
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.store import load_features, save_parquet
from crystalssl.models.boosting import LightGBM
from crystalssl.models.linear import Ridge
from crystalssl.models.linear_boosting import LinearBoosting
from crystalssl.representation.physics.named_numbers import GROUPS
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.formulas import reduced_formulas

OF_TABLE = ("formation_energy_per_atom", "band_gap", "log10 bulk_modulus_vrh")
OF_BUNDLED = ("refractive_index", "log10 shear_modulus_vrh")
GEOMETRY = ("cell", "symmetry", "neighbours", "order", "bonds", "angles", "networks")
FOLDS = 5
SEEDS = 3
"""Seeds of trees on a thousand crystals, where one draw of rows and columns moves errors by 3 %."""


def label(crystals: Crystals, name: str) -> np.ndarray:
    """A column, or its logarithm; NaN where there is none."""
    values = np.array(crystals.column(name.removeprefix("log10 ")), dtype=float)
    if not name.startswith("log10 "):
        return values
    return np.log10(np.where(values > 0, values, np.nan))


def made(crystals: Crystals, output: str, folder: Path) -> tuple[Crystals, np.ndarray]:
    """Crystals that have features, and these, from the cache or extracted."""
    config = ExtractorConfig.of("default", output=output)
    sums = "".join([*config.checksums(), crystals.digest()])
    path = folder / f"{output}-{hashlib.sha256(sums.encode()).hexdigest()[:12]}.parquet"
    if not path.is_file():
        save_parquet(config.extractor().features_of(canonicalize(crystals)), path)
    found = load_features(path)
    at = {name: row for row, name in enumerate(crystals.ids.tolist())}
    return crystals.take([at[name] for name in found.ids.tolist()]), found.matrix


def geometry_columns() -> np.ndarray:
    """Columns of named physics that describe geometry alone."""
    kinds = [group.name for group in GROUPS for _ in group.columns]
    return np.flatnonzero(np.isin(kinds, GEOMETRY))


def sets_of(
    crystals: Crystals, folder: Path, also: dict[str, Path]
) -> tuple[Crystals, dict[str, tuple[object, np.ndarray]]]:
    """Crystals, and heads with matrices by name."""
    crystals, physics = made(crystals, "physics", folder)
    crystals, features = made(crystals, "auto", folder)
    assert len(crystals) == len(physics)
    magpie = magpie_statistics(crystals, Cache(folder / "magpie"))
    geometry = physics[:, geometry_columns()]
    both, beside = np.hstack([physics, features]), LinearBoosting(named=physics.shape[1])
    sets: dict[str, tuple[object, np.ndarray]] = {
        "LightGBM, Magpie": (LightGBM(), magpie),
        "LightGBM, Magpie + geometry": (LightGBM(), np.hstack([magpie, geometry])),
        "LightGBM, physics": (LightGBM(), physics),
        "LightGBM, physics + features": (LightGBM(), both),
        "LightGBM, physics + axes and ridge of features": (beside, both),
        "ridge, features": (Ridge(), features),
    }
    for name, path in also.items():
        found = load_features(path)
        at = {key: row for row, key in enumerate(found.ids.tolist())}
        rows = [at.get(key, -1) for key in crystals.ids.tolist()]
        if min(rows) >= 0:
            sets[f"ridge, {name}"] = (Ridge(), found.matrix[rows])
    return crystals, sets


def folds(crystals: Crystals, y: np.ndarray, split: str | None) -> Iterator[tuple]:
    """Training and held-out rows: the parts of the table, or folds by formula."""
    known = np.flatnonzero(np.isfinite(y))
    if split is not None:
        part = np.asarray(crystals.column("split")).astype(str)
        yield known[part[known] == "train"], known[part[known] == split]
        return
    groups = reduced_formulas(crystals)[known]
    for train, held in GroupKFold(FOLDS).split(known, groups=groups):
        yield known[train], known[held]


def measure(
    crystals: Crystals, sets: dict, names: tuple[str, ...], split: str | None, seeds: int = 1
) -> None:
    """Print a row of mean absolute errors for every property, means over seeds of the trees."""
    groups = reduced_formulas(crystals)
    for name in names:
        y = label(crystals, name)
        cells = []
        for head, matrix in sets.values():
            errors = []
            for seed, (train, held) in product(range(seeds), folds(crystals, y, split)):
                whole = np.isfinite(matrix[held]).all(1) | (not isinstance(head, Ridge))
                model = head.fit(np.ascontiguousarray(matrix), train, y, groups, seed)
                errors.append(np.abs(model.predict(matrix, held[whole]) - y[held[whole]]))
            cells.append(f"{np.concatenate(errors).mean():.4f}")
            print(end=".", flush=True)
        print(f"\r| {name} |", " | ".join(cells), "|", flush=True)


def main() -> None:
    """Print one table: a row a property, a column a head and set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--split", choices=["val", "test"], default="val")
    parser.add_argument("--also", action="append", default=[], help="NAME=FEATURES of the rows")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    also = {n: Path(path) for n, _, path in (text.partition("=") for text in options.also)}
    bundled, sets = sets_of(load_bundled(), options.cache, also)
    print("| |", " | ".join(sets), "|\n" + "|---" * (len(sets) + 1) + "|")
    measure(bundled, sets, OF_BUNDLED, None, SEEDS)
    crystals = load_crystals([options.table]).crystals
    part = np.asarray(crystals.column("split")).astype(str)
    crystals = crystals.take(np.isin(part, ["train", options.split]))
    crystals, sets = sets_of(crystals, options.cache, also)
    measure(crystals, sets, OF_TABLE, options.split)


if __name__ == "__main__":
    main()
