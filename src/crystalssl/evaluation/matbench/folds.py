"""The five official folds of a Matbench task as a split protocol, and its scores.

Ids and folds were compared with those that matbench 0.6 ships for its tasks: all are equal. Nothing
here reads a file or fits a head. After task.py, before run.py.
Source: Dunn et al., npj Comput. Mater. 6 (2020) 138; matbench 0.6 (data_ops.py, metadata).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crystalssl.errors import InputError
from crystalssl.evaluation.splits import Split, Texts
from crystalssl.models.arrays import Floats, Index
from crystalssl.models.contract import Kind

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
class OfficialFolds:
    """The five folds of a task: random rows, so that a formula may be on both sides.

    Attributes:
        labels: (n,) labels of all rows, in the order of the task.
        kind: what labels are.
        task: name of the task.
        official: whether name, rows and target are those of the benchmark.
    """

    labels: Floats
    kind: Kind
    task: str
    official: bool

    @property
    def seeds(self) -> list[int]:
        """The seed of the folds."""
        return [FOLD_SEED]

    def splits(self, rows: Index, groups: Texts) -> list[Split]:
        """One split per fold, of those rows that have features.

        Raises:
            InputError: as :func:`folds_of`.
        """
        return [
            Split(
                kind="random",
                train_fraction=1 - 1 / FOLDS,
                repeat=FOLD_SEED,
                fold=fold,
                train=np.intersect1d(train, rows),
                test=np.intersect1d(test, rows),
            )
            for fold, (train, test) in enumerate(folds_of(self.labels, self.kind))
        ]

    def words(self) -> str:
        """The protocol in words."""
        return (
            f"The five {'official ' if self.official else ''}folds of {self.task} (random rows); "
            "frozen features, a head fitted in the training part of each fold. Rows without "
            "features are predicted by the mean of the training labels."
        )


def folds_of(labels: Floats, kind: Kind) -> list[tuple[Index, Index]]:
    """Training and test rows of the five official folds.

    Shuffled rows in five parts, classes in equal fractions where labels are classes.

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


def fold_scores(true: Floats, predicted: Floats, kind: Kind) -> dict[str, float]:
    """The scores of one fold, by Matbench's names.

    For classes, ``predicted`` holds probabilities. matbench 0.6 thresholds them before every score,
    ``rocauc`` included; that figure is given under its name, and the area under the curve of the
    probabilities themselves as ``rocauc_probability``.

    Args:
        true: (m,) labels.
        predicted: (m,) predictions, or probabilities of 1.
        kind: what labels are.
    """
    if kind == "regression":
        error = np.abs(predicted - true)
        counted = np.abs(true) > SMALLEST
        ratio = error[counted] / np.abs(true[counted])
        return {
            "mae": float(error.mean()),
            "rmse": float(np.sqrt(np.square(error).mean())),
            "mape": float(ratio.mean()) if len(ratio) else 0.0,
            "max_error": float(error.max()),
        }
    from sklearn import metrics

    true_class, predicted_class = true > THRESHOLD, predicted > THRESHOLD
    return {
        "accuracy": float(metrics.accuracy_score(true_class, predicted_class)),
        "balanced_accuracy": float(metrics.balanced_accuracy_score(true_class, predicted_class)),
        "f1": float(metrics.f1_score(true_class, predicted_class, zero_division=0.0)),
        "rocauc": float(metrics.roc_auc_score(true_class, predicted_class)),
        "rocauc_probability": float(metrics.roc_auc_score(true_class, predicted)),
    }
