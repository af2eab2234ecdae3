"""Scenario 1: how well does a plain linear model read a property off each feature set?

Feature sets, labels and a split protocol in; tidy rows and predictions out. Least squares and
ridge see the same rows in the same splits. Nothing is plotted here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.datasets.bundled import UNITS
from crystalssl.errors import InputError, unknown_name
from crystalssl.evaluation.feature_sets import FeatureSet
from crystalssl.evaluation.protocols import GROUPED, Index, Split, SplitProtocol, check_split
from crystalssl.evaluation.ridge import LinearModel, fit_ols, fit_ridge, training_range
from crystalssl.evaluation.scenario import (
    ResultTable,
    RunRecord,
    ScenarioResult,
    digest,
    installed_versions,
    read_table,
    write_table,
)
from crystalssl.evaluation.scoring import MEAN, Scorer, Target, prediction_table
from crystalssl.evaluation.spectrum import Floats, decompose
from crystalssl.structures.crystals import Crystals

SCENARIO = "linear_probe"
"""Scenario name in the results."""
MODELS = ("ols", "ridge")
"""Models that can be asked for; the mean of the training labels is always added."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearProbe:
    """What the scenario found.

    Attributes:
        table: tidy rows with their record.
        predictions: columns property, unit, split_kind, fold, feature_set, model, immutable_id,
            y_true, y_pred; for the parity plot.
    """

    table: ResultTable
    predictions: pa.Table

    def save(self, folder: Path) -> list[Path]:
        """Write ``linear_probe.parquet``, ``.csv``, ``.json`` and ``parity.parquet``."""
        return [
            self.table.save(folder / f"{SCENARIO}.csv"),
            self.table.save(folder / f"{SCENARIO}.parquet"),
            write_table(self.predictions, folder / "parity.parquet"),
        ]

    @staticmethod
    def load(folder: Path) -> LinearProbe:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: if a file is missing or damaged.
        """
        return LinearProbe(
            table=ResultTable.load(folder / f"{SCENARIO}.parquet"),
            predictions=read_table(folder / "parity.parquet"),
        )


def targets_of(crystals: Crystals, names: Sequence[str]) -> list[Target]:
    """Carried label columns as targets.

    Raises:
        UnknownNameError: if a column is not carried.
        InputError: if a column holds no numbers.
    """
    found = []
    for name in names:
        values = crystals.column(name)
        try:
            numbers = values.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"Column {name!r} holds no numbers; expected labels. Choose another --target."
            ) from error
        found.append(Target(name=name, unit=UNITS.get(name, ""), values=numbers))
    return found


def linear_probe(
    sets: Sequence[FeatureSet],
    targets: Sequence[Target],
    groups: npt.NDArray[np.str_],
    ids: npt.NDArray[np.str_],
    protocol: SplitProtocol,
    *,
    models: Sequence[str] = MODELS,
    progress: Progress | None = None,
) -> LinearProbe:
    """Compare feature sets by linear models.

    Split: as the protocol says; rows are the crystals that every feature set holds and that have
    the label. Scaler: columns standardised with the training rows; columns constant there are
    dropped, test values are limited to the range seen in training; principal axes are fitted on
    the training rows. Regressor: least squares cut at rounding, and ridge whose strength has the
    least error on training formulas (rows, where the split is random) left out one at a time.
    Seeds: of the protocol. Baselines: the mean of the training labels, and every feature set
    beside the one of interest. Failure: features that lose to raw FTCP, its principal axes or the
    element statistics under ridge, or do no better than untrained encoders.

    Args:
        sets: feature sets of the same n crystals.
        targets: properties.
        groups: (n,) reduced formula of each crystal.
        ids: (n,) ids.
        protocol: which rows are trained on and tested.
        models: ``ols`` and/or ``ridge``.
        progress: called with steps done, steps in all, and what is being done.

    Raises:
        InputError: if sets and crystals differ in number, a comparison has too few rows, or a
            split would leak labels.
        UnknownNameError: if a model does not exist.
    """
    _check(sets, targets, groups, ids, models)
    common = np.logical_and.reduce([part.valid for part in sets])
    work = [
        (same, split)
        for same, rows in _label_groups(targets, common)
        for split in protocol.splits(rows, groups)
    ]
    rows: list[ScenarioResult] = []
    kept: list[pa.Table] = []
    done, total = 0, len(work) * len(sets)
    for same, split in work:
        check_split(split, groups)
        labels = np.stack([target.values for target in same], axis=1)
        score = Scorer(scenario=SCENARIO, targets=same, split=split, labels=labels, ids=ids)
        score.add(None, MEAN, np.repeat(labels[split.train].mean(axis=0)[None], len(split.test), 0))
        for part, model, fitted, predicted, seconds in _fits(sets, labels, split, groups, models):
            score.add(part, model, predicted, fitted, seconds)
            if model == models[-1]:
                done += 1
                if progress is not None:
                    progress(done, total, f"{part.label}, {split.kind} split")
        rows += score.rows
        kept += score.predictions
    return LinearProbe(
        table=ResultTable(
            rows=tuple(rows), record=_record(sets, targets, protocol, models, common)
        ),
        predictions=pa.concat_tables(kept) if kept else prediction_table([]),
    )


def _fits(
    sets: Sequence[FeatureSet],
    labels: Floats,
    split: Split,
    groups: npt.NDArray[np.str_],
    models: Sequence[str],
) -> Iterator[tuple[FeatureSet, str, LinearModel, Floats, float]]:
    """Every model on every set with its seconds; sets on one matrix share its decomposition."""
    # the strength is judged as the test part will be: on new formulas, or on new rows
    alike = groups[split.train] if split.kind in GROUPED else None
    for _, shared in groupby(sets, key=lambda part: id(part.matrix)):
        parts = list(shared)
        start = time.perf_counter()
        full = decompose(parts[0].matrix, labels, split.train)
        common = time.perf_counter() - start
        limits = training_range(parts[0].matrix, split.train)
        for part in parts:
            spectrum = full if part.rank is None else full.truncate(part.rank)
            for model in models:
                begin = time.perf_counter()
                if model == "ols":
                    fitted = fit_ols(spectrum, part.matrix)
                else:
                    fitted = fit_ridge(spectrum, part.matrix, groups=alike, seed=split.seed)
                seconds = common + time.perf_counter() - begin
                predicted = fitted.predict(part.matrix, split.test, limits)
                yield part, model, fitted, predicted, seconds


def _label_groups(
    targets: Sequence[Target], common: npt.NDArray[np.bool_]
) -> Iterator[tuple[list[Target], Index]]:
    """Targets known for the same crystals, with their rows: they share splits and decompositions.

    Raises:
        InputError: if a target is known for too few crystals.
    """
    known = {target.name: common & np.isfinite(target.values) for target in targets}
    for target in targets:
        count = int(known[target.name].sum())
        if count < 10:
            raise InputError(
                f"Label {target.name!r} is known for {count} crystals that every "
                "feature set holds; expected at least 10. Choose another --target."
            )
    masks = {known[target.name].tobytes(): known[target.name] for target in targets}
    for key, mask in masks.items():
        same = [target for target in targets if known[target.name].tobytes() == key]
        yield same, np.flatnonzero(mask).astype(np.int64)


def _check(
    sets: Sequence[FeatureSet],
    targets: Sequence[Target],
    groups: npt.NDArray[np.str_],
    ids: npt.NDArray[np.str_],
    models: Sequence[str],
) -> None:
    """Refuse input that cannot be compared."""
    for model in models:
        if model not in MODELS:
            raise unknown_name("model", model, MODELS, "crystalssl evaluate linear-probe --help")
    if not sets or not targets or not models:
        raise InputError("Expected at least one feature set, one target and one model.")
    names = [part.name for part in sets]
    if len(set(names)) < len(names):
        raise InputError(f"Feature sets {names} repeat a name; expected each once.")
    lengths = {len(groups), *(len(p.matrix) for p in sets), *(len(t.values) for t in targets)}
    if lengths != {len(ids)}:
        raise InputError(
            f"Feature sets, labels and formulas have {sorted(lengths)} rows for {len(ids)} "
            "crystals; expected one row each, in the same order."
        )


def _record(
    sets: Sequence[FeatureSet],
    targets: Sequence[Target],
    protocol: SplitProtocol,
    models: Sequence[str],
    common: npt.NDArray[np.bool_],
) -> RunRecord:
    """What the table should say about itself."""
    settings = {k: v for k, v in asdict(protocol).items() if not isinstance(v, np.ndarray)}  # type: ignore[call-overload]
    counts = {"crystals": len(common), "compared": int(common.sum())}
    counts |= {f"not held by {p.name}": int((~p.valid).sum()) for p in sets if not p.valid.all()}
    counts |= {f"with {t.name}": int((common & np.isfinite(t.values)).sum()) for t in targets}
    parts = [part for s in sets for part in (s.name, str(s.rank), s.matrix)]
    return RunRecord(
        scenario=SCENARIO,
        protocol=protocol.words(),
        config={"protocol": type(protocol).__name__, **settings, "models": list(models)},
        seeds=protocol.seeds,
        data_hash=digest([*parts, *(x for t in targets for x in (t.name, t.values)), common]),
        counts=counts,
        labels={MEAN: "Mean of training labels"} | {part.name: part.label for part in sets},
        versions=installed_versions(),
    )
