"""Scenario 1: how well does a plain linear model read a property off each feature set?

Feature sets, labels and a split protocol in; tidy rows, margins and predictions out. Least squares
and ridge see the same rows in the same splits. Nothing is plotted here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.datasets.bundled import UNITS
from crystalssl.errors import InputError, unknown_name
from crystalssl.evaluation.compare import compare
from crystalssl.evaluation.feature_sets import FeatureSet
from crystalssl.evaluation.margins import with_intervals
from crystalssl.evaluation.overlap import DropSeen, Overlap
from crystalssl.evaluation.probe_findings import Findings, Progress
from crystalssl.evaluation.probe_result import SCENARIO, LinearProbe
from crystalssl.evaluation.protocols import Index, SplitProtocol, check_split
from crystalssl.evaluation.scenario import ResultTable, RunRecord, digest, installed_versions
from crystalssl.evaluation.scoring import MEAN, Target, prediction_table
from crystalssl.evaluation.store import Store
from crystalssl.structures.crystals import Crystals

__all__ = ["MODELS", "SCENARIO", "LinearProbe", "Progress", "linear_probe", "targets_of"]

MODELS = ("ols", "ridge")
"""Models that can be asked for; the mean of the training labels is always added."""


LOG10 = re.compile(r"log10\((.+)\)")
"""A target that is the decimal logarithm of a column, such as ``log10(bulk_modulus_vrh)``."""


def targets_of(crystals: Crystals, names: Sequence[str]) -> list[Target]:
    """Carried label columns as targets, or their decimal logarithms: ``log10(COLUMN)``.

    Where a logarithm does not exist the label counts as unknown.

    Raises:
        UnknownNameError: if a column is not carried.
        InputError: if a column holds no numbers.
    """
    found = []
    for name in names:
        logarithm = LOG10.fullmatch(name)
        column = logarithm[1] if logarithm else name
        values, unit = crystals.column(column), UNITS.get(column, "")
        try:
            numbers = values.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"Column {column!r} holds no numbers; expected labels. Choose another --target."
            ) from error
        if logarithm:
            numbers = np.log10(np.where(numbers > 0, numbers, np.nan))
            unit = f"log10 {unit}" if unit else ""
        found.append(Target(name=name, unit=unit, values=numbers))
    return found


def linear_probe(
    sets: Sequence[FeatureSet],
    targets: Sequence[Target],
    groups: npt.NDArray[np.str_],
    ids: npt.NDArray[np.str_],
    protocol: SplitProtocol,
    *,
    models: Sequence[str] = MODELS,
    champions: Sequence[str] = (),
    overlap: Overlap | None = None,
    drop_seen: DropSeen = "none",
    store: Store | None = None,
    progress: Progress | None = None,
) -> LinearProbe:
    """Compare feature sets by linear models.

    Split: as the protocol says; rows are the crystals that every feature set holds and that have
    the label. Scaler: columns standardised with the training rows; columns constant there are
    dropped, test values are limited to the range seen in training; principal axes are fitted on
    the training rows. Regressor: least squares cut at rounding, and ridge whose strength has the
    least error on training formulas (rows, where the split is random) left out one at a time.
    Seeds: of the protocol. Baselines: the mean of the training labels, and every feature set
    beside the one of interest. Intervals: paired bootstrap over test formulas. Failure: features
    that lose to raw FTCP, its principal axes or the element statistics under ridge, or do no
    better than untrained encoders.

    Args:
        sets: feature sets of the same n crystals; those on one matrix should stand together.
        targets: properties.
        groups: (n,) reduced formula of each crystal.
        ids: (n,) ids.
        protocol: which rows are trained on and tested.
        models: ``ols`` and/or ``ridge``.
        champions: feature sets whose margins over all others are wanted; the last if none.
        overlap: which crystals the weights have seen, counted in the record; None: not asked.
        drop_seen: test crystals to leave out because the weights have seen them.
        store: keeps what is finished, so that a stopped run goes on; None keeps nothing.
        progress: called with steps done, steps in all, and what is being done.

    Raises:
        InputError: if sets and crystals differ in number, a comparison has too few rows, a split
            would leak labels, or seen crystals are to be dropped where they are not known.
        UnknownNameError: if a model or champion does not exist.
    """
    champions = champions or [part.name for part in sets[-1:]]
    _check(sets, targets, groups, ids, models, champions)
    if overlap is None and drop_seen != "none":
        raise InputError("Cannot drop seen crystals without their overlap; give it too.")
    common = np.logical_and.reduce([part.valid for part in sets])
    work = []
    for same, rows in _label_groups(targets, common):
        splits = protocol.splits(rows, groups)
        for split in splits:
            check_split(split, groups)
        if overlap is not None:
            splits = [overlap.drop(split, drop_seen) for split in splits]
        work.append((same, splits))
    total = sum(len(splits) for _, splits in work) * len(sets)
    found = Findings(total=total, progress=progress, models=tuple(models), store=store)
    for same, splits in work:
        found.compare(sets, same, splits, groups, ids)
    if store is not None:
        store.keep_only(found.keys)
    table = ResultTable(
        rows=tuple(found.rows), record=_record(sets, targets, protocol, models, common)
    )
    if overlap is not None:
        record = overlap.noted(table.record, found.tested, groups, drop_seen)
        table = replace(table, record=record)
    against = [c for name in champions for model in models for c in compare(table, name, model)]
    return LinearProbe(
        table=table,
        tested=found.tested,
        predictions=pa.concat_tables(found.kept) if found.kept else prediction_table([]),
        margins=tuple(with_intervals(against, found.errors, groups)),
    )


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
    champions: Sequence[str] = (),
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
    for name in champions:
        if name not in names:
            raise unknown_name("feature set", name, names)
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
    settings = _without_arrays(asdict(protocol))  # type: ignore[call-overload]
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


def _without_arrays(value: Any) -> Any:
    """Settings that can be written as JSON."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not isinstance(v, np.ndarray)}
        return {name: _without_arrays(entry) for name, entry in kept.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(entry) for entry in value]
    return value
