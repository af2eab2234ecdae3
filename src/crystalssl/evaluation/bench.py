"""The workbench of few_shot.py: settings, and one head on one feature set in one draw as a unit.

A unit's key holds whatever its result depends on, so that a unit done before is read instead.
residual.py adds units of its own. After heads.py and store.py, before few_shot.py.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType

import numpy as np
import numpy.typing as npt

from crystalssl.evaluation._model_code import head_code
from crystalssl.evaluation.feature_sets import FeatureSet
from crystalssl.evaluation.protocols import Split
from crystalssl.evaluation.scenario import ScenarioResult, digest
from crystalssl.evaluation.scoring import MEAN, Target, scores
from crystalssl.evaluation.shared_fits import SharedFits
from crystalssl.evaluation.store import Part, Store
from crystalssl.models import Head, build_head, head_settings
from crystalssl.models.arrays import Floats

SCENARIO = "few_shot"
"""Scenario name in the results."""
DIRECT = "direct"
"""Kind of the units of the direct comparison."""
THEN = " > "
"""Between the feature sets of the first and the second step of the residual protocol."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FewShotConfig:
    """Settings of the scenario."""

    heads: tuple[str, ...] = ("ridge", "lightgbm", "mlp")
    """Heads of the direct comparison."""
    residual_heads: tuple[str, ...] = ("lightgbm", "mlp")
    """Heads of the residual protocol, both steps with the same."""
    residual_fractions: tuple[float, ...] = (0.01,)
    """Shares of the labels for which the residual protocol is run."""
    folds: int = 5
    """Folds of the training rows, from which residuals are taken."""
    base: str = "raw_ftcp"
    """Feature set of the first step of the residual protocol, and first of the baselines."""
    explainers: tuple[str, ...] = ("ssl", "untrained")
    """Feature sets of its second step."""
    ours: tuple[str, ...] = ("ssl", "hybrid")
    """Feature sets that are held against each of the others."""
    threads: int = 0
    """Threads of trees; 0 for all cores. Results do not depend on it."""


