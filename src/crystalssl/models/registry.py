"""Name of a head -> the head, with the settings that every feature set gets.

The one list of heads. The network is imported when it is asked for: PyTorch takes a second, and
the other heads do without it. Above linear.py, boosting.py and mlp.py.
"""

from __future__ import annotations

from crystalssl.errors import InputError, unknown_name
from crystalssl.models.boosting import LightGBM, RandomForest, import_lightgbm
from crystalssl.models.contract import Head, Kind
from crystalssl.models.linear import LeastSquares, Logistic, Ridge

HEADS = ("ridge", "ols", "lightgbm", "mlp", "random_forest")
"""Heads by name; ``ridge`` is logistic regression where labels are classes."""


def build_head(name: str, *, kind: Kind = "regression", threads: int = 0) -> Head:
    """A head by name, with the settings that every feature set gets.

    Args:
        name: one of ``HEADS``.
        kind: what labels are.
        threads: threads of trees at most; 0 for all cores. Linear algebra and networks use the
            threads of the process.

    Raises:
        UnknownNameError: if there is no such head.
        InputError: if the head cannot predict this kind of label.
        MissingExtraError: if its package is not installed.

    Example:
        >>> import numpy as np
        >>> matrix = np.random.default_rng(0).uniform(size=(60, 3))
        >>> groups = np.repeat([f"A{i}B" for i in range(20)], 3)  # three polymorphs a formula
        >>> train, test = np.arange(45), np.arange(45, 60)
        >>> fitted = build_head("ridge").fit(matrix, train, matrix[:, 0] + 2, groups)
        >>> bool(abs(fitted.predict(matrix, test) - matrix[test, 0] - 2).max() < 0.05)
        True
    """
    if name == "ridge":
        return Ridge() if kind == "regression" else Logistic()
    if name == "ols":
        if kind != "regression":
            raise InputError(
                "Got classes for least squares, expected numbers. Use the head 'ridge', which is "
                "logistic regression for classes."
            )
        return LeastSquares()
    if name == "lightgbm":
        import_lightgbm()  # a missing package is reported before hours of work
        return LightGBM(kind=kind, threads=threads)
    if name == "mlp":
        from crystalssl.models.mlp import MLP

        return MLP(kind=kind)
    if name == "random_forest":
        return RandomForest(kind=kind, threads=threads)
    raise unknown_name("head", name, HEADS)
