"""Property models with scikit-learn's habits: ``CrystalRegressor`` and ``CrystalClassifier``.

``fit(X, y)`` takes structures, as the featurizer does, or a numeric matrix of features that exist
already; so both stand in pipelines, and scikit-learn's own checks run on matrices. What happens
inside is what ``crystalssl fit`` does: candidates, nested cross-validation, stack, intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from crystalssl.adapters.inputs import gather
from crystalssl.config import SYMPREC
from crystalssl.errors import InputError
from crystalssl.evaluation.cache import Cache
from crystalssl.features.bottleneck import AUTO
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.models.contract import Kind
from crystalssl.processes import limited_threads, usable_cores
from crystalssl.properties.blending import Tuned, blend
from crystalssl.properties.calibration import probabilities
from crystalssl.properties.candidates import shrunk
from crystalssl.properties.cross_validation import Experiment, usual_plan
from crystalssl.properties.describing import Describer, take
from crystalssl.properties.finetuning_plan import NEVER, check_way, plan_finetuning
from crystalssl.properties.fitting import Fit, fit_property
from crystalssl.properties.inputs import MIXED, Descriptors, Inputs, Section
from crystalssl.properties.intervals import LEVEL
from crystalssl.properties.model import Predictions, StackedModel
from crystalssl.structures.canonical import CanonicalResult
from crystalssl.structures.elements import SYMBOLS

Floats = npt.NDArray[np.float64]


class _CrystalModel(BaseEstimator):  # type: ignore[misc]  # untyped base
    """What regression and classification have in common."""

    _kind: Kind

    def __init__(
        self,
        weights: str | Path = "default",
        *,
        folds: int | None = None,
        repeats: int | None = None,
        candidates: Sequence[str] | None = None,
        symprec: float = SYMPREC,
        electronic: str = AUTO,
        finetune: str = NEVER,
        random_state: int | None = 0,
        device: str | None = None,
        n_jobs: int | None = None,
    ) -> None:
        """Take settings; nothing is loaded before ``fit``.

        Args:
            weights: folder of a pre-trained run, or the name of bundled weights.
            folds: folds of the cross-validation; None for what suits the number of labels.
            repeats: cross-validations with other folds; None for what suits.
            candidates: heads to try (``ridge``, ``gaussian process``, ``boosting``,
                ``networks``); None for all that suit.
            symprec: tolerance of the symmetry search in angstrom.
            electronic: numbers of the electrons, as of ``CrystalFeaturizer``.
            finetune: whether encoders are trained on with the labels and join the stack:
                ``never``, ``always``, or ``auto``, from some 2,000 labels. It takes long, and
                needs structures.
            random_state: seed of everything; None for 0, so that the same input gives the same
                model.
            device: where encoders run; a CUDA GPU if there is one by default.
            n_jobs: fits at a time; None for one a core.
        """
        self.weights = weights
        self.folds = folds
        self.repeats = repeats
        self.candidates = candidates
        self.symprec = symprec
        self.electronic = electronic
        self.finetune = finetune
        self.random_state = random_state
        self.device = device
        self.n_jobs = n_jobs

    def _fit(self, X: Any, labels: Floats, groups: Any) -> None:
        check_way(self.finetune)
        inputs, rows, canonical = self._inputs(X, fitting=True)
        labels = labels[rows]  # (m, t)
        named = inputs.formulas if groups is None else np.asarray(groups).astype(np.str_)[rows]
        workers = usable_cores() if self.n_jobs in (None, -1) else int(self.n_jobs or 1)
        experiment = Experiment(
            inputs=inputs, labels=labels, groups=named, cache=Cache(),
            seed=int(self.random_state or 0), workers=workers, kind=self._kind,
            nonnegative=self._kind == "regression" and bool((labels >= 0).all()),
        )  # fmt: skip
        plan = shrunk(usual_plan(experiment), named, self.folds, self.repeats, self.candidates)
        fitted = fit_property(experiment, plan, _silent)
        tuning, tuned = None, None
        if canonical is not None:
            config = self._config()
            tuning, _ = plan_finetuning(experiment, fitted, canonical, config, self.finetune)
        if tuning is not None:
            fitted, tuned = blend(experiment, fitted, tuning, _silent)
        self.tuned_: Tuned | None = tuned
        self.model_ = StackedModel.of(fitted, inputs, None if tuned is None else tuned.encoders)
        self.fit_: Fit = fitted
        self.rows_ = rows

    def _predictions(
        self, X: Any, level: float = LEVEL
    ) -> tuple[Predictions, npt.NDArray[Any], int]:
        """Predictions of what can be used, its rows, and the number of all rows."""
        check_is_fitted(self)
        inputs, rows, _ = self._inputs(X, fitting=False)
        with limited_threads(None):
            predictions = self.model_.predict(inputs, level)
        return predictions, rows, self.total_

    def _config(self) -> ExtractorConfig:
        return ExtractorConfig.of(
            self.weights, symprec=self.symprec, device=self.device, electronic=self.electronic
        )

    def _inputs(
        self, X: Any, *, fitting: bool
    ) -> tuple[Inputs, npt.NDArray[np.int64], CanonicalResult | None]:
        """Columns of structures, or of a numeric matrix, and the input rows they stand for.

        Also the canonical crystals; None for a matrix.
        """
        if is_matrix(X):
            matrix = validate_data(
                self, X, reset=fitting, dtype=np.float64, ensure_min_samples=2 if fitting else 1
            )
            self.total_ = len(matrix)
            return inputs_of_matrix(matrix), np.arange(len(matrix)), None
        if fitting:
            self.extractor_ = self._config().extractor()
        elif not hasattr(self, "extractor_"):
            raise InputError("Got structures, but the model was fitted to a matrix of features.")
        gathered = gather(X, self.symprec)
        self.total_ = gathered.total
        self.skipped_ = gathered.skipped
        if not len(gathered.rows):
            first = gathered.skipped[0] if gathered.skipped else None
            why = "" if first is None else f" First: row {first.id}: {first.reason}."
            raise InputError(f"None of {gathered.total} structures can be used.{why}")
        canonical, rows = gathered.canonical, gathered.rows
        tuned = None if fitting else self.model_.tuned
        inputs, odd = Describer(extractor=self.extractor_, tuned=tuned).describe(
            canonical, Descriptors.none(len(canonical.crystals))
        )
        if odd:
            lost = {skip.id for skip in odd}
            kept = [at for at, n in enumerate(canonical.crystals.ids.tolist()) if n not in lost]
            canonical, rows = take(canonical, np.array(kept, dtype=np.int64)), rows[kept]
        return inputs, rows, canonical

    def predict_domain(self, X: Any) -> npt.NDArray[np.bool_]:
        """(n,) whether each crystal is like labelled ones, and candidates agree on it."""
        predictions, rows, total = self._predictions(X)
        inside = np.zeros(total, bool)
        inside[rows] = predictions.placement.inside
        return inside

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.target_tags.required = True
        tags.non_deterministic = False
        return tags


class CrystalRegressor(RegressorMixin, _CrystalModel):  # type: ignore[misc]  # untyped base
    """Structures and numbers to a model that predicts, with intervals.

    Attributes:
        model_: fitted candidates and how they are stacked.
        fit_: the fit, with out-of-fold predictions of every repeat in ``fit_.out_of_fold``.
        rows_: input rows that were fitted to.
        tuned_: what encoders trained on with labels brought; None where none were.
        skipped_: structures that the last call could not use, with reasons.

    Example:
        >>> from sklearn.base import clone
        >>> clone(CrystalRegressor(repeats=1)).get_params()["repeats"]
        1
    """

    _kind: Kind = "regression"

    def fit(self, X: Any, y: Any, groups: Any = None) -> CrystalRegressor:
        """Fit to labelled structures.

        Args:
            X: n structures, or (n, p) features.
            y: (n,) numbers.
            groups: (n,) what no split may divide; None for formulas.

        Raises:
            InputError: if structures cannot be used or labels are too few.
        """
        if is_matrix(X):
            X, y = validate_data(self, X, y, y_numeric=True, dtype=np.float64, ensure_min_samples=2)
        labels = np.asarray(y, dtype=np.float64)
        self._fit(X, labels.reshape(-1, 1), groups)
        return self

    def predict(self, X: Any) -> Floats:
        """(n,) predictions; NaN for structures that cannot be used."""
        predictions, rows, total = self._predictions(X)
        values = np.full(total, np.nan)
        values[rows] = predictions.values[:, 0]
        return values

    def predict_interval(self, X: Any, level: float = LEVEL) -> Floats:
        """(n, 2) ends of intervals.

        Args:
            X: structures or features.
            level: share of crystals that intervals are to hold.
        """
        predictions, rows, total = self._predictions(X, level)
        intervals = np.full((total, 2), np.nan)
        intervals[rows] = np.stack([predictions.lower, predictions.upper], axis=1)
        return intervals


class CrystalClassifier(ClassifierMixin, _CrystalModel):  # type: ignore[misc]  # untyped base
    """Structures and classes to a model that predicts probabilities.

    Attributes:
        classes_: the classes, sorted.
        model_: fitted candidates, how they are stacked, and what calibrates their probabilities.
        fit_: the fit, with out-of-fold probabilities of every repeat in ``fit_.out_of_fold``.
        rows_: input rows that were fitted to.
        tuned_: what encoders trained on with labels brought; None where none were.
        skipped_: structures that the last call could not use, with reasons.
    """

    _kind: Kind = "classification"

    def fit(self, X: Any, y: Any, groups: Any = None) -> CrystalClassifier:
        """Fit to labelled structures.

        Args:
            X: n structures, or (n, p) features.
            y: (n,) classes.
            groups: (n,) what no split may divide; None for formulas.

        Raises:
            InputError: if structures cannot be used or labels are too few.
        """
        if is_matrix(X):
            X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        check_classification_targets(y)
        self.classes_, codes = np.unique(np.asarray(y), return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError("Got labels of one class only; expected at least two classes.")
        several = len(self.classes_) > 2
        labels = np.eye(len(self.classes_))[codes.reshape(-1)] if several else codes.reshape(-1, 1)
        self._fit(X, labels.astype(np.float64), groups)
        return self

    def predict_proba(self, X: Any) -> Floats:
        """(n, classes) probabilities; NaN for structures that cannot be used."""
        predictions, rows, total = self._predictions(X)
        shares = np.full((total, len(self.classes_)), np.nan)
        shares[rows] = probabilities(predictions.values, least=1e-9)
        return shares

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """(n,) the class of the largest probability."""
        shares = np.nan_to_num(self.predict_proba(X))
        return np.asarray(self.classes_[shares.argmax(axis=1)])


def is_matrix(X: Any) -> bool:
    """Whether an input is numbers: features rather than structures."""
    kind = getattr(getattr(X, "dtype", None), "kind", "")
    if kind:
        return bool(kind in "fiubc") or (kind == "O" and np.ndim(X) == 2 and _numbers(X))
    if hasattr(X, "__array__") and not hasattr(X, "dtypes"):
        return is_matrix(np.asarray(X))
    if hasattr(X, "dtypes"):  # a frame
        return all(getattr(each, "kind", "") in "fiub" for each in np.atleast_1d(X.dtypes))
    if isinstance(X, list | tuple) and X and isinstance(X[0], list | tuple):
        return all(isinstance(value, int | float) for value in X[0])
    return hasattr(X, "toarray")  # sparse; refused by scikit-learn's validation


def _numbers(X: Any) -> bool:
    flat = np.asarray(X, dtype=object).reshape(-1)
    return bool(len(flat)) and not (
        hasattr(flat[0], "species")
        or hasattr(flat[0], "numbers")
        or isinstance(flat[0], str | Path)
    )


def inputs_of_matrix(matrix: Floats) -> Inputs:
    """Features alone as inputs: no elements, no formulas; each row is its own group."""
    count, width = matrix.shape
    names = np.array([str(row) for row in range(count)], dtype=np.str_)
    section = Section(
        name="features", kind=MIXED, columns=tuple(f"x{column}" for column in range(width))
    )
    return Inputs(
        ids=names,
        formulas=names,
        elements=np.zeros((count, len(SYMBOLS)), bool),
        matrix=np.ascontiguousarray(matrix, dtype=np.float32),
        sections=(section,),
    )


def _silent(done: int, text: str) -> None:
    """Tell nobody."""
