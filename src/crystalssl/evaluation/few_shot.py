"""Scenario 3: what are features worth when labels are few?

Feature sets, labels and draws in; tidy rows and a summary with intervals out. Directly: every
head on every feature set. By residual (residual.py): what our features explain of what a model on
raw FTCP leaves over. Finished units are kept, so that a stopped run goes on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from crystalssl.evaluation import few_shot_summary, residual
from crystalssl.evaluation.bench import SCENARIO, THEN, Bench, FewShotConfig
from crystalssl.evaluation.draws import LabelDraws
from crystalssl.evaluation.feature_sets import FeatureSet
from crystalssl.evaluation.intervals import Estimate, estimate_table
from crystalssl.evaluation.lanes import LARGE, Lanes, Task
from crystalssl.evaluation.linear_probe import _check, _label_groups
from crystalssl.evaluation.overlap import DropSeen, Overlap
from crystalssl.evaluation.probe_findings import Progress
from crystalssl.evaluation.protocols import Split, check_split
from crystalssl.evaluation.scenario import (
    ResultTable,
    RunRecord,
    ScenarioResult,
    digest,
    installed_versions,
)
from crystalssl.evaluation.scoring import MEAN, Target
from crystalssl.evaluation.shared_fits import SharedFits
from crystalssl.evaluation.store import Part, Store
from crystalssl.evaluation.summarised import Summarised
from crystalssl.models import build_head, head_settings


@dataclass(frozen=True, kw_only=True, slots=True)
class FewShot(Summarised):
    """What the scenario found.

    Attributes:
        table: one row a property, share, draw, feature set, head and metric. Paired differences
            are rows of the feature set ``ours - baseline``; the residual protocol those of
            ``base > explainer``.
        summary: means with intervals, columns of
            :class:`~crystalssl.evaluation.intervals.Estimate`.
    """

    scenario: ClassVar[str] = SCENARIO


def few_shot(
    sets: Sequence[FeatureSet],
    targets: Sequence[Target],
    groups: npt.NDArray[np.str_],
    ids: npt.NDArray[np.str_],
    draws: LabelDraws,
    store: Store,
    *,
    config: FewShotConfig | None = None,
    fits: SharedFits | None = None,
    overlap: Overlap | None = None,
    drop_seen: DropSeen = "none",
    progress: Progress | None = None,
) -> FewShot:
    """Compare feature sets with few labels.

    Split: one test part for all; training rows drawn from the pool, no formula on both sides.
    Heads: ridge, LightGBM, a perceptron with dropout; each stops early or chooses its strength
    inside the drawn rows, formulas kept whole, with the same settings for every feature set.
    Seeds: the number of the draw. Residual protocol: see residual.py. Baselines: raw FTCP,
    element statistics, untrained encoders, the mean. Failure: features of ours that lose to raw
    FTCP with its best head, or that explain nothing of what raw FTCP leaves over, or no more than
    untrained encoders explain.

    Args:
        sets: feature sets of the same n crystals.
        targets: properties.
        groups: (n,) reduced formula of each crystal.
        ids: (n,) ids.
        draws: which rows are trained on and tested.
        store: keeps finished units; parts that this run did not ask for are removed.
        config: settings; None for the defaults.
        fits: models on all labels that shap_share.py fits too; None: not shared.
        overlap: which crystals the weights have seen, counted in the record; None: not asked.
        drop_seen: test crystals to leave out because the weights have seen them.
        progress: called with units done, units in all, and what is being done.

    Raises:
        InputError: if sets and crystals differ in number, there are too few labels, or a split
            would leak labels, or seen crystals are to be dropped where they are not known.
        UnknownNameError: if a head or feature set does not exist.
        MissingExtraError: if a head's package is not installed.
    """
    chosen = config or FewShotConfig()
    _check(sets, targets, groups, ids, ("ridge",), ())
    for name in {*chosen.heads, *chosen.residual_heads}:
        build_head(name)
    common = np.logical_and.reduce([part.valid for part in sets])
    hashes = {part.name: digest([part.matrix]) for part in sets}
    work = []
    for same, known in _label_groups(targets, common):
        splits = draws.splits(known, groups)
        for split in splits:
            check_split(split, groups)
        splits = [overlap.drop(split, drop_seen) if overlap else split for split in splits]
        bench = Bench(
            sets={part.name: part for part in sets},
            targets=same,
            groups=groups,
            config=chosen,
            store=store,
            hashes=hashes,
            fits=fits,
        )
        work.append((bench, splits))
    steps = _Steps(total=sum(_units(b, s) for b, splits in work for s in splits), show=progress)
    rows: list[ScenarioResult] = []
    estimates: list[Estimate] = []
    for bench, splits in work:
        found = _run(bench, splits, steps)
        rows += [row for entry in found for row in entry.rows]
        rows += few_shot_summary.differences(found, chosen.ours)
        estimates += few_shot_summary.estimates(found, groups, chosen.ours, chosen.base)
    store.keep_only(set().union(*(bench.keys for bench, _ in work)))
    record = _record(sets, targets, draws, chosen, common, hashes)
    if overlap is not None:
        tested = np.concatenate([split.test for _, own in work for split in own])
        record = overlap.noted(record, tested, groups, drop_seen)
    table = ResultTable(rows=tuple(rows), record=record)
    return FewShot(table=table, summary=estimate_table(estimates))


@dataclass(kw_only=True, slots=True)
class _Steps:
    """Counts units and says so."""

    total: int
    show: Progress | None
    done: int = 0

    def advance(self, text: str) -> None:
        self.done += 1
        if self.show is not None:
            self.show(self.done, self.total, text)


def _run(bench: Bench, splits: Sequence[Split], steps: _Steps) -> list[few_shot_summary.Scored]:
    """All units of the draws."""
    lanes = Lanes.plan(bench.config.threads)
    lane = replace(bench, config=replace(bench.config, threads=lanes.threads))
    tasks = [task for split in splits for task in _tasks(lane, bench, split)]
    return [entry for entries in lanes.run(tasks, steps.advance) for entry in entries]


def _tasks(bench: Bench, whole: Bench, split: Split) -> list[Task[list[few_shot_summary.Scored]]]:
    """All units of one draw: on ``bench``, which has a part of the cores, or on ``whole``."""
    share = f"{100 * split.train_fraction:g} %"
    tasks = [Task(text="", run=lambda: _by_target(bench, split, bench.mean(split)))]
    for name, part in bench.sets.items():
        large = bench.bytes_of(split, name) > LARGE
        own = whole if large else bench
        tasks += [
            Task(
                text=f"{part.label}, {model}, {share}",
                run=partial(_direct, own, split, name, model),
                alone=large,
            )
            for model in bench.config.heads
        ]
    heads, names = _residual_units(bench, split)
    for model in heads if names else ():
        large = bench.bytes_of(split, bench.config.base) > LARGE
        run = partial(_residual, whole if large else bench, split, model, names)
        tasks.append(Task(text=f"residual, {model}, {share}", run=run, alone=large))
    return tasks


def _direct(bench: Bench, split: Split, name: str, model: str) -> list[few_shot_summary.Scored]:
    """One head on one feature set, for every target."""
    found = bench.direct_each(split, name, model)
    return [entry for own, part in found for entry in _by_target(own, split, part)]


def _residual(
    bench: Bench, split: Split, model: str, names: Sequence[str]
) -> list[few_shot_summary.Scored]:
    """One head on what the base leaves over, for every feature set and target."""
    return [
        entry
        for name in names
        for own in bench.for_head(model)
        for entry in _by_target(own, split, residual.explained(own, split, name, own.head(model)))
    ]


def _by_target(bench: Bench, split: Split, part: Part) -> list[few_shot_summary.Scored]:
    """Rows and predictions of each target of a unit."""
    truth = part.arrays.get("truth", bench.labels[split.test])
    return [
        few_shot_summary.Scored(
            rows=tuple(row for row in part.rows if row.property == target.name),
            test=split.test,
            truth=truth[:, number],
            guess=part.arrays["guess"][:, number],
        )
        for number, target in enumerate(bench.targets)
    ]


def _residual_units(bench: Bench, split: Split) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Heads and feature sets of the residual units of a draw; a head has one step for all sets."""
    config = bench.config
    if config.base not in bench.sets or split.train_fraction not in config.residual_fractions:
        return (), ()
    return config.residual_heads, tuple(name for name in config.explainers if name in bench.sets)


