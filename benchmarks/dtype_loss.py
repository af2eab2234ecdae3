"""What smaller number types cost: ridge on stored features, labels of ``train``, scored on ``val``.

``python benchmarks/dtype_loss.py FEATURES STRUCTURES --target COL [--rows 6000]``. The same rows,
folds and strengths for every type; ``test`` is not looked at.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from crystalssl.features.precision import DTYPES
from crystalssl.features.store import load_features, save_features
from crystalssl.models.ridge import decompose, fit_ridge
from crystalssl.structures.formulas import reduced_formulas
from crystalssl.structures.table import read_table


def error(
    matrix: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float64],
    train: npt.NDArray[np.int64],
    val: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
) -> float:
    """RMSE on ``val`` of a ridge fitted on ``train``."""
    model = fit_ridge(decompose(matrix, labels[:, None], train), matrix, groups=groups[train])
    off = model.predict(matrix[val])[:, 0] - labels[val]
    return float(np.sqrt(np.square(off).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path)
    parser.add_argument("structures", type=Path)
    parser.add_argument("--target", default="formation_energy_per_atom")
    parser.add_argument("--rows", type=int, default=6000)
    given = parser.parse_args()
    wanted = ["immutable_id", given.target, "split"]
    columns = pq.read_table(given.structures, columns=wanted).to_pydict()
    features = load_features(given.features)
    place = {name: row for row, name in enumerate(columns["immutable_id"])}
    rows = np.array([place[name] for name in features.ids.tolist()])
    labels = np.array(columns[given.target], dtype=np.float64)[rows]
    split = np.array(columns["split"])[rows]
    known = np.isfinite(labels)
    rng = np.random.default_rng(0)
    train = rng.permutation(np.flatnonzero((split == "train") & known))[: given.rows]
    val = np.flatnonzero((split == "val") & known)
    used = np.concatenate([train, val])
    part = features.take(used)
    formulas = reduced_formulas(read_table(given.structures).crystals.take(rows[used]))
    groups = np.unique(formulas, return_inverse=True)[1]
    first, last = np.arange(len(train)), np.arange(len(train), len(used))
    found = {}
    for dtype in DTYPES:
        with tempfile.TemporaryDirectory() as folder:
            path = save_features(part, Path(folder) / "f.parquet", dtype)
            matrix = load_features(path).matrix
            found[dtype] = {
                "rmse_val": round(error(matrix, labels[used], first, last, groups), 5),
                "bytes_per_crystal": round(path.stat().st_size / len(part)),
            }
        print(json.dumps({dtype: found[dtype]}), flush=True)


if __name__ == "__main__":
    main()