@dataclass(kw_only=True)
class Bench:
    """Everything that units of one group of targets share.

    Attributes:
        sets: feature sets by name.
        targets: t properties known for the same crystals.
        groups: (n,) formulas.
        config: settings.
        store: finished units.
        labels: (n, t) labels.
        hashes: digest of each feature set.
        fits: models on all labels, shared with other scenarios; None: not shared.
        labels_hash: digest of the labels and formulas.
        keys: keys of all units asked for so far.
    """

    sets: dict[str, FeatureSet]
    targets: list[Target]
    groups: npt.NDArray[np.str_]
    config: FewShotConfig
    store: Store
    hashes: dict[str, str]
    fits: SharedFits | None = None
    labels: Floats = field(init=False)
    labels_hash: str = field(init=False)
    keys: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Stack and digest the labels."""
        self.labels = np.stack([target.values for target in self.targets], axis=1)
        names = [target.name for target in self.targets]
        self.labels_hash = digest([*names, self.labels, *self.groups.tolist()])

    def for_head(self, model: str) -> list[Bench]:
        """The benches that a head works on: one for all targets, or one for each.

        Ridge shares its decomposition among targets. For the others a target costs the same
        alone, and alone its units are found again when targets are added or left out.
        """
        if model == "ridge" or len(self.targets) == 1:
            return [self]
        return [replace(self, targets=[target]) for target in self.targets]

    def bytes_of(self, split: Split, name: str) -> int:
        """Bytes of the training rows of a feature set."""
        return len(split.train) * self.sets[name].matrix[:1].nbytes

    def key(
        self,
        kind: str,
        split: Split,
        head: Head,
        names: Sequence[str],
        code: Sequence[ModuleType] = (),
    ) -> str:
        """Key of a unit, noted as one of this run.

        Args:
            kind: what is computed.
            split: its rows.
            head: model with its settings; the number of threads does not count.
            names: feature sets that it depends on.
            code: modules that make it, beside those of the head.
        """
        settings = head_settings(head) | {"unit": kind, "seed": split.seed}
        if kind != DIRECT:
            settings["folds"] = self.config.folds
        key = self.store.key(
            SCENARIO,
            settings,
            data=[digest([split.train, split.test]), self.labels_hash]
            + [f"{name} {self.hashes[name]}" for name in names],
            code=[*head_code(head), *code],
        )
        self.keys.add(key)
        return key

    def head(self, name: str) -> Head:
        """A head by name."""
        return build_head(name, threads=self.config.threads)

    def rows(
        self, split: Split, name: str, model: str, metrics: Sequence[dict[str, float]]
    ) -> tuple[ScenarioResult, ...]:
        """Tidy rows of one model in one draw.

        Args:
            split: the draw.
            name: what goes to the column of the feature set.
            model: model name.
            metrics: numbers by metric, one mapping a target.
        """
        known = [self.sets[part] for part in name.split(THEN) if part in self.sets]
        return tuple(
            ScenarioResult(
                scenario=SCENARIO,
                property=target.name,
                unit=target.unit,
                split_kind=split.kind,
                train_fraction=split.train_fraction,
                seed=split.seed,
                fold=split.fold,
                feature_set=name,
                n_features=sum(part.width for part in known),
                model=model,
                metric=metric,
                value=value,
                n_train=len(split.train),
                n_test=len(split.test),
            )
            for target, values in zip(self.targets, metrics, strict=True)
            for metric, value in values.items()
        )

    def direct(self, split: Split, name: str, head: Head) -> Part:
        """One head on one feature set in one draw: rows, and predictions of the test part."""
        key = self.key(DIRECT, split, head, [name])
        return self.store.once(key, lambda: self._fitted(split, name, head))

    def _fitted(self, split: Split, name: str, head: Head) -> Part:
        """Fit, predict and score."""
        guess, seconds = self._predicted(split, name, head)
        found = [
            scores(truth, values) | {"fit_seconds": spent}
            for truth, values, spent in zip(
                self.labels[split.test].T, guess.T, seconds, strict=True
            )
        ]
        return Part(rows=self.rows(split, name, head.name, found), arrays={"guess": guess})

    def _predicted(self, split: Split, name: str, head: Head) -> tuple[Floats, list[float]]:
        """(m, t) predictions and the seconds that each fit took; shared fits are read, not made."""
        if self.fits is None or split.train_fraction < 1.0:
            return self._fit(split, name, head, self.labels)
        keys = [
            self.fits.key(head, self.hashes[name], split, labels, self.groups, split.seed)
            for labels in self.labels.T
        ]
        known = [self.fits.get(key) for key in keys]
        missing = [place for place, found in enumerate(known) if found is None]
        if missing:
            guess, seconds = self._fit(split, name, head, self.labels[:, missing])
            self.fits.put([keys[place] for place in missing], guess, seconds[0])
            known = [self.fits.get(key) for key in keys]
        both = [found for found in known if found is not None]
        return np.stack([one.guess for one in both], axis=1), [one.seconds for one in both]

    def _fit(
        self, split: Split, name: str, head: Head, labels: Floats
    ) -> tuple[Floats, list[float]]:
        """Fit one model a label; an equal part of the seconds for each."""
        matrix, count = self.sets[name].matrix, labels.shape[1]
        start = time.perf_counter()
        fitted = head.fit(matrix, split.train, labels, self.groups, split.seed)
        seconds = (time.perf_counter() - start) / count
        return fitted.predict(matrix, split.test), [seconds] * count

    def direct_each(self, split: Split, name: str, model: str) -> list[tuple[Bench, Part]]:
        """The units of :meth:`direct` for every bench of a head.

        Those that are missing are fitted together, so that columns are standardised or binned once
        for all targets; each is stored alone, and equals what it would be alone.
        """
        head, benches = self.head(model), self.for_head(model)
        keys = {own.targets[0].name: own.key(DIRECT, split, head, [name]) for own in benches}
        missing = [
            own.targets[0] for own in benches if not self.store.has(keys[own.targets[0].name])
        ]
        fresh: dict[str, Part] = {}
        if len(benches) > 1 and len(missing) > 1:
            part = replace(self, targets=missing)._fitted(split, name, head)
            for number, target in enumerate(missing):
                rows = tuple(row for row in part.rows if row.property == target.name)
                guess = {"guess": part.arrays["guess"][:, [number]]}
                compute = partial(Part, rows=rows, arrays=guess)
                fresh[target.name] = self.store.once(keys[target.name], compute)
        return [
            (own, fresh.get(own.targets[0].name) or own.direct(split, name, head))
            for own in benches
        ]

    def mean(self, split: Split) -> Part:
        """The mean of the training labels, the least that any model has to beat."""
        guess = np.repeat(self.labels[split.train].mean(axis=0)[None], len(split.test), axis=0)
        truth = self.labels[split.test]
        found = [scores(t, g) for t, g in zip(truth.T, guess.T, strict=True)]
        return Part(rows=self.rows(split, MEAN, MEAN, found), arrays={"guess": guess})
