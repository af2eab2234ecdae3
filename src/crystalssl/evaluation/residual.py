"""The residual protocol of few labels: what do our features explain that raw FTCP leaves over?

A model on raw FTCP is fitted; the same kind of model on other features is then fitted to what it
left over on the training rows, out of fold: a boosted model has next to no residual on the rows it
was fitted to, so these would teach nothing. The contribution is the R2 of the test residual.
"""

from __future__ import annotations

import sys

import numpy as np

from crystalssl.datasets.splits import grouped_folds
from crystalssl.evaluation.bench import THEN, Bench
from crystalssl.evaluation.protocols import Split
from crystalssl.evaluation.scoring import scores
from crystalssl.evaluation.store import Part
from crystalssl.models import Head
from crystalssl.models.arrays import Floats

FOLDED = "out of fold"
"""Kind of the units that hold predictions from which residuals are taken."""


def explained(bench: Bench, split: Split, explainer: str, head: Head) -> Part:
    """One residual unit.

    Args:
        bench: sets, labels and stored units.
        split: the draw.
        explainer: feature set of the second step.
        head: model of both steps.

    Returns:
        Rows ``contribution`` (R2 of the second model on the residual of the first on test rows),
        ``r2_before``, ``r2_after``, ``rmse_before``, ``rmse_after``; arrays ``truth``, that
        residual, and ``guess``, what the second model says of it.
    """
    base = bench.config.base

    def compute() -> Part:
        first = bench.direct(split, base, head).arrays["guess"]
        left_out = _out_of_fold(bench, split, head).arrays["guess"]
        residual = np.full_like(bench.labels, np.nan)
        residual[split.train] = bench.labels[split.train] - left_out
        matrix = bench.sets[explainer].matrix
        fitted = head.fit(matrix, split.train, residual, bench.groups, split.seed)
        guess = fitted.predict(matrix, split.test)
        truth = bench.labels[split.test]
        found = [
            _figures(truth[:, number], first[:, number], guess[:, number])
            for number in range(truth.shape[1])
        ]
        name = f"{base}{THEN}{explainer}"
        return Part(
            rows=bench.rows(split, name, head.name, found),
            arrays={"truth": truth - first, "guess": guess},
        )

    _key(bench, FOLDED, split, head, [base])  # is kept for explainers of later runs
    return bench.store.once(_key(bench, "residual", split, head, [base, explainer]), compute)


def _figures(truth: Floats, first: Floats, second: Floats) -> dict[str, float]:
    """Numbers of one target."""
    before, after = scores(truth, first), scores(truth, first + second)
    return {
        "contribution": scores(truth - first, second)["r2"],
        "r2_before": before["r2"],
        "r2_after": after["r2"],
        "rmse_before": before["rmse"],
        "rmse_after": after["rmse"],
    }


def _out_of_fold(bench: Bench, split: Split, head: Head) -> Part:
    """Predictions for every training row by a model that saw no row of its formula."""
    base = bench.config.base

    def compute() -> Part:
        matrix, train = bench.sets[base].matrix, split.train
        guess = np.full((len(train), len(bench.targets)), np.nan)
        folds = grouped_folds(bench.groups[train], bench.config.folds, split.seed)
        for fold in folds:
            rest = np.delete(train, fold)
            fitted = head.fit(matrix, rest, bench.labels, bench.groups, split.seed)
            guess[fold] = fitted.predict(matrix, train[fold])
        return Part(arrays={"guess": guess})

    return bench.store.once(_key(bench, FOLDED, split, head, [base]), compute)


def _key(bench: Bench, kind: str, split: Split, head: Head, names: list[str]) -> str:
    return bench.key(kind, split, head, names, code=[sys.modules[__name__]])
