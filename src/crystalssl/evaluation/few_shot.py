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
from crystalssl.evaluation.heads import build_head, head_settings
from crystalssl.evaluation.intervals import Estimate, estimate_table
from crystalssl.evaluation.lanes import Lanes, Task
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
    lanes = Lanes.plan([*chosen.heads, *chosen.residual_heads], chosen.threads)
    shared = replace(chosen, threads=lanes.trees)
    common = np.logical_and.reduce([part.valid for part in sets])
    hashes = {part.name: digest([part.matrix]) for part in sets}
    work = []
    for same, known in _label_groups(targets, common):
        splits = draws.splits(known, groups)
        for split in splits:
            check_split(split, groups)
        if overlap is not None:
            splits = [overlap.drop(split, drop_seen) for split in splits]
        by_name = {part.name: part for part in sets}
        bench = Bench(
            sets=by_name,
            targets=same,
            groups=groups,
            config=shared,
            store=store,
            hashes=hashes,
            fits=fits,
        )
        work.append((bench, splits))
    steps = _Steps(total=sum(_units(b, s) for b, splits in work for s in splits), show=progress)
    rows: list[ScenarioResult] = []
    estimates: list[Estimate] = []
    for bench, splits in work:
        found = _run(bench, splits, lanes, chosen, steps)
        rows += [row for entry in found for row in entry.rows]
        rows += few_shot_summary.differences(found, chosen.ours)
        estimates += few_shot_summary.estimates(found, groups, chosen.ours, chosen.base)
    store.keep_only(set().union(*(bench.keys for bench, _ in work)))
    record = _record(sets, targets, draws, chosen, common, hashes)
    if overlap is not None:
        tested = np.concatenate([split.test for _, splits in work for split in splits])
        record = overlap.noted(record, tested, groups, drop_seen)
    return FewShot(
        table=ResultTable(rows=tuple(rows), record=record), summary=estimate_table(estimates)
    )


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


def _run(
    bench: Bench, splits: Sequence[Split], lanes: Lanes, config: FewShotConfig, steps: _Steps
) -> list[few_shot_summary.Scored]:
    """All units of the draws; with all labels a model takes memory and cores for itself."""
    found = []
    for side_by_side, whole in ((lanes, False), (Lanes(), True)):
        own = replace(bench, config=config) if whole else bench
        parts = [split for split in splits if (split.train_fraction == 1.0) == whole]
        tasks = [task for split in parts for task in _tasks(own, split)]
        found += [entry for entries in side_by_side.run(tasks, steps.advance) for entry in entries]
    return found


def _tasks(bench: Bench, split: Split) -> list[Task[list[few_shot_summary.Scored]]]:
    """All units of one draw."""
    share = f"{100 * split.train_fraction:g} %"
    mean = Task(head=MEAN, text="", run=lambda: _by_target(bench, split, bench.mean(split)))
    direct = [
        Task(
            head=model,
            text=f"{part.label}, {model}, {share}",
            run=partial(_direct, bench, split, name, model),
        )
        for name, part in bench.sets.items()
        for model in bench.config.heads
    ]
    explained = [
        Task(
            head=model,
            text=f"residual, {model}, {share}",
            run=partial(_residual, bench, split, model, name),
        )
        for model, name in _residual_units(bench, split)
    ]
    return [mean, *direct, *explained]


def _direct(bench: Bench, split: Split, name: str, model: str) -> list[few_shot_summary.Scored]:
    """One head on one feature set, for every target."""
    found = bench.direct_each(split, name, model)
    return [entry for own, part in found for entry in _by_target(own, split, part)]


def _residual(bench: Bench, split: Split, model: str, name: str) -> list[few_shot_summary.Scored]:
    """One head on what the base leaves over, for every target."""
    return [
        entry
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


def _residual_units(bench: Bench, split: Split) -> list[tuple[str, str]]:
    """Head and feature set of each residual unit of a draw."""
    config = bench.config
    if config.base not in bench.sets or split.train_fraction not in config.residual_fractions:
        return []
    second = [name for name in config.explainers if name in bench.sets]
    return [(model, name) for model in config.residual_heads for name in second]


def _units(bench: Bench, split: Split) -> int:
    return len(bench.sets) * len(bench.config.heads) + len(_residual_units(bench, split))


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
