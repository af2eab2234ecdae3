"""The grid: targets x splits x feature sets x heads -> cells of cached predictions.

A scenario says what the grid is and what is compared; it is filled here, each fit once, and turned
into results. Linear heads go through all splits of a matrix in turn; other heads run in a pool.
After data.py, splits.py and fits.py; before scenarios/ and matbench/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np

from crystalssl.errors import InputError
from crystalssl.evaluation.cache import Arrays, Cache, installed_versions
from crystalssl.evaluation.data import Dataset, FeatureSet, Target
from crystalssl.evaluation.fits import LINEAR, Explanation, Fit, Fitter
from crystalssl.evaluation.overlap import DropSeen, Overlap
from crystalssl.evaluation.pool import LARGE, Pool, Task
from crystalssl.evaluation.results import MEAN, Cell, Record
from crystalssl.evaluation.splits import Index, Split, SplitProtocol, check_split
from crystalssl.models.arrays import Floats
from crystalssl.models.contract import Head, head_settings

Progress = Callable[[int, int, str], None]
"""Called with steps done, steps in all, and what was done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Targets known for the same crystals, and their splits.

    Attributes:
        targets: t properties.
        labels: (n, t) labels.
        splits: checked splits of the crystals with these labels.
    """

    targets: tuple[Target, ...]
    labels: Floats
    splits: tuple[Split, ...]


@dataclass(kw_only=True)
class Experiment:
    """A grid and how it is filled.

    Attributes:
        scenario: its name.
        dataset: targets and feature sets.
        protocol: which rows are trained on and tested.
        heads: heads, each fitted on every feature set.
        cache: keeps fits; those that this run did not ask for are removed from its own folder.
        overlap: which crystals the weights have seen, counted in the record; None: not asked.
        drop_seen: test crystals to leave out because the weights have seen them.
        progress: is told of every fit.
        seed: seed of heads; None for the repeat of the split.
        pool: how heads other than linear ones share cores.
        explain: what is to be made of a fitted head on a feature set in a split, if anything.
        work: what there is to do, by targets.
        fitter: fits heads, each once.
        explained: what was made, by target and head.
    """

    scenario: str
    dataset: Dataset
    protocol: SplitProtocol
    heads: Sequence[Head]
    cache: Cache
    overlap: Overlap | None = None
    drop_seen: DropSeen = "none"
    progress: Progress | None = None
    seed: int | None = None
    pool: Pool = field(default_factory=Pool)
    explain: Callable[[FeatureSet, Split, Head], Explanation | None] = lambda *_: None
    work: list[Work] = field(init=False)
    fitter: Fitter = field(init=False)
    explained: dict[tuple[str, str], Arrays] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make and check all splits before anything is fitted.

        Raises:
            InputError: if there are no heads or too few rows, a split would leak labels, or seen
                crystals are to be dropped where they are not known.
        """
        if not self.heads:
            raise InputError("Expected at least one head.")
        if self.overlap is None and self.drop_seen != "none":
            raise InputError("Cannot drop seen crystals without their overlap; give it too.")
        groups = self.dataset.groups
        self.work = []
        for targets, rows in self.dataset.label_groups():
            splits = self.protocol.splits(rows, groups)
            for split in splits:
                check_split(split, groups)
            if self.overlap is not None:
                splits = [self.overlap.drop(split, self.drop_seen) for split in splits]
            labels = np.stack([target.values for target in targets], axis=1)
            self.work.append(Work(targets=targets, labels=labels, splits=tuple(splits)))
        # once a split: all its cells share the arrays
        self._tested = {
            id(split): (self.dataset.ids[split.test], groups[split.test])
            for work in self.work
            for split in work.splits
        }
        self.fitter = Fitter(
            hashes=self.dataset.hashes,
            groups=groups,
            cache=self.cache,
            kind="fit" if self.cache.shared else self.scenario,
            seed=self.seed,
        )

    @property
    def tested(self) -> Index:
        """Rows that are tested in any split."""
        return np.unique(np.concatenate([s.test for work in self.work for s in work.splits]))

    def run(self, further: Sequence[Task[list[Cell]]] = ()) -> list[Cell]:
        """Cells of the mean of the training labels and of every head on every feature set.

        Args:
            further: tasks that give cells of the scenario's own, done beside those of the grid.
        """
        sets = self.dataset.sets
        linear = [head for head in self.heads if isinstance(head, LINEAR)]
        others = [head for head in self.heads if not isinstance(head, LINEAR)]
        splits = sum(len(work.splits) for work in self.work)
        advance = self._counter(splits * len(sets) * len(self.heads) + len(further))
        cells = [cell for work in self.work for cell in self._means(work)]
        for work in self.work if linear else ():
            for _, same in groupby(sets, key=lambda each: id(each.matrix)):
                fitted = self.fitter.fit_linear(list(same), work.splits, linear, work.labels)
                for each, split, head, fits in fitted:
                    cells += self.cells(work, split, each, head.name, fits)
                    advance(f"{each.label}, {head.name}, {split.kind} split")
        tasks = [
            self._task(work, split, each, head)
            for work in self.work
            for split in work.splits
            for each in sets
            for head in others
        ]
        for made in self.pool.run([*tasks, *further], advance):
            cells += made
        self.cache.keep_only(self.fitter.keys, self.fitter.kind)
        return sorted(cells, key=self.order())

    def cells(
        self, work: Work, split: Split, feature_set: FeatureSet, head: str, fits: Sequence[Fit]
    ) -> list[Cell]:
        """One cell for each target of a fit."""
        ids, groups = self._tested[id(split)]
        return [
            Cell(
                target=target.name,
                unit=target.unit,
                split=split.kind,
                train_fraction=split.train_fraction,
                repeat=split.repeat,
                fold=split.fold,
                feature_set=feature_set.name,
                n_features=feature_set.width,
                head=head,
                n_train=len(split.train),
                n_test=len(split.test),
                ids=ids,
                groups=groups,
                true=target.values[split.test],
                predicted=fit.predicted,
                figures=fit.figures,
            )
            for target, fit in zip(work.targets, fits, strict=True)
        ]

    def in_pool(self, head: Head, feature_set: FeatureSet, split: Split) -> tuple[Head, bool]:
        """The head with the threads that it gets, and whether it is to be fitted alone."""
        size = len(split.train) * feature_set.matrix[:1].nbytes
        if size > LARGE or not hasattr(head, "threads") or self.pool.workers == 1:
            return head, size > LARGE
        return replace(head, threads=self.pool.threads), False  # type: ignore[call-arg]

    def _task(
        self, work: Work, split: Split, feature_set: FeatureSet, head: Head
    ) -> Task[list[Cell]]:
        """One head on one feature set in one split, for every target."""
        threaded, alone = self.in_pool(head, feature_set, split)

        def run() -> list[Cell]:
            explanation = self.explain(feature_set, split, head)
            if explanation is None:
                fits = self.fitter.fit(feature_set, split, threaded, work.labels)
                return self.cells(work, split, feature_set, head.name, fits)
            fits = []
            for target, labels in zip(work.targets, work.labels.T, strict=True):
                fit, arrays = self.fitter.explain(feature_set, split, threaded, labels, explanation)
                self.explained[target.name, head.name] = arrays
                fits.append(fit)
            return self.cells(work, split, feature_set, head.name, fits)

        text = f"{feature_set.label}, {head.name}, {100 * split.train_fraction:g} %"
        return Task(text=text, run=run, alone=alone)

    def _means(self, work: Work) -> Iterator[Cell]:
        """The mean of the training labels, the least that any head has to beat."""
        nothing = replace(self.dataset.sets[0], name=MEAN, width=0)
        for split in work.splits:
            means = work.labels[split.train].mean(axis=0)
            fits = [Fit(predicted=np.full(len(split.test), m), figures={}) for m in means]
            yield from self.cells(work, split, nothing, MEAN, fits)

    def _counter(self, total: int) -> Callable[[str], None]:
        """Counts steps and tells the progress."""
        steps = iter(range(1, total + 1))

        def advance(text: str) -> None:
            step = next(steps)
            if self.progress is not None:
                self.progress(step, total, text)

        return advance

    def order(self) -> Callable[[Cell], tuple[int, ...]]:
        """Key of the order of cells: targets, splits, feature sets and heads as they were given."""
        targets = [target.name for target in self.dataset.targets]
        splits = [(s.kind, s.train_fraction, s.repeat, s.fold) for w in self.work for s in w.splits]
        sets = [MEAN, *(each.name for each in self.dataset.sets)]
        heads = [MEAN, *(head.name for head in self.heads)]
        numbers: list[dict[Any, int]] = [
            {value: number for number, value in reversed(list(enumerate(values)))}
            for values in (targets, splits, sets, heads)
        ]

        def order(cell: Cell) -> tuple[int, ...]:
            split = (cell.split, cell.train_fraction, cell.repeat, cell.fold)
            values = (cell.target, split, cell.feature_set, cell.head)
            return tuple(
                known.get(value, len(known)) for known, value in zip(numbers, values, strict=True)
            )

        return order

    def record(
        self,
        *,
        question: str,
        failure: str,
        proposed: Sequence[str],
        protocol: str = "",
        config: dict[str, Any] | None = None,
        labels: dict[str, str] | None = None,
    ) -> Record:
        """How the results came about.

        Args:
            question: what the scenario asks.
            failure: what would count as failure.
            proposed: feature sets that are compared with all others.
            protocol: the protocol in words; that of the splits if empty.
            config: settings beside those of protocol and heads.
            labels: readable names beside those of the feature sets.
        """
        counts = self.dataset.counts()
        for work in self.work:
            tested = len(np.unique(np.concatenate([split.test for split in work.splits])))
            for target in work.targets:
                counts[f"trained on for {target.name}"] = max(len(s.train) for s in work.splits)
                counts[f"tested for {target.name}"] = tested
        settings = {
            "protocol": type(self.protocol).__name__,
            **_without_arrays(asdict(self.protocol)),  # type: ignore[call-overload]
            "heads": {head.name: head_settings(head) for head in self.heads},
            **_without_arrays(config or {}),
        }
        named = {each.name: each.label for each in self.dataset.sets}
        record = Record(
            scenario=self.scenario,
            question=question,
            failure=failure,
            protocol=protocol or self.protocol.words(),
            proposed=list(proposed),
            config=_without_arrays(settings),
            seeds=self.protocol.seeds if self.seed is None else [*self.protocol.seeds, self.seed],
            data_hash=self.dataset.data_hash(),
            counts=counts,
            labels={MEAN: "Mean of training labels"} | named | (labels or {}),
            versions=installed_versions(),
        )
        if self.overlap is None:
            return record
        return self.overlap.noted(record, self.tested, self.dataset.groups, self.drop_seen)


def _without_arrays(value: Any) -> Any:
    """Settings as they are read back from JSON: lists for tuples, and no arrays."""
    if isinstance(value, dict):
        kept = {key: entry for key, entry in value.items() if not isinstance(entry, np.ndarray)}
        return {key: _without_arrays(entry) for key, entry in kept.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(entry) for entry in value]
    return value
