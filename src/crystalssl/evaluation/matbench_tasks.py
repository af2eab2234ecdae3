"""What Matbench fixes of a task: target and size, ids of its rows, its five folds, its scores.

Nothing here reads a file or fits a model. Ids and folds were compared with those that matbench 0.6
ships for its tasks: all are equal.
Source: Dunn et al., npj Comput. Mater. 6 (2020) 138; matbench 0.6 (data_ops.py, metadata).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError, Skip
from crystalssl.models import Kind
from crystalssl.models.arrays import Floats, Index
from crystalssl.structures.crystals import Crystals

FOLDS = 5
"""Folds of every task."""
FOLD_SEED = 18012019
"""Seed of the folds, the same for every task."""
SMALLEST = 1e-5
"""Labels nearer to zero than this are left out of ``mape``."""
EXTRA_SCORES = ("rocauc_probability",)
"""Scores of ours that Matbench does not know."""
THRESHOLD = 0.5
"""Probability above which the label is 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What Matbench says of one of its tasks.

    Attributes:
        target: label column.
        unit: its unit.
        rows: number of rows.
        kind: regression, or classification.
    """

    target: str
    unit: str
    rows: int
    kind: Kind = "regression"


TASKS: dict[str, Published] = {
    "matbench_dielectric": Published(target="n", unit="1", rows=4764),
    "matbench_jdft2d": Published(target="exfoliation_en", unit="meV/atom", rows=636),
    "matbench_log_gvrh": Published(target="log10(G_VRH)", unit="log10(GPa)", rows=10987),
    "matbench_log_kvrh": Published(target="log10(K_VRH)", unit="log10(GPa)", rows=10987),
    "matbench_mp_e_form": Published(target="e_form", unit="eV/atom", rows=132752),
    "matbench_mp_gap": Published(target="gap pbe", unit="eV", rows=106113),
    "matbench_mp_is_metal": Published(
        target="is_metal", unit="", rows=106113, kind="classification"
    ),
    "matbench_perovskites": Published(target="e_form", unit="eV/unit cell", rows=18928),
    "matbench_phonons": Published(target="last phdos peak", unit="1/cm", rows=1265),
}
"""The nine tasks of Matbench v0.1 whose input is a structure."""
COMPOSITION_TASKS = (
    "matbench_expt_gap",
    "matbench_expt_is_metal",
    "matbench_glass",
    "matbench_steels",
)
"""The tasks that give a composition alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskData:
    """All rows of a task.

    Attributes:
        name: task name.
        target: label column.
        unit: its unit.
        kind: regression, or classification with labels 0 and 1.
        mbids: (n,) Matbench ids.
        labels: (n,) labels.
        crystals: (m,) readable structures, cells as given; their ids are Matbench ids.
        rows: (m,) row of each of them.
        skipped: the other rows, with reasons.
        official: whether name, number of rows and target are those of the benchmark, so that
            folds and scores are too.
    """

    name: str
    target: str
    unit: str
    kind: Kind
    mbids: npt.NDArray[np.str_]
    labels: Floats
    crystals: Crystals
    rows: Index
    skipped: list[Skip]
    official: bool


def prefix_ids(name: str, count: int) -> npt.NDArray[np.str_]:
    """(count,) Matbench ids: ``mb-jdft2d-001``, counted from 1, as wide as the number of rows."""
    prefix, width = name.replace("matbench", "mb").replace("_", "-"), len(str(count))
    return np.array([f"{prefix}-{row + 1:0{width}d}" for row in range(count)], dtype=np.str_)


def folds_of(labels: Floats, kind: Kind) -> list[tuple[Index, Index]]:
    """Training and test rows of the five official folds.

    Shuffled rows in five parts, classes in equal shares where labels are classes.

    Args:
        labels: (n,) labels of all rows, in the order of the task.
        kind: what labels are.

    Raises:
        InputError: if there are too few rows, or too few of a class.
    """
    from sklearn.model_selection import KFold, StratifiedKFold

    sizes = [len(labels)] if kind == "regression" else np.unique(labels, return_counts=True)[1]
    if min(sizes, default=0) < 2 * FOLDS or (kind == "classification" and len(sizes) != 2):
        raise InputError(
            f"Got {len(labels)} rows ({', '.join(map(str, sizes))} of each class) for {FOLDS} "
            f"folds; expected at least {2 * FOLDS} rows, of each class if there are classes."
        )
    deal = KFold if kind == "regression" else StratifiedKFold
    dealt = deal(n_splits=FOLDS, shuffle=True, random_state=FOLD_SEED)
    parts = dealt.split(np.zeros(len(labels)), None if kind == "regression" else labels > THRESHOLD)
    return [(train.astype(np.int64), test.astype(np.int64)) for train, test in parts]


def fold_scores(truth: Floats, guess: Floats, kind: Kind) -> dict[str, float]:
    """The scores of one fold, by Matbench's names.

    For classes, ``guess`` holds probabilities. matbench 0.6 thresholds them before every score,
    ``rocauc`` included; that figure is given under its name, and the area under the curve of the
    probabilities themselves as ``rocauc_probability``.

    Args:
        truth: (m,) labels.
        guess: (m,) predictions, or probabilities of 1.
        kind: what labels are.
    """
    if kind == "regression":
        error = np.abs(guess - truth)
        counted = np.abs(truth) > SMALLEST
        ratio = error[counted] / np.abs(truth[counted])
        return {
            "mae": float(error.mean()),
            "rmse": float(np.sqrt(np.square(error).mean())),
            "mape": float(ratio.mean()) if len(ratio) else 0.0,
            "max_error": float(error.max()),
        }
    from sklearn import metrics

    true, said = truth > THRESHOLD, guess > THRESHOLD
    return {
        "accuracy": float(metrics.accuracy_score(true, said)),
        "balanced_accuracy": float(metrics.balanced_accuracy_score(true, said)),
        "f1": float(metrics.f1_score(true, said, zero_division=0.0)),
        "rocauc": float(metrics.roc_auc_score(true, said)),
        "rocauc_probability": float(metrics.roc_auc_score(true, guess)),
    }
