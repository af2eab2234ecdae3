"""Scenario 2: of what a model on raw FTCP and features together says, how much comes from features?

One matrix of raw FTCP and features side by side, labels and a split in; tidy rows out: the accuracy
of raw FTCP alone, features alone and both, and the shares of all absolute SHAP values that the
features and each of their blocks hold. Nothing is plotted here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.errors import InputError
from crystalssl.evaluation.hybrid import Hybrid
from crystalssl.evaluation.overlap import DropSeen, Overlap
from crystalssl.evaluation.protocols import Split, check_split
from crystalssl.evaluation.scenario import (
    ResultTable,
    RunRecord,
    ScenarioResult,
    digest,
    installed_versions,
    write_table,
)
from crystalssl.evaluation.scoring import MEAN, Target, prediction_table
from crystalssl.evaluation.shap_units import (
    SCENARIO,
    ShapConfig,
    Unit,
    explained_table,
    mean_rows,
    share_rows,
    unit_key,
    unit_part,
)
from crystalssl.evaluation.shared_fits import SharedFits
from crystalssl.evaluation.store import Part, Store
from crystalssl.models import Head, build_head
from crystalssl.models.boosting import RandomForest

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShapShare:
    """What the scenario found.

    Attributes:
        table: tidy rows with their record.
        explained: columns property, model, immutable_id, section, absolute: sum of absolute SHAP
            values over the columns of a section, in the unit of the property.
        predictions: predictions of the test rows, for the parity plot.
    """

    table: ResultTable
    explained: pa.Table
    predictions: pa.Table

    def save(self, folder: Path) -> list[Path]:
        """Write ``shap_share.parquet``, ``.csv``, ``.json``, explained rows and predictions."""
        return [
            self.table.save(folder / f"{SCENARIO}.csv"),
            self.table.save(folder / f"{SCENARIO}.parquet"),
            write_table(self.explained, folder / f"{SCENARIO}_explained.parquet"),
            write_table(self.predictions, folder / f"{SCENARIO}_predictions.parquet"),
        ]


def shap_share(
    hybrid: Hybrid,
    targets: Sequence[Target],
    splits: Sequence[Split],
    groups: npt.NDArray[np.str_],
    ids: npt.NDArray[np.str_],
    *,
    config: ShapConfig | None = None,
    overlap: Overlap | None = None,
    drop_seen: DropSeen = "none",
    threads: int = 0,
    store: Store | None = None,
    fits: SharedFits | None = None,
    progress: Progress | None = None,
) -> ShapShare:
    """Measure what features add to raw FTCP, and how much of a joint model's output is theirs.

    Split: one for each property; no formula on both sides. Scaler, early stopping: inside the
    training rows. Heads: the same settings for raw FTCP, features and both. Explained: the network
    by expected gradients, the trees by exact path-dependent SHAP values, on test rows. A share is
    the sum of absolute SHAP values of some columns over that of all; enrichment is the share over
    that of the number of columns: of all 27,248, and of those that vary over training rows.
    Intervals: percentiles 2.5 and 97.5 over bootstrap draws of the explained rows. Seeds: of the
    config. Baselines: raw FTCP alone, features alone, the mean of the training labels. Failure:
    an enrichment over varying columns at or below 1, or a joint model no better than raw FTCP.

    Args:
        hybrid: raw FTCP and features side by side, n rows.
        targets: properties.
        splits: rows of each property, in the same order.
        groups: (n,) reduced formula of each crystal.
        ids: (n,) ids.
        config: settings.
        overlap: which crystals the weights of the features have seen; counted in the record.
        drop_seen: test crystals to leave out because the weights have seen them.
        threads: threads of trees; 0 for all cores.
        store: keeps finished units, so that a stopped run goes on; those that this run did not
            ask for are removed. None computes all.
        fits: models that few_shot.py fits too; None: not shared.
        progress: called with units done, units in all, and what is being done.

    Raises:
        InputError: if data and properties differ in number, or a split would leak labels.
        UnknownNameError: if a head does not exist.
        MissingExtraError: if an optional package is not installed.
    """
    config = config or ShapConfig()
    if len(targets) != len(splits) or len(hybrid.matrix) != len(ids):
        raise InputError(
            f"Got {len(splits)} splits for {len(targets)} properties and {len(hybrid.matrix)} rows "
            f"for {len(ids)} ids; expected as many."
        )
    splits = [overlap.drop(split, drop_seen) if overlap else split for split in splits]
    for split in splits:
        check_split(split, groups)
    heads = [_head(name, config, threads) for name in config.heads]
    hashes = {part.name: digest([part.matrix]) for part in hybrid.feature_sets() if fits}
    units = [
        Unit(
            hybrid=hybrid,
            features=features,
            target=target,
            split=split,
            groups=groups,
            ids=ids,
            head=head,
            config=config,
            fits=fits,
            content=hashes.get(features.name, ""),
        )
        for target, split in zip(targets, splits, strict=True)
        for head in heads
        for features in hybrid.feature_sets()
    ]
    base = digest([hybrid.matrix, groups])
    record = _record(hybrid, targets, splits, config, base)
    if overlap is not None:
        tested = np.concatenate([split.test for split in splits])
        record = overlap.noted(record, tested, groups, drop_seen)
    return _gathered(units, _computed(units, store, base, progress), record)


def _computed(
    units: Sequence[Unit], store: Store | None, base: str, progress: Progress | None
) -> list[Part]:
    """Results of all units, in order."""
    parts = []
    for done, unit in enumerate(units):
        if progress is not None:
            words = f"{unit.target.name}, {unit.head.name} on {unit.features.label}"
            progress(done, len(units), words)
        parts.append(unit_part(unit, store, base))
    if store is not None:
        store.keep_only([unit_key(unit, store, base) for unit in units])
    if progress is not None:
        progress(len(units), len(units), "")
    return parts


def _head(name: str, config: ShapConfig, threads: int) -> Head:
    """A head as in every scenario, but for the size of the forest."""
    head = build_head(name, threads=threads)
    return replace(head, trees=config.trees) if isinstance(head, RandomForest) else head


def _gathered(units: Sequence[Unit], parts: Sequence[Part], record: RunRecord) -> ShapShare:
    """Rows, explained rows and predictions of all units."""
    rows: list[ScenarioResult] = []
    explained, predictions = [], []
    blind: set[str] = set()
    for unit, part in zip(units, parts, strict=True):
        target, split = unit.target, unit.split
        if target.name not in blind:
            blind.add(target.name)
            rows += mean_rows(unit)
        rows += part.rows
        names = [unit.features.name, unit.head.name]
        same = [target.name, target.unit, split.kind, split.fold, *names]
        truth, guess = target.values[split.test], part.arrays["predictions"]
        predictions.append(prediction_table(same, unit.ids[split.test], truth, guess))
        if unit.is_explained:
            rows += share_rows(unit, part)
            explained.append(explained_table(unit, part.arrays["absolute"]))
    return ShapShare(
        table=ResultTable(rows=tuple(rows), record=record),
        explained=pa.concat_tables(explained) if explained else pa.table({}),
        predictions=pa.concat_tables(predictions),
    )


def _record(
    hybrid: Hybrid,
    targets: Sequence[Target],
    splits: Sequence[Split],
    config: ShapConfig,
    base: str,
) -> RunRecord:
    """What the table should say about itself."""
    counts = {"crystals": len(hybrid.matrix), "compared": int(hybrid.both.valid.sum())}
    for target, split in zip(targets, splits, strict=True):
        counts[f"trained on for {target.name}"] = len(split.train)
        counts[f"tested for {target.name}"] = len(split.test)
    labels = {part.name: part.label for part in hybrid.feature_sets()}
    labels |= {section.name: section.label for section in hybrid.sections}
    arrays = [x for t, s in zip(targets, splits, strict=True) for x in (t.values, s.train, s.test)]
    return RunRecord(
        scenario=SCENARIO,
        protocol=(
            "Models on raw FTCP, on features and on both side by side, fitted on the same training "
            "rows; of the joint model, absolute SHAP values of test rows, summed over the columns "
            "of raw FTCP and of each block of features."
        ),
        config={
            **asdict(config),
            "heads": list(config.heads),
            "sections": [asdict(section) for section in hybrid.sections],
        },
        seeds=[config.seed],
        data_hash=digest([base, *arrays]),
        counts=counts,
        labels={MEAN: "Mean of training labels", **labels},
        versions=installed_versions(),
    )
