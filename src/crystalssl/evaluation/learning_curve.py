"""Features and labels -> error by number of labels: would more measurements help?

Ridge on the features, since it is quick and its errors fall as those of better heads do; the same
held-out formulas for every number of labels. Stored beside a property model, shown by the report.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.models.linear import Ridge

FRACTIONS = (0.1, 0.2, 0.35, 0.6, 1.0)
"""Fractions of the training formulas that are fitted to."""
REPEATS = 5
"""Splits into training and held-out formulas."""
HELD_OUT = 0.2
"""Fraction of the formulas that is held out."""
LEAST = 12
"""Labelled crystals below which nothing is fitted."""


def learning_curve(
    matrix: npt.NDArray[np.floating],
    labels: npt.NDArray[np.float64],
    groups: npt.NDArray[np.str_],
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """Errors of ridge by number of labels; crystals of one group are on one side of every split.

    Args:
        matrix: (n, p) features.
        labels: (n,) known labels.
        groups: (n,) what splits keep together, such as formulas.
        seed: seed of the splits.
        progress: called with fits done and fits in all.

    Returns:
        ``repeat``, ``n_train``, ``n_test``, ``rmse``, ``mae``: a row a fit; none where labels are
        too few.
    """
    rows: list[dict[str, float]] = []
    present, group = np.unique(groups, return_inverse=True)
    for repeat in range(REPEATS):
        order = np.random.default_rng([seed, repeat]).permutation(len(present))
        held = max(1, round(HELD_OUT * len(present)))
        test = np.flatnonzero(np.isin(group, order[:held]))
        for step, fraction in enumerate(FRACTIONS):
            chosen = order[held : held + max(1, round(fraction * (len(order) - held)))]
            train = np.flatnonzero(np.isin(group, chosen))
            if len(train) >= LEAST and len(test) > 1:
                fitted = Ridge().fit(matrix, train, labels, groups, seed)
                error = fitted.predict(matrix, test) - labels[test]
                rows.append(
                    {
                        "repeat": repeat, "n_train": len(train), "n_test": len(test),
                        "rmse": float(np.sqrt(np.square(error).mean())),
                        "mae": float(np.abs(error).mean()),
                    }
                )  # fmt: skip
            if progress is not None:
                progress(repeat * len(FRACTIONS) + step + 1, REPEATS * len(FRACTIONS))
    kinds = {"repeat": pa.int32(), "n_train": pa.int32(), "n_test": pa.int32()}
    fields = [(name, kinds.get(name, pa.float64())) for name in (*kinds, "rmse", "mae")]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))
