"""Feature matrix and labels -> predictions: what every head takes, gives and checks.

A head (``Head``) is a model with its settings; ``fit`` gives a ``Fitted``, which predicts. One
contract, so that scenarios and property models give every feature set the same models. Labels are
checked here once; heads see good ones only. The heads are in linear.py, boosting.py and mlp.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from crystalssl.datasets.splits import grouped_split
from crystalssl.errors import InputError
from crystalssl.models.arrays import Features, Floats, Groups, Index, chunks

Kind = Literal["regression", "classification"]
"""What labels are: numbers, or 0 and 1, for which predictions are probabilities of 1."""

INNER = 0.15
"""Fraction of the training rows on which heads stop early or choose a strength."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted(ABC):
    """A head after fitting.

    Attributes:
        label_shape: () where labels were (n,), (t,) where they were (n, t).
    """

    label_shape: tuple[int, ...]

    def predict(self, matrix: Features, rows: Index | None = None) -> Floats:
        """Predictions for some rows of a matrix with the columns of the one fitted.

        Args:
            matrix: (n, p) features.
            rows: (m,) rows; None for all.

        Returns:
            (m,) where labels were (n,), (m, t) where they were (n, t); probabilities of class 1
            where labels were classes.
        """
        rows = np.arange(len(matrix)) if rows is None else rows
        predictions = np.empty((len(rows), *self.label_shape))
        for chunk in chunks(len(rows), matrix.shape[1]):
            columns = self._predict(matrix, rows[chunk])  # (chunk, t)
            predictions[chunk] = columns.reshape(-1, *self.label_shape)
        return predictions

    @abstractmethod
    def _predict(self, matrix: Features, rows: Index) -> Floats:
        """(m, t) predictions for a chunk of rows."""


@dataclass(frozen=True, slots=True)
class Training:
    """What a head is fitted to.

    Attributes:
        matrix: (n, p) features.
        rows: (k,) training rows.
        labels: (n,) or (n, t) labels; only training rows may be read.
        groups: (n,) group of each row; None where rows are independent.
        seed: seed of every random generator.
    """

    matrix: Features
    rows: Index
    labels: Floats
    groups: Groups | None
    seed: int

    @property
    def label_shape(self) -> tuple[int, ...]:
        """What :class:`Fitted` needs to shape predictions like labels."""
        return self.labels.shape[1:]

    @property
    def columns(self) -> Floats:
        """(n, t) labels."""
        return self.labels[:, None] if self.labels.ndim == 1 else self.labels

    @property
    def targets(self) -> Floats:
        """(t, k) training labels; in rows, so that a label is summed as it would be alone."""
        return np.ascontiguousarray(self.columns[self.rows].T)

    def inner_split(self) -> tuple[Index, Index]:
        """Positions among the training rows, groups kept whole: to fit on, and to choose by.

        Raises:
            InputError: if there are fewer than two groups.
        """
        groups, rows = self.groups, self.rows
        names = np.arange(len(rows)).astype(np.str_) if groups is None else groups[rows]
        fit, check = grouped_split(names, (1.0 - INNER, INNER), self.seed)
        return fit, check


@dataclass(frozen=True, kw_only=True, slots=True)
class Head(ABC):
    """A model that can be fitted; its fields are its settings."""

    name: str
    """Name in the registry."""
    kind: Kind = "regression"
    """What labels are."""

    def fit(
        self,
        matrix: Features,
        rows: Index,
        labels: Floats,
        groups: Groups | None = None,
        seed: int = 0,
    ) -> Fitted:
        """Fit to the training rows alone; the same input and seed give the same model.

        Args:
            matrix: (n, p) features; read row by row or in chunks, never copied to float64 whole.
            rows: (k,) training rows.
            labels: (n,) or (n, t) labels; only training rows are read. With t labels there are t
                models that share what does not depend on a label.
            groups: (n,) group of each row, for crystals the formula, kept whole wherever training
                rows are divided; None where rows are independent.
            seed: seed of every random generator.

        Raises:
            InputError: if there are too few rows, or labels do not fit ``kind``.
        """
        data = Training(matrix, rows, labels, groups, seed)
        check_labels(data.columns[rows], self.kind)
        return self._fit(data)

    @abstractmethod
    def _fit(self, data: Training) -> Fitted:
        """Fit t models to checked labels."""


def head_settings(head: Head) -> dict[str, Any]:
    """Settings that the result depends on, for the key of a cache; the number of threads is none.

    Args:
        head: any head.
    """
    settings = asdict(head)
    settings.pop("threads", None)
    return settings


def check_labels(labels: Floats, kind: Kind) -> None:
    """Refuse labels that no head can be fitted to.

    Args:
        labels: (k, t) labels of the training rows.
        kind: what labels are.

    Raises:
        InputError: if there are fewer than two training rows, a label is missing, or labels of
            classes are not 0 and 1, both present.
    """
    if len(labels) < 2:
        raise InputError(f"Got {len(labels)} training rows; expected at least 2. Use more data.")
    missing = ~np.isfinite(labels).all(axis=1)
    if missing.any():
        raise InputError(
            f"{missing.sum()} of {len(labels)} training rows have no label; expected one for each. "
            "Leave these rows out."
        )
    for values in labels.T if kind == "classification" else ():
        classes = np.unique(values).tolist()
        if classes != [0.0, 1.0]:
            raise InputError(
                f"Training labels of classes hold {classes[:5]}; expected both 0 and 1. Use more "
                "rows, or name the classes 0 and 1."
            )
