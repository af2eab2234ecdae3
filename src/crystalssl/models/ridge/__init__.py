"""Ridge regression and least squares on large matrices, with groups and one decomposition.

gram.py streams the Gram matrix, decomposition.py finds its principal axes, solve.py fits models.
"""

from crystalssl.models.ridge.decomposition import Decomposition, decompose
from crystalssl.models.ridge.gram import SufficientStatistics
from crystalssl.models.ridge.solve import (
    LinearModel,
    fit_ols,
    fit_ridge,
    left_out_errors,
    predict_all,
)

__all__ = [
    "Decomposition",
    "LinearModel",
    "SufficientStatistics",
    "decompose",
    "fit_ols",
    "fit_ridge",
    "left_out_errors",
    "predict_all",
]
