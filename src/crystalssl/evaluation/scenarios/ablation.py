"""What each block of features is worth: alone, and by what is lost when it is left out.

An ablation is a list of column selections: all blocks, each alone, each left out. Least squares
and ridge read every selection; Gram matrices are made once and serve all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from crystalssl.errors import InputError
from crystalssl.evaluation.analysis import IntervalRule, Model, Pair, analyse, results_of, rows_of
from crystalssl.evaluation.cache import Cache
from crystalssl.evaluation.data import Dataset, FeatureSet
from crystalssl.evaluation.experiment import Experiment, Progress
from crystalssl.evaluation.overlap import DropSeen, Overlap
from crystalssl.evaluation.results import MEAN, Difference, Results, Verdict, select
from crystalssl.evaluation.scenarios.verdicts import better_than
from crystalssl.evaluation.splits import SplitProtocol
from crystalssl.models.registry import build_head

SCENARIO = "ablation"
"""Name of the scenario and of its files."""
ALL, ONLY, WITHOUT = "all", "only", "without"
"""Kinds of selection; a selection is written ``ssl: only NAME``."""
QUESTION = "What is each block of features worth, alone and when it is left out?"
FAILURE = (
    "A trained block that alone does no better than untrained, or whose loss makes nothing worse."
)


def ablation(
    dataset: Dataset,
    protocol: SplitProtocol,
    *,
    overlap: Overlap | None = None,
    drop_seen: DropSeen = "none",
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Results:
    """Compare selections of blocks by linear models.

    Split, scaler and heads: as in the linear probe, on the splits of the protocol. Baselines: all
    blocks, for each that is left out; the same blocks of other features (untrained encoders), for
    each selection; the mean of the training labels. Intervals: bootstrap over test formulas,
    paired. Failure: ``FAILURE``.

    Args:
        dataset: features with their blocks as sections, the proposed ones first; targets.
        protocol: which rows are trained on and tested.
        overlap: which crystals the weights have seen, counted in the record; None: not asked.
        drop_seen: test crystals to leave out because the weights have seen them.
        cache: keeps what is finished, so that a stopped run goes on.
        progress: called with steps done, steps in all, and what was done.

    Raises:
        InputError: if there is but one block, there are too few labels, a split would leak labels,
            or seen crystals are to be dropped where they are not known.
    """
    proposed = dataset.sets[0]
    if len(proposed.sections) < 2:
        raise InputError(
            f"Features hold {len(proposed.sections)} block; expected at least two to leave one "
            "out. Extract features to .parquet, or .npy with names beside it."
        )
    sets = tuple(chosen for each in dataset.sets for chosen in selections(each))
    experiment = Experiment(
        scenario=SCENARIO,
        dataset=replace(dataset, sets=sets),
        protocol=protocol,
        heads=[build_head("ols"), build_head("ridge")],
        cache=cache or Cache(),
        overlap=overlap,
        drop_seen=drop_seen,
        progress=progress,
    )
    cells = experiment.run()
    rows = rows_of(cells)
    names = [each.name for each in dataset.sets]

    def pairs(models: Sequence[Model], r2: Mapping[Model, float]) -> list[Pair]:
        return [
            Pair(proposed=(name, head), baseline=(baseline, head))
            for name, head in models
            for baseline in _baselines(name, names)
        ]

    summary, differences = analyse(cells, rows, IntervalRule(), pairs)
    record = experiment.record(
        question=QUESTION,
        failure=FAILURE,
        proposed=[each.name for each in sets if each.name.startswith(f"{names[0]}: ")],
        config={"blocks": {s.name: {b.name: b.columns for b in s.sections} for s in dataset.sets}},
    )
    verdicts = _verdicts(differences, record.labels, proposed.name)
    return results_of(replace(record, verdicts=verdicts), cells, rows, summary, differences)


def selections(feature_set: FeatureSet) -> list[FeatureSet]:
    """All blocks of a set, each alone, and each left out, on the same matrix."""
    every = np.arange(feature_set.matrix.shape[1])
    spans = feature_set.spans()
    chosen = {ALL: every} | {f"{ONLY} {name}": span for name, span in spans.items()}
    chosen |= {f"{WITHOUT} {name}": np.setdiff1d(every, span) for name, span in spans.items()}
    return [
        replace(
            feature_set,
            name=f"{feature_set.name}: {name}",
            label=f"{feature_set.label}, {name}",
            width=len(columns),
            columns=None if name == ALL else columns,
            sections=(),
        )
        for name, columns in chosen.items()
    ]


def _baselines(name: str, sets: Sequence[str]) -> list[str]:
    """What a selection is compared with: all blocks, and the same blocks of other features."""
    if name == MEAN:
        return []
    source, _, selection = name.partition(": ")
    whole = [f"{source}: {ALL}"] if selection.startswith(WITHOUT) else []
    others = [f"{other}: {selection}" for other in sets[1:]] if source == sets[0] else []
    return [*whole, *others]


def _verdicts(
    differences: Sequence[Difference], labels: Mapping[str, str], proposed: str
) -> list[Verdict]:
    """Each block alone against others of its name, and what is lost without it, under ridge."""
    verdicts = []
    for entry in select(differences, head="ridge", metric="rmse"):
        if entry.feature_set.startswith(f"{proposed}: {ONLY}"):
            verdicts.append(better_than([entry], labels, "ridge"))
        if entry.feature_set.startswith(f"{proposed}: {WITHOUT}") and entry.baseline.endswith(ALL):
            verdicts.append(
                Verdict(
                    target=entry.target,
                    claim=f"{labels.get(entry.feature_set)}: worse RMSE than all blocks, ridge",
                    failed=entry.gain >= 0,
                    evidence=f"RMSE {entry.difference:+.3g} [{entry.low:+.3g}, {entry.high:+.3g}]",
                    significant=bool(entry.low > 0),
                )
            )
    return verdicts