def _units(bench: Bench, split: Split) -> int:
    heads, names = _residual_units(bench, split)
    return len(bench.sets) * len(bench.config.heads) + (len(heads) if names else 0)


def _record(
    sets: Sequence[FeatureSet],
    targets: Sequence[Target],
    draws: LabelDraws,
    config: FewShotConfig,
    common: npt.NDArray[np.bool_],
    hashes: dict[str, str],
) -> RunRecord:
    """What the table should say about itself."""
    shown = {part.name: part.label for part in sets}
    labels = {MEAN: "Mean of training labels"} | shown
    for name in config.explainers:
        if name in shown and config.base in shown:
            pair = f"{config.base}{THEN}{name}"
            labels[pair] = f"{shown[name]} on the residual of {shown[config.base]}"
    counts = {"crystals": len(common), "compared": int(common.sum())}
    counts |= {f"not held by {p.name}": int((~p.valid).sum()) for p in sets if not p.valid.all()}
    for target in targets:
        known = common & np.isfinite(target.values)
        counts[f"with {target.name}, may be trained on"] = int((known & draws.pool).sum())
        counts[f"with {target.name}, tested"] = int((known & draws.test).sum())
    settings = {
        "fractions": list(draws.fractions),
        "draws": draws.draws,
        "full_draws": draws.full_draws,
        "settings": asdict(config),
        "head_settings": {
            name: head_settings(build_head(name))
            for name in dict.fromkeys([*config.heads, *config.residual_heads])
        },
    }
    return RunRecord(
        scenario=SCENARIO,
        protocol=draws.words(),
        config=json.loads(json.dumps(settings)),  # as it is read back: lists, no tuples
        seeds=draws.seeds,
        data_hash=digest(
            [*(f"{n} {h}" for n, h in hashes.items())]
            + [x for t in targets for x in (t.name, t.values)]
            + [common, draws.pool, draws.test]
        ),
        counts=counts,
        labels=labels,
        versions=installed_versions(),
    )
