"""One head on raw FTCP, features or both, for one property: fitted, scored, and explained if both.

The unit of work of shap_share.py; what it gives is kept in a store, and tidy rows are made of it.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.evaluation import attribution
from crystalssl.evaluation._model_code import head_code
from crystalssl.evaluation.attribution import Attribution, explain_network, explain_trees
from crystalssl.evaluation.feature_sets import FeatureSet
from crystalssl.evaluation.hybrid import Hybrid
from crystalssl.evaluation.protocols import Split
from crystalssl.evaluation.scenario import ScenarioResult, digest
from crystalssl.evaluation.scoring import MEAN, Scorer, Target
from crystalssl.evaluation.shared_fits import Prediction, SharedFits
from crystalssl.evaluation.shares import share_values
from crystalssl.evaluation.store import Part, Store
from crystalssl.models import Head, head_settings
from crystalssl.models.arrays import Floats, Index
from crystalssl.models.scaling import fit_scaler

SCENARIO = "shap_share"
"""Scenario name in the results."""
EXPLAINED = ("mlp", "lightgbm")
"""Heads whose predictions are explained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShapConfig:
    """Settings of the scenario."""

    heads: tuple[str, ...] = ("mlp", "lightgbm", "random_forest")
    """Heads that are fitted on raw FTCP, on features, and on both."""
    trees: int = 16
    """Trees of the forest: a tree on all columns and 26,000 crystals takes five seconds."""
    explained: int = 500
    """Test rows that are explained, drawn at random."""
    background: int = 200
    """Training rows that stand for the data when a network is explained."""
    samples: int = 200
    """Points for each explained row of a network."""
    draws: int = 1000
    """Bootstrap draws of the explained rows."""
    seed: int = 0
    """Seed of heads, of the rows drawn, and of the bootstrap."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """One head on one set of columns for one property: fitted, scored and, if both, explained."""

    hybrid: Hybrid
    features: FeatureSet
    target: Target
    split: Split
    groups: npt.NDArray[np.str_]
    ids: npt.NDArray[np.str_]
    head: Head
    config: ShapConfig
    fits: SharedFits | None = None
    content: str = ""

    @property
    def is_explained(self) -> bool:
        """Whether SHAP values are asked of it."""
        return self.features.name == self.hybrid.name and self.head.name in EXPLAINED

    def settings(self) -> dict[str, Any]:
        """What the result depends on, data apart."""
        head = head_settings(self.head)
        found: dict[str, Any] = {
            "head": head,
            "features": self.features.name,
            "target": self.target.name,
            "seed": self.config.seed,
        }
        if self.is_explained:
            found |= asdict(replace(self.config, heads=(), draws=0, trees=0))
            found["sections"] = [asdict(section) for section in self.hybrid.sections]
        return found

    def compute(self) -> Part:
        """Scores, test predictions, and the SHAP sums of the explained rows."""
        prediction, fitted = self._predicted()
        guess, rows, labels = prediction.guess, self.split, self.target.values
        score = Scorer(
            scenario=SCENARIO,
            targets=[self.target],
            split=rows,
            labels=labels[:, None],
            ids=self.ids,
        )
        score.add(self.features, self.head.name, guess[:, None], seconds=prediction.seconds)
        arrays = {"predictions": guess}
        if self.is_explained:
            found = self._explain(fitted)
            arrays |= {"absolute": found.absolute, "gaps": found.gaps}
            arrays |= {"base": np.array([found.base])}
        return Part(rows=tuple(score.rows), arrays=arrays)

    def _predicted(self) -> tuple[Prediction, Any]:
        """Predictions, and the fitted head; None instead of it where nobody has to fit it again."""
        matrix, rows, labels = self.features.matrix, self.split, self.target.values
        key, seed = "", self.config.seed
        if self.fits is not None:
            key = self.fits.key(self.head, self.content, rows, labels, self.groups, seed)
            known = self.fits.get(key)
            if known is not None and not self.is_explained:
                return known, None
        start = time.perf_counter()
        fitted = self.head.fit(matrix, rows.train, labels, self.groups, seed)
        seconds = time.perf_counter() - start
        guess = fitted.predict(matrix, rows.test)
        if self.fits is not None:
            self.fits.put([key], guess[:, None], seconds)
        return Prediction(guess=guess, seconds=seconds), fitted

    def _explain(self, fitted: Any) -> Attribution:
        matrix, rows = self.features.matrix, explained_rows(self.split, self.config)
        groups = {section.name: self.hybrid.mask(section) for section in self.hybrid.sections}
        if self.head.name == "lightgbm":
            return explain_trees(fitted, matrix, rows, groups)
        return explain_network(
            fitted,
            matrix,
            rows,
            background_rows(self.split, self.config),
            groups,
            samples=self.config.samples,
            seed=self.config.seed,
        )


def unit_part(unit: Unit, store: Store | None, base: str) -> Part:
    """The result of a unit, from the store where it is there."""
    return (
        unit.compute() if store is None else store.once(unit_key(unit, store, base), unit.compute)
    )


def unit_key(unit: Unit, store: Store, base: str) -> str:
    """Key of a unit in a store; ``base`` is a digest of what all units share."""
    code = [*head_code(unit.head), attribution, sys.modules[__name__]]
    data = [base, digest([unit.target.values, unit.split.train, unit.split.test])]
    return store.key(SCENARIO, unit.settings(), data=data, code=code)


def explained_rows(split: Split, config: ShapConfig) -> Index:
    """Test rows that are explained, in order."""
    return _drawn(split.test, config.explained, config.seed)


def background_rows(split: Split, config: ShapConfig) -> Index:
    """Training rows that stand for the data, in order."""
    return _drawn(split.train, config.background, config.seed)


def _drawn(rows: Index, count: int, seed: int) -> Index:
    if len(rows) <= count:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))


def mean_rows(unit: Unit) -> list[ScenarioResult]:
    """Scores of the mean of the training labels."""
    labels = unit.target.values
    score = Scorer(
        scenario=SCENARIO,
        targets=[unit.target],
        split=unit.split,
        labels=labels[:, None],
        ids=unit.ids,
    )
    mean = np.full((len(unit.split.test), 1), labels[unit.split.train].mean())
    score.add(None, MEAN, mean)
    return score.rows


def share_rows(unit: Unit, part: Part) -> list[ScenarioResult]:
    """Shares of every section and of all features together, and what vouches for them."""
    hybrid, config = unit.hybrid, unit.config
    scaler = fit_scaler(hybrid.matrix, unit.split.train)
    varying = np.array([hybrid.mask(s)[scaler.columns].sum() for s in hybrid.sections], float)
    widths = np.array([section.width for section in hybrid.sections], float)
    learned = np.array([[section.learned] for section in hybrid.sections], float)
    shares = share_values(
        part.arrays["absolute"],
        np.concatenate([learned, np.eye(len(widths))], axis=1),
        widths,
        varying,
        draws=config.draws,
        seed=config.seed,
    )
    names = [hybrid.ssl.name, *(section.name for section in hybrid.sections)]
    counts = [hybrid.ssl.width, *(section.width for section in hybrid.sections)]
    row = replace(
        part.rows[0], feature_set=hybrid.name, n_features=hybrid.width, metric="", value=0.0
    )
    rows = [
        replace(row, feature_set=name, n_features=count, metric=metric, value=value)
        for name, count, share in zip(names, counts, shares, strict=True)
        for metric, value in share.metrics().items()
    ]
    gaps = part.arrays["gaps"]
    checks = {
        "additivity_mean": float(gaps.mean()),
        "additivity_max": float(gaps.max()),
        "columns_varying": float(varying.sum()),
        "rows_explained": float(len(gaps)),
    }
    return rows + [replace(row, metric=name, value=value) for name, value in checks.items()]


def explained_table(unit: Unit, absolute: Floats) -> pa.Table:
    """One line for each explained row and section."""
    ids = unit.ids[explained_rows(unit.split, unit.config)]
    sections = [section.name for section in unit.hybrid.sections]
    count = absolute.size
    return pa.table(
        {
            "property": pa.array([unit.target.name] * count).dictionary_encode(),
            "model": pa.array([unit.head.name] * count).dictionary_encode(),
            "immutable_id": pa.array(np.repeat(ids, len(sections)).tolist(), pa.string()),
            "section": pa.array(sections * len(ids)).dictionary_encode(),
            "absolute": pa.array(absolute.ravel()),
        }
    )
