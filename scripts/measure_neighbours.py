"""What the nearest crystal in feature space says of a label: features and distances side by side.

    python scripts/measure_neighbours.py TABLE FEATURES... [--split val]

TABLE has columns ``split``, ``formation_energy_per_atom``, ``band_gap`` and ``bulk_modulus_vrh``
in GPa. Each crystal of the split is given the label of its nearest neighbour in ``train``; printed
are mean absolute errors (eV/atom, eV, log10 of GPa).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.neighbors import NearestNeighbors

from crystalssl.datasets.load import load_crystals
from crystalssl.features.store import load_features
from crystalssl.search.axes import fit_axes

LABELS = ("formation_energy_per_atom", "band_gap", "bulk_modulus_vrh")
DISTANCES = ("scale", "standardise", "whiten")


def main() -> None:
    """Print a row a features file and distance, a column a property."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("features", type=Path, nargs="+", help="of these crystals, any order")
    parser.add_argument("--split", default="val")
    options = parser.parse_args()
    crystals = load_crystals([options.table]).crystals
    part = dict(zip(crystals.ids.tolist(), crystals.column("split"), strict=True))
    labels = {name: np.array(crystals.column(name), dtype=float) for name in LABELS}
    modulus = labels["bulk_modulus_vrh"]
    labels["bulk_modulus_vrh"] = np.log10(np.where(modulus > 0, modulus, np.nan))
    at = {name: row for row, name in enumerate(crystals.ids.tolist())}
    print("| features | distance |", " | ".join(LABELS), "|\n|---|---|---|---|---|")
    for path in options.features:
        features = load_features(path)
        parts = np.array([part[name] for name in features.ids.tolist()])
        rows = np.array([at[name] for name in features.ids.tolist()])
        for distance in DISTANCES:
            axes = fit_axes(features.matrix[parts == "train"], distance)
            points, cells = axes.transform(features.matrix), []
            for values in labels.values():
                y = values[rows]
                known, held = (
                    np.flatnonzero(np.isfinite(y) & (parts == name))
                    for name in ("train", options.split)
                )
                near = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(points[known])
                found = known[near.kneighbors(points[held], return_distance=False)[:, 0]]
                cells.append(f"{np.abs(y[found] - y[held]).mean():.3f}")
            print(f"| {path.stem} | {distance} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
