"""Scenario 3: what are features worth when labels are few?

Directly: every head on every feature set, with fractions of the training labels. By residual: a
head of two steps, whose second learns on other features the residual of the first on raw FTCP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import numpy as np

from crystalssl.evaluation.analysis import IntervalRule, against_all, analyse, results_of, rows_of
from crystalssl.evaluation.cache import Cache
from crystalssl.evaluation.data import HYBRID, RAW, SSL, UNTRAINED, Dataset, FeatureSet
from crystalssl.evaluation.experiment import Experiment, Progress, Work
from crystalssl.evaluation.overlap import DropSeen, Overlap
from crystalssl.evaluation.pool import Pool, Task
from crystalssl.evaluation.results import THEN, Cell, Difference, Results, Summary, Verdict, select
from crystalssl.evaluation.scenarios.verdicts import better_than
from crystalssl.evaluation.splits import Split, TrainFractions, inner_folds
from crystalssl.evaluation.statistics import scores
from crystalssl.models.arrays import Floats
from crystalssl.models.contract import Head
from crystalssl.models.registry import build_head

SCENARIO = "few_shot"
"""Name of the scenario and of its files."""
CONTRIBUTION = "contribution"
"""Metric of the residual protocol: R2 of the second step on the residual of the first."""
QUESTION = "What are features worth when labels are few?"
FAILURE = (
    "Proposed features that lose to raw FTCP with its best head, or that explain nothing of the "
    "residual on raw FTCP, or no more than untrained encoders explain."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FewShotConfig:
    """Settings of the scenario."""

    heads: tuple[str, ...] = ("ridge", "lightgbm", "mlp")
    """Heads of the direct comparison."""
    residual_heads: tuple[str, ...] = ("lightgbm", "mlp")
    """Heads of the residual protocol, both steps with the same."""
    residual_fractions: tuple[float, ...] = (0.01,)
    """Train fractions for which the residual protocol is run."""
    folds: int = 5
    """Folds of the training rows, from which out-of-fold residuals are taken."""
    baseline: str = RAW
    """Feature set of the first step of the residual protocol, and first of the baselines."""
    explainers: tuple[str, ...] = (SSL, UNTRAINED)
    """Feature sets of its second step."""
    proposed: tuple[str, ...] = (SSL, HYBRID)
    """Feature sets that are compared with all others."""
    threads: int = 0
    """Threads of trees; 0 for all cores. Results do not depend on it."""


def few_shot(
    dataset: Dataset,
    protocol: TrainFractions,
    *,
    config: FewShotConfig | None = None,
    overlap: Overlap | None = None,
    drop_seen: DropSeen = "none",
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Results:
    """Compare feature sets few-shot.

    Split: one test part for all; training rows drawn from the pool, no formula on both sides.
    Heads: ridge, LightGBM, a perceptron with dropout; each stops early or chooses its strength
    inside the drawn rows, grouped by formula, with the same settings for every feature set. Seeds:
    the number of the repeat. Residual protocol: a head is fitted on the baseline; the same head on
    other features then learns its residuals on the training rows, out of fold, since a boosted
    model has next to none on the rows it was fitted to. Baselines: raw FTCP, Magpie statistics,
    untrained encoders, the mean. Intervals: Student's t over repeats, of a single repeat a
    bootstrap over test formulas. Failure: ``FAILURE``.

    Args:
        dataset: feature sets and targets.
        protocol: which rows are trained on and tested.
        config: settings; None for the defaults.
        overlap: which crystals the weights have seen, counted in the record; None: not asked.
        drop_seen: test crystals to leave out because the weights have seen them.
        cache: keeps what is finished, so that a stopped run goes on.
        progress: called with steps done, steps in all, and what was done.

    Raises:
        InputError: if there are too few labels, or seen crystals to drop are not known.
        UnknownNameError: if a head does not exist.
        MissingExtraError: if a head's package is not installed.
    """
    chosen = config or FewShotConfig()
    heads = {
        name: build_head(name, threads=chosen.threads)
        for name in dict.fromkeys([*chosen.heads, *chosen.residual_heads])
    }
    experiment = Experiment(
        scenario=SCENARIO,
        dataset=dataset,
        protocol=protocol,
        heads=[heads[name] for name in chosen.heads],
        cache=cache or Cache(),
        overlap=overlap,
        drop_seen=drop_seen,
        progress=progress,
        pool=Pool.plan(chosen.threads),
    )
    residual = _Residual(experiment=experiment, config=chosen, heads=heads)
    cells = experiment.run(residual.tasks())
    rows, rule = rows_of(cells), IntervalRule()
    proposed = [name for name in chosen.proposed if name in dataset.hashes]
    summary, differences = analyse(cells, rows, rule, against_all(proposed, chosen.baseline))
    second = [replace(cell, figures={}) for cell in sorted(residual.second, key=experiment.order())]
    explained = rows_of(second, _contribution)
    contributions, _ = analyse(second, explained, rule, metrics={CONTRIBUTION: "r2"})
    shown = {each.name: each.label for each in dataset.sets}
    record = experiment.record(
        question=QUESTION,
        failure=FAILURE,
        proposed=proposed,
        config={"settings": asdict(chosen)},
        labels={
            f"{chosen.baseline}{THEN}{name}": f"{shown[name]} on the residual of "
            f"{shown[chosen.baseline]}"
            for name in chosen.explainers
            if name in shown and chosen.baseline in shown
        },
    )
    verdicts = _verdicts(differences, contributions, record.labels, chosen)
    record, summary = replace(record, verdicts=verdicts), [*summary, *contributions]
    return results_of(record, cells, [*rows, *explained], summary, differences)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Residual:
    """The residual protocol: a head of two steps, for every split and head that asks for it.

    Attributes:
        experiment: the grid, whose fits it shares.
        config: settings.
        heads: heads by name.
        second: cells of the second step alone: true residuals, and predictions of these.
    """

    experiment: Experiment
    config: FewShotConfig
    heads: Mapping[str, Head]
    second: list[Cell] = field(default_factory=list)

    def tasks(self) -> list[Task[list[Cell]]]:
        """A task for each split and head; it gives cells of both steps together."""
        known = self.experiment.dataset.hashes
        if self.config.baseline not in known or not set(self.config.explainers) & set(known):
            return []
        return [
            self._task(work, split, name)
            for work in self.experiment.work
            for split in work.splits
            if split.train_fraction in self.config.residual_fractions
            for name in self.config.residual_heads
        ]

    def _task(self, work: Work, split: Split, name: str) -> Task[list[Cell]]:
        baseline = self.experiment.dataset.named(self.config.baseline)
        head, alone = self.experiment.in_pool(self.heads[name], baseline, split)
        return Task(
            text=f"residual, {name}, {100 * split.train_fraction:g} %",
            run=partial(self._cells, work, split, head, baseline),
            alone=alone,
        )

    def _cells(self, work: Work, split: Split, head: Head, baseline: FeatureSet) -> list[Cell]:
        """Both steps of one head in one split, for every explainer and target."""
        fitter, made = self.experiment.fitter, []
        first = fitter.fit(baseline, split, head, work.labels)
        residual = np.full_like(work.labels, np.nan)  # (n, t), known on training rows
        for inner in inner_folds(split, self.experiment.dataset.groups, self.config.folds):
            folded = fitter.fit(baseline, inner, head, work.labels)
            predicted = np.stack([fit.predicted for fit in folded], axis=1)
            residual[inner.test] = work.labels[inner.test] - predicted
        for explainer in self.experiment.dataset.sets:
            if explainer.name not in self.config.explainers:
                continue
            both = replace(
                explainer,
                name=f"{baseline.name}{THEN}{explainer.name}",
                width=baseline.width + explainer.width,
            )
            second = fitter.fit(explainer, split, head, residual)
            for cell, before in zip(
                self.experiment.cells(work, split, both, head.name, second), first, strict=True
            ):
                self.second.append(replace(cell, true=cell.true - before.predicted))
                made.append(replace(cell, predicted=before.predicted + cell.predicted))
        return made


def _contribution(true: Floats, predicted: Floats) -> dict[str, float]:
    """R2 of the second step on the residual of the first."""
    return {CONTRIBUTION: scores(true, predicted)["r2"]}


def _verdicts(
    differences: Sequence[Difference],
    contributions: Sequence[Summary],
    labels: Mapping[str, str],
    config: FewShotConfig,
) -> list[Verdict]:
    """The best head on proposed features against that on raw FTCP, and contributions."""
    versus: dict[tuple[str, str], dict[float, Difference]] = {}
    for pair in select(differences, metric="r2", best_head=True):
        best = versus.setdefault((pair.target, pair.feature_set), {})
        known = best.get(pair.train_fraction)
        if known is None or pair.gain > known.gain:
            best[pair.train_fraction] = pair
    where = "each with its best head"
    verdicts = [better_than(list(best.values()), labels, where) for best in versus.values()]
    for entry in contributions:
        name = entry.feature_set.partition(THEN)[2]
        if name not in config.proposed:
            continue
        untrained = [
            other.mean
            for other in contributions
            if other.feature_set == f"{config.baseline}{THEN}{UNTRAINED}"
            and (other.target, other.head, other.train_fraction)
            == (entry.target, entry.head, entry.train_fraction)
        ]
        least = max([0.0, *untrained])
        verdicts.append(
            Verdict(
                target=entry.target,
                claim=f"{labels.get(entry.feature_set)}: R2 above that of untrained encoders and "
                f"above 0, {entry.head}, {100 * entry.train_fraction:g} % of the labels",
                failed=entry.mean <= least,
                evidence=f"R2 {entry.mean:.3g} [{entry.low:.3g}, {entry.high:.3g}], to beat "
                f"{least:.3g}",
                significant=bool(entry.low > least),
            )
        )
    return verdicts
