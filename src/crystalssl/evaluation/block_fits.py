"""Features whose columns belong to blocks -> linear models on every selection of the blocks.

Sums over the training rows are made once and serve all selections; finished selections are kept.
After spectrum.py and store.py, before ablation.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from crystalssl.evaluation._model_code import LINEAR
from crystalssl.evaluation.feature_sets import FeatureSet
from crystalssl.evaluation.few_shot_summary import Scored
from crystalssl.evaluation.linear_probe import MODELS
from crystalssl.evaluation.protocols import Split
from crystalssl.evaluation.scenario import ScenarioResult, digest
from crystalssl.evaluation.scoring import MEAN, Scorer, Target
from crystalssl.evaluation.store import Part, Store
from crystalssl.models.arrays import Floats, Index
from crystalssl.models.ridge import SufficientStatistics, decompose, fit_ols, fit_ridge, predict_all

SCENARIO = "ablation"
"""Scenario name in the results."""
ALL, ONLY, WITHOUT = "all", "only", "without"
"""Kinds of selection; a selection is written ``ssl: only NAME``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockSet:
    """Features whose columns belong to blocks.

    Attributes:
        part: the features.
        widths: columns of each block, in their order.
    """

    part: FeatureSet
    widths: dict[str, int]

    def selections(self) -> dict[str, Index]:
        """Columns of every selection: all blocks, each alone, each left out."""
        ends = np.cumsum([0, *self.widths.values()])
        every = np.arange(ends[-1], dtype=np.int64)
        spans = {
            name: every[low:high]
            for name, low, high in zip(self.widths, ends[:-1], ends[1:], strict=True)
        }
        only = {f"{ONLY} {name}": span for name, span in spans.items()}
        rest = {f"{WITHOUT} {name}": np.setdiff1d(every, span) for name, span in spans.items()}
        return {ALL: every, **only, **rest}


@dataclass(kw_only=True)
class BlockBench:
    """One split of targets known for the same crystals.

    Attributes:
        targets: t properties.
        split: rows of both sides.
        groups: (n,) formulas.
        ids: (n,) ids.
        store: finished selections.
        keys: keys of all selections asked for so far.
        labels: (n, t) labels.
    """

    targets: list[Target]
    split: Split
    groups: npt.NDArray[np.str_]
    ids: npt.NDArray[np.str_]
    store: Store
    keys: set[str]
    labels: Floats = field(init=False)

    def __post_init__(self) -> None:
        """Stack the labels."""
        self.labels = np.stack([target.values for target in self.targets], axis=1)

    def mean(self) -> Iterator[Scored]:
        """The mean of the training labels."""
        scorer = self._scorer()
        guess = np.repeat(self.labels[self.split.train].mean(axis=0)[None], len(self.split.test), 0)
        scorer.add(None, MEAN, guess)
        yield from self._scored(tuple(scorer.rows), {MEAN: guess})

    def fit(self, entry: BlockSet, matrix_hash: str) -> Iterator[tuple[str, list[Scored]]]:
        """Every selection of one set of features, as stored or computed now."""
        sums: list[SufficientStatistics] = []  # made when the first selection has to be computed

        def of_all() -> SufficientStatistics:
            if not sums:
                sums.append(
                    SufficientStatistics.of(entry.part.matrix, self.labels, self.split.train)
                )
            return sums[0]

        for name, columns in entry.selections().items():
            key = self._key(entry, name, columns, matrix_hash)
            self.keys.add(key)
            compute = self._computation(entry.part, name, columns, of_all)
            part = self.store.once(key, compute)
            yield f"{entry.part.label}, {name}", list(self._scored(part.rows, part.arrays))

    def _key(self, entry: BlockSet, name: str, columns: Index, matrix_hash: str) -> str:
        names = [target.name for target in self.targets]
        data = [self.labels, self.split.train, self.split.test, columns, *self.groups.tolist()]
        return self.store.key(
            SCENARIO,
            {"set": entry.part.name, "selection": name, "seed": self.split.seed, "names": names},
            data=[matrix_hash, digest(data)],
            code=[sys.modules[__name__], *LINEAR],
        )

    def _computation(
        self,
        part: FeatureSet,
        name: str,
        columns: Index,
        of_all: Callable[[], SufficientStatistics],
    ) -> Callable[[], Part]:
        """What fits one selection."""

        def compute() -> Part:
            chosen = replace(
                part,
                name=f"{part.name}: {name}",
                matrix=np.ascontiguousarray(part.matrix[:, columns]),
                width=len(columns),
            )
            known = of_all() if len(self.split.train) >= len(columns) else None
            sums = None if known is None else known.select(columns)
            full = decompose(chosen.matrix, self.labels, self.split.train, sums)
            alike = self.groups[self.split.train]
            fits = [
                fit_ols(full, chosen.matrix)
                if model == "ols"
                else fit_ridge(full, chosen.matrix, groups=alike, seed=self.split.seed)
                for model in MODELS
            ]
            found = predict_all(fits, chosen.matrix, self.split.test)
            scorer, guesses = self._scorer(), dict(zip(MODELS, found, strict=True))
            for model, fitted in zip(MODELS, fits, strict=True):
                scorer.add(chosen, model, guesses[model], fitted)
            kept = tuple(row for row in scorer.rows if row.metric != "fit_seconds")
            return Part(rows=kept, arrays=guesses)

        return compute

    def _scorer(self) -> Scorer:
        split = replace(self.split, keep_predictions=False)
        return Scorer(
            scenario=SCENARIO, targets=self.targets, split=split, labels=self.labels, ids=self.ids
        )

    def _scored(
        self, rows: tuple[ScenarioResult, ...], guesses: dict[str, Floats]
    ) -> Iterator[Scored]:
        for number, target in enumerate(self.targets):
            for model, guess in guesses.items():
                own = tuple(r for r in rows if r.property == target.name and r.model == model)
                truth = self.labels[self.split.test, number]
                yield Scored(rows=own, test=self.split.test, truth=truth, guess=guess[:, number])
