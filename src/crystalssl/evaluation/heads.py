"""Feature matrix and labels -> predictions: the regression and classification heads of scenarios.

One small contract, so that few_shot, shap_share, ablation and matbench give every feature set the
same models with the same settings. The heads themselves are in head_linear.py, head_boosting.py,
head_forest.py and head_mlp.py, and are imported when asked for.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from types import ModuleType
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from crystalssl.datasets.splits import grouped_split
from crystalssl.errors import InputError, unknown_name
from crystalssl.evaluation import low_rank, moments, ridge, spectrum
from crystalssl.evaluation.moments import Features, Floats, Index

Kind = Literal["regression", "classification"]
"""What labels are: numbers, or 0 and 1, for which predictions are probabilities of 1."""
Groups = npt.NDArray[np.str_]

HEADS = ("ridge", "lightgbm", "mlp", "random_forest")
"""Heads by name; ``ridge`` is logistic regression where labels are classes."""
INNER = 0.15
"""Share of the training rows on which heads stop early or choose a strength."""


class Fitted(Protocol):
    """A head after fitting."""

    def predict(self, matrix: Features, rows: Index) -> Floats:
        """Predictions for some rows of a matrix with the columns of the one fitted.

        Returns:
            (m,) where labels were (n,), (m, t) where they were (n, t).
        """


class Head(Protocol):
    """A model that can be fitted; its fields are its settings (``dataclasses.asdict``)."""

    @property
    def name(self) -> str:
        """One of ``HEADS``."""

    @property
    def kind(self) -> Kind:
        """What labels are."""

    def fit(
        self, matrix: Features, rows: Index, labels: Floats, groups: Groups | None, seed: int
    ) -> Fitted:
        """Fit to the training rows alone; the same input and seed give the same model.

        Args:
            matrix: (n, p) features; read row by row or in chunks, never copied to float64 whole.
            rows: (k,) training rows.
            labels: (n,) or (n, t) labels; only training rows are read. With t labels there are t
                models that share what does not depend on a label.
            groups: (n,) formula of each row, kept whole wherever training rows are divided; None
                where rows are independent.
            seed: seed of everything drawn.

        Raises:
            InputError: if there are too few rows, or labels do not fit ``kind``.
        """


def build_head(name: str, *, kind: Kind = "regression", threads: int = 0) -> Head:
    """A head by name, with the settings that every feature set gets.

    Args:
        name: one of ``HEADS``.
        kind: what labels are.
        threads: threads of trees at most; 0 for all cores. Linear algebra and networks use the
            threads of the process.

    Raises:
        UnknownNameError: if there is no such head.
        MissingExtraError: if its package is not installed.
    """
    if name == "ridge":
        from crystalssl.evaluation.head_linear import Logistic, Ridge

        return Ridge() if kind == "regression" else Logistic()
    if name == "lightgbm":
        from crystalssl.evaluation.head_boosting import LightGBM, import_lightgbm

        import_lightgbm()  # a missing package is told before hours of work
        return LightGBM(kind=kind, threads=threads)
    if name == "mlp":
        from crystalssl.evaluation.head_mlp import MLP

        return MLP(kind=kind)
    if name == "random_forest":
        from crystalssl.evaluation.head_forest import RandomForest

        return RandomForest(kind=kind, threads=threads)
    raise unknown_name("head", name, HEADS)


def head_settings(head: Head) -> dict[str, Any]:
    """Settings that the result depends on; the number of threads is none."""
    settings: dict[str, Any] = asdict(head)  # type: ignore[call-overload]
    settings.pop("threads", None)
    return settings


def head_code(head: Head) -> list[ModuleType]:
    """Modules whose code makes the result of a head, for :meth:`.store.Store.key`."""
    from crystalssl.evaluation import _bins, _columns, head_linear

    own = [sys.modules[type(head).__module__], sys.modules[__name__]]
    return [
        *dict.fromkeys([*own, _bins, _columns, head_linear, spectrum, ridge, low_rank, moments])
    ]


def label_columns(labels: Floats, rows: Index, kind: Kind) -> Floats:
    """(n, t) labels, checked on the training rows.

    Raises:
        InputError: if there are fewer than two training rows, a label is missing, or labels of
            classes are not 0 and 1, both present.
    """
    columns = labels[:, None] if labels.ndim == 1 else labels
    if len(rows) < 2:
        raise InputError(f"Got {len(rows)} training rows; expected at least 2. Use more data.")
    used = columns[rows]
    if not np.isfinite(used).all():
        raise InputError(
            f"{int((~np.isfinite(used)).any(axis=1).sum())} of {len(rows)} training rows have no "
            "label; expected one for each. Leave these rows out."
        )
    if kind == "classification":
        for values in used.T:
            found = np.unique(values).tolist()
            if found != [0.0, 1.0]:
                raise InputError(
                    f"Training labels of classes hold {found[:5]}; expected both 0 and 1. Use more "
                    "rows, or name the classes 0 and 1."
                )
    return columns


def inner_split(
    rows: Index, groups: Groups | None, seed: int, share: float = INNER
) -> tuple[Index, Index]:
    """Positions among the training rows, groups kept whole: to fit on, and to stop or choose by.

    Args:
        rows: (k,) training rows.
        groups: (n,) group of every row of the matrix; None where rows are independent.
        seed: seed of the shuffle.
        share: share of the second part.

    Raises:
        InputError: if there are fewer than two groups.
    """
    names = np.arange(len(rows)).astype(np.str_) if groups is None else groups[rows]
    fit, check = grouped_split(names, (1.0 - share, share), seed)
    return fit, check


def stacked(columns: list[Floats], single: bool) -> Floats:
    """Predictions of t models as (m, t), or (m,) where labels were of one dimension."""
    return columns[0] if single else np.stack(columns, axis=1)
