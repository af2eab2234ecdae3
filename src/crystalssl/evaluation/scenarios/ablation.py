"""What each block of features is worth: alone, and by what is lost when it is left out.

Blocks of features and labels in; tidy rows and a summary with intervals out. Least squares and
ridge read every selection of blocks; sums over the training rows are made once and serve all of
them. Finished selections are kept, so that a stopped run goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.evaluation.block_fits import ALL, SCENARIO, WITHOUT, BlockBench, BlockSet
from crystalssl.evaluation.few_shot_summary import (
    Cell,
    Scored,
    alone_estimates,
    cells_of,
    difference_estimates,
)
from crystalssl.evaluation.intervals import Estimate, Resamples, estimate_table
from crystalssl.evaluation.linear_probe import MODELS, _check, _label_groups
from crystalssl.evaluation.overlap import DropSeen, Overlap
from crystalssl.evaluation.probe_findings import Progress
from crystalssl.evaluation.protocols import SplitProtocol, check_split
from crystalssl.evaluation.scenario import (
    ResultTable,
    RunRecord,
    ScenarioResult,
    digest,
    installed_versions,
)
from crystalssl.evaluation.scoring import MEAN, Target
from crystalssl.evaluation.store import Store
from crystalssl.evaluation.summarised import Summarised


@dataclass(frozen=True, kw_only=True, slots=True)
class Ablation(Summarised):
    """What the scenario found.

    Attributes:
        table: one row a property, selection of blocks, model and metric.
        summary: the same with intervals, and differences: each block left out against all, and
            the first set of features against the others, selection by selection.
    """

    scenario: ClassVar[str] = SCENARIO


def ablation(
    sets: Sequence[BlockSet],
    targets: Sequence[Target],
    groups: npt.NDArray[np.str_],
    ids: npt.NDArray[np.str_],
    protocol: SplitProtocol,
    store: Store,
    *,
    overlap: Overlap | None = None,
    drop_seen: DropSeen = "none",
    progress: Progress | None = None,
) -> Ablation:
    """Compare selections of blocks by linear models.

    Split, scaler and regressors: as in the linear probe, on the splits of the protocol. Baselines:
    all blocks, for each that is left out; the same blocks of other features (untrained encoders),
    for each selection; the mean of the training labels. Intervals: bootstrap over test formulas,
    paired. Failure: a trained block that alone does no better than untrained, or whose loss makes
    nothing worse.

    Args:
        sets: features of the same n crystals with their blocks; the one of interest first.
        targets: properties.
        groups: (n,) reduced formula of each crystal.
        ids: (n,) ids.
        protocol: which rows are trained on and tested.
        store: keeps finished selections; parts that this run did not ask for are removed.
        overlap: which crystals the weights have seen, counted in the record; None: not asked.
        drop_seen: test crystals to leave out because the weights have seen them.
        progress: called with selections done, selections in all, and what was done.

    Raises:
        InputError: if there is but one block, sets and crystals differ in number, there are too
            few labels, a split would leak labels, or seen crystals are to be dropped where they
            are not known.
    """
    parts = [entry.part for entry in sets]
    _check(parts, targets, groups, ids, MODELS, ())
    if len(sets[0].widths) < 2:
        raise InputError(
            f"Features hold {len(sets[0].widths)} block; expected at least two to leave one out. "
            "Extract features to .parquet, or .npy with names beside it."
        )
    common = np.logical_and.reduce([part.valid for part in parts])
    hashes = {part.name: digest([part.matrix]) for part in parts}
    work = []
    for same, known in _label_groups(targets, common):
        splits = protocol.splits(known, groups)
        for split in splits:
            check_split(split, groups)
        if overlap is not None:
            splits = [overlap.drop(split, drop_seen) for split in splits]
        work.append((same, splits))
    total = sum(len(s) for _, s in work) * sum(len(entry.selections()) for entry in sets)
    keys: set[str] = set()
    rows: list[ScenarioResult] = []
    estimates: list[Estimate] = []
    for same, splits in work:
        found: list[Scored] = []
        for split in splits:
            bench = BlockBench(
                targets=same, split=split, groups=groups, ids=ids, store=store, keys=keys
            )
            found += bench.mean()
            for entry in sets:
                for name, scored in bench.fit(entry, hashes[entry.part.name]):
                    found += scored
                    if progress is not None:
                        progress(len(keys), total, name)
        rows += [row for one in found for row in one.rows]
        estimates += _estimates(found, sets, groups)
    store.keep_only(keys)
    record = _record(sets, targets, protocol, common, hashes)
    if overlap is not None:
        tested = np.concatenate([split.test for _, splits in work for split in splits])
        record = overlap.noted(record, tested, groups, drop_seen)
    return Ablation(
        table=ResultTable(rows=tuple(rows), record=record), summary=estimate_table(estimates)
    )


def _estimates(
    found: list[Scored], sets: Sequence[BlockSet], groups: npt.NDArray[np.str_]
) -> list[Estimate]:
    """Every number with its interval, and the differences that the scenario is about."""
    cells = cells_of(found)
    resamples = Resamples.draw(groups[found[0].test])
    single = [
        estimate
        for draws in cells.values()
        for estimate in alone_estimates(draws, resamples)
        if estimate.metric in ("r2", "rmse", "mae")
    ]
    paired = [
        estimate
        for cell, draws in cells.items()
        for name in _rivals(cell, [entry.part.name for entry in sets])
        for estimate in difference_estimates(
            draws, cells[cell[0], cell[1], name, cell[3]], name, resamples
        )
    ]
    return [*single, *paired]


def _rivals(cell: Cell, sets: list[str]) -> list[str]:
    """Selections that one is held against: all blocks, and the same blocks of other features."""
    if cell[2] == MEAN:
        return []
    own, _, selection = cell[2].partition(": ")
    whole = [f"{own}: {ALL}"] if selection.startswith(WITHOUT) else []
    others = [f"{name}: {selection}" for name in sets[1:]] if own == sets[0] else []
    return [*whole, *others]


def _record(
    sets: Sequence[BlockSet],
    targets: Sequence[Target],
    protocol: SplitProtocol,
    common: npt.NDArray[np.bool_],
    hashes: dict[str, str],
) -> RunRecord:
    """What the table should say about itself."""
    counts = {"crystals": len(common), "compared": int(common.sum())}
    counts |= {f"with {t.name}": int((common & np.isfinite(t.values)).sum()) for t in targets}
    labels = {
        f"{entry.part.name}: {name}": f"{entry.part.label}, {name}"
        for entry in sets
        for name in entry.selections()
    }
    return RunRecord(
        scenario=SCENARIO,
        protocol=protocol.words(),
        config={
            "protocol": type(protocol).__name__,
            "models": list(MODELS),
            "blocks": {entry.part.name: entry.widths for entry in sets},
        },
        seeds=protocol.seeds,
        data_hash=digest(
            [f"{name} {found}" for name, found in hashes.items()]
            + [x for t in targets for x in (t.name, t.values)]
            + [common]
        ),
        counts=counts,
        labels={MEAN: "Mean of training labels"} | labels,
        versions=installed_versions(),
    )
