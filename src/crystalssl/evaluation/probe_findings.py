"""The comparison in the making: every feature set on every split, gathered in the order of splits.

Matrices are visited one after the other, so that only one of them has sums in memory; rows are put
back into the order of splits. Between linear_probe.py above and probe_fits.py below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.evaluation.feature_sets import FeatureSet
from crystalssl.evaluation.margins import SplitErrors
from crystalssl.evaluation.probe_fits import ERRORS, PREDICTIONS, Job, fit_sets
from crystalssl.evaluation.probe_result import SCENARIO
from crystalssl.evaluation.protocols import Index, Split
from crystalssl.evaluation.scenario import ScenarioResult, digest
from crystalssl.evaluation.scoring import MEAN, Scorer, Target
from crystalssl.evaluation.store import Part, Store

Progress = Callable[[int, int, str], None]
"""Told of steps done, steps in all, and what was done."""


@dataclass(kw_only=True)
class Findings:
    """Rows, predictions and errors as they come.

    Attributes:
        total: fits in all, for the progress shown.
        progress: called with fits done, fits in all, and what was done.
        models: models of the probe.
        store: keeps finished parts; None keeps nothing.
        done: fits done.
        rows: tidy rows.
        kept: predictions for the parity plot.
        errors: errors of every split.
        keys: keys of all parts of this run.
    """

    total: int
    progress: Progress | None
    models: tuple[str, ...]
    store: Store | None
    done: int = 0
    rows: list[ScenarioResult] = field(default_factory=list)
    kept: list[pa.Table] = field(default_factory=list)
    errors: list[SplitErrors] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    @property
    def tested(self) -> Index:
        """Rows that were tested in any split."""
        return np.unique(np.concatenate([each.split.test for each in self.errors]))

    def compare(
        self,
        sets: Sequence[FeatureSet],
        targets: list[Target],
        splits: Sequence[Split],
        groups: npt.NDArray[np.str_],
        ids: npt.NDArray[np.str_],
    ) -> None:
        """Fit all sets and models to targets that are known for the same crystals.

        Args:
            sets: feature sets of n crystals.
            targets: t targets.
            splits: checked splits of the crystals with these labels.
            groups: (n,) formulas.
            ids: (n,) ids.
        """
        labels = np.stack([target.values for target in targets], axis=1)
        names = [text for target in targets for text in (target.name, target.unit)]
        job = Job(
            labels=labels,
            groups=groups,
            models=self.models,
            scorer=lambda split: Scorer(
                scenario=SCENARIO, targets=targets, split=split, labels=labels, ids=ids
            ),
            store=self.store,
            data=digest([*names, labels, groups, ids]) if self.store is not None else "",
        )
        parts: dict[tuple[int, str], Part] = {}
        place = {id(split): number for number, split in enumerate(splits)}
        for _, shared in groupby(sets, key=lambda part: id(part.matrix)):
            for part, split, key, result in fit_sets(list(shared), splits, job):
                parts[place[id(split)], part.name] = result
                self.keys.append(key)
                self.done += 1
                if self.progress is not None:
                    self.progress(self.done, self.total, f"{part.label}, {split.kind} split")
        for number, split in enumerate(splits):
            self._collect(split, job, {part.name: parts[number, part.name] for part in sets})

    def _collect(self, split: Split, job: Job, parts: dict[str, Part]) -> None:
        """Rows of one split, the mean of the training labels first."""
        score = job.scorer(split)
        mean = job.labels[split.train].mean(axis=0)
        score.add(None, MEAN, np.repeat(mean[None], len(split.test), 0))
        self.rows += score.rows
        for part in parts.values():
            self.rows += part.rows
            self.kept.append(part.tables[PREDICTIONS])
        self.errors.append(
            SplitErrors(
                split=split,
                properties=tuple(target.name for target in score.targets),
                models=self.models,
                errors={name: part.arrays[ERRORS] for name, part in parts.items()},
            )
        )
