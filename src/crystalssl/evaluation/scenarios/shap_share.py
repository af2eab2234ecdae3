"""Scenario 2: of what a model on raw FTCP and features together predicts, what share is theirs?

Accuracy of raw FTCP alone, features alone and both, and the shares of all absolute SHAP values
that the features and each of their blocks hold: a hook on fitted heads of the joint feature set.
Source: Efron, Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa

from crystalssl.errors import InputError
from crystalssl.evaluation.analysis import (
    IntervalRule,
    against_all,
    analyse,
    result_row,
    results_of,
    rows_of,
)
from crystalssl.evaluation.attribution import Shares, explain_network, explain_trees, share_values
from crystalssl.evaluation.cache import Arrays, Cache
from crystalssl.evaluation.data import HYBRID, RAW, SSL, Dataset, FeatureSet
from crystalssl.evaluation.experiment import Experiment, Progress
from crystalssl.evaluation.fits import Explanation
from crystalssl.evaluation.overlap import DropSeen, Overlap
from crystalssl.evaluation.results import Cell, ResultRow, Results, Summary, Texts, Verdict, select
from crystalssl.evaluation.scenarios.verdicts import by_baseline
from crystalssl.evaluation.splits import Index, Split, SplitProtocol
from crystalssl.models.arrays import Floats
from crystalssl.models.boosting import FittedLightGBM, RandomForest
from crystalssl.models.contract import Fitted, Head
from crystalssl.models.registry import build_head
from crystalssl.models.scaling import fit_scaler

SCENARIO = "shap_share"
"""Name of the scenario and of its files."""
EXPLAINED = ("mlp", "lightgbm")
"""Heads whose predictions are explained."""
OVER_ROWS = "bootstrap over explained rows"
"""Kind of interval of a share."""
SHARE, OF_ALL, OF_VARYING = "shap_share", "enrichment_all", "enrichment_varying"
"""Metrics: a share of absolute SHAP values, and this over the share of columns."""
QUESTION = "What share of what a model on raw FTCP and features predicts comes from the features?"
FAILURE = (
    "An enrichment over varying columns at or below 1, or a joint model no better than raw FTCP."
)
PROTOCOL = (
    "Models on raw FTCP, on features and on both side by side, fitted on the same training rows; "
    "of the joint model, absolute SHAP values of test rows, summed over the columns of raw FTCP "
    "and of each block of features."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShapConfig:
    """Settings of the scenario."""

    heads: tuple[str, ...] = ("mlp", "lightgbm", "random_forest")
    """Heads that are fitted on raw FTCP, on features, and on both."""
    trees: int = 16
    """Trees of the forest: a tree on all columns and 26,000 crystals takes five seconds."""
    explained: int = 500
    """Test rows that are explained, sampled at random."""
    background: int = 200
    """Training rows that stand for the data when a network is explained."""
    samples: int = 200
    """Points for each explained row of a network."""
    resamples: int = 1000
    """Bootstrap resamples of the explained rows."""
    seed: int = 0
    """Seed of heads, of the rows sampled, and of the bootstrap."""


def shap_share(
    dataset: Dataset,
    protocol: SplitProtocol,
    *,
    config: ShapConfig | None = None,
    overlap: Overlap | None = None,
    drop_seen: DropSeen = "none",
    threads: int = 0,
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Results:
    """Measure what features add to raw FTCP, and how much of a joint model's output is theirs.

    Split: that of the protocol, one for each target; no formula on both sides. Scaler, early
    stopping: inside the training rows. Heads: the same settings for raw FTCP, features and both.
    Explained: the network by expected gradients, the trees by exact path-dependent SHAP values,
    on test rows. A share is the sum of absolute SHAP values of some columns over that of all;
    enrichment is the share over that of the number of columns: of all 27,248, and of those that
    vary over training rows. Intervals: bootstrap, of shares over the explained rows. Seeds: of the
    config. Baselines: raw FTCP alone, features alone, the mean. Failure: ``FAILURE``.

    Args:
        dataset: raw FTCP, features and both (``raw_ftcp``, ``ssl``, ``hybrid``), and targets.
        protocol: which rows are trained on and tested, one split.
        config: settings; None for the defaults.
        overlap: which crystals the weights have seen, counted in the record; None: not asked.
        drop_seen: test crystals to leave out because the weights have seen them.
        threads: threads of trees; 0 for all cores.
        cache: keeps what is finished, so that a stopped run goes on.
        progress: called with steps done, steps in all, and what was done.

    Raises:
        InputError: if there are too few labels, a split would leak labels, or a feature set is
            missing.
        UnknownNameError: if a head does not exist.
        MissingExtraError: if an optional package is not installed.
    """
    chosen = config or ShapConfig()
    experiment = Experiment(
        scenario=SCENARIO,
        dataset=_joint(dataset),
        protocol=protocol,
        heads=[_head(name, chosen, threads) for name in chosen.heads],
        cache=cache or Cache(),
        overlap=overlap,
        drop_seen=drop_seen,
        progress=progress,
        seed=chosen.seed,
        explain=lambda features, split, head: _explanation(features, split, head, chosen),
    )
    cells = experiment.run()
    rows, hybrid = rows_of(cells), dataset.named(HYBRID)
    summary, differences = analyse(cells, rows, IntervalRule(), against_all((SSL, HYBRID)))
    tables = []
    for cell, more, table in _explained(experiment, cells, hybrid, chosen):
        summary += more
        rows += [_row_of(cell, entry) for entry in more]
        tables.append(table)
    record = experiment.record(
        question=QUESTION,
        failure=FAILURE,
        proposed=[SSL, HYBRID],
        protocol=f"{PROTOCOL} {protocol.words()}",
        config={"settings": asdict(chosen), "sections": list(map(asdict, hybrid.sections))},
        labels={s.name: s.name.replace("_", " ") for s in hybrid.sections if s.learned},
    )
    verdicts = _verdicts(summary, record.labels)
    verdicts += by_baseline(
        differences, record.labels, (RAW,), feature_set=HYBRID, metric="r2", best_head=False
    )
    results = results_of(replace(record, verdicts=verdicts), cells, rows, summary, differences)
    return replace(results, tables={"explained": pa.concat_tables(tables)} if tables else {})


def _joint(dataset: Dataset) -> Dataset:
    """Raw FTCP, features and both, of a dataset that may hold more.

    Raises:
        InputError: if one of them is missing.
    """
    if not {RAW, SSL, HYBRID} <= set(dataset.hashes):
        raise InputError(
            f"Got the feature sets {', '.join(dataset.hashes)}; expected {RAW}, {SSL} and {HYBRID} "
            "(build_dataset with these baselines)."
        )
    return replace(dataset, sets=tuple(dataset.named(name) for name in (RAW, SSL, HYBRID)))


def _explained(
    experiment: Experiment, cells: Sequence[Cell], hybrid: FeatureSet, config: ShapConfig
) -> Iterator[tuple[Cell, list[Summary], pa.Table]]:
    """Each explained model with its shares and checks, and |SHAP| by section and test row."""
    for work in experiment.work:
        (split,) = work.splits
        varying = fit_scaler(hybrid.matrix, split.train).columns
        wanted = {target.name for target in work.targets}
        ids = experiment.dataset.ids[_sampled(split.test, config.explained, config.seed)]
        for cell in cells:
            arrays = experiment.explained.get((cell.target, cell.head))
            if cell.feature_set != HYBRID or cell.target not in wanted or arrays is None:
                continue
            shares = _shares(hybrid, arrays["absolute"], varying, config)
            more = _summaries(cell, hybrid, shares) + _checks(cell, arrays["gaps"], len(varying))
            yield cell, more, _explained_table(cell, hybrid, ids, arrays["absolute"])


def _head(name: str, config: ShapConfig, threads: int) -> Head:
    """A head as in every scenario, but for the size of the forest."""
    head = build_head(name, threads=threads)
    return replace(head, trees=config.trees) if isinstance(head, RandomForest) else head


def _explanation(
    features: FeatureSet, split: Split, head: Head, config: ShapConfig
) -> Explanation | None:
    """SHAP values of some test rows, for the joint feature set under some heads."""
    if features.name != HYBRID or head.name not in EXPLAINED:
        return None
    explained = _sampled(split.test, config.explained, config.seed)
    background = _sampled(split.train, config.background, config.seed)
    groups = features.spans()

    def make(fitted: Fitted) -> Arrays:
        if isinstance(fitted, FittedLightGBM):
            values = explain_trees(fitted, features.matrix, explained, groups)
        else:
            values = explain_network(
                fitted,
                features.matrix,
                explained,
                background,
                groups,
                samples=config.samples,
                seed=config.seed,
            )
        return {"absolute": values.absolute, "gaps": values.gaps}

    settings = asdict(replace(config, heads=(), resamples=0, trees=0))
    return Explanation(make=make, settings=settings | {"sections": features.sections})


def _sampled(rows: Index, count: int, seed: int) -> Index:
    """At most some of the rows, in order."""
    if len(rows) <= count:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))


def _shares(hybrid: FeatureSet, absolute: Floats, varying: Index, config: ShapConfig) -> Shares:
    """Shares of all learned sections together, then of each section."""
    learned = np.array([[section.learned] for section in hybrid.sections], float)
    widths = np.array([section.width for section in hybrid.sections], float)
    known = np.array([np.isin(span, varying).sum() for span in hybrid.spans().values()], float)
    members = np.concatenate([learned, np.eye(len(widths))], axis=1)
    return share_values(absolute, members, (widths, known), config.resamples, config.seed)


def _summaries(cell: Cell, hybrid: FeatureSet, shares: Shares) -> list[Summary]:
    """Shares and enrichments with their intervals; no enrichment where there are no columns."""
    learned = sum(section.width for section in hybrid.sections if section.learned)
    names = [(SSL, learned), *((section.name, section.width) for section in hybrid.sections)]
    made = []
    for number, (name, width) in enumerate(names):
        scales = {SHARE: 1.0, OF_ALL: shares.of_all[number], OF_VARYING: shares.of_varying[number]}
        ends = (shares.share[number], shares.low[number], shares.high[number])
        for metric, scale in scales.items():
            if scale > 0:
                entry = _summary(cell, metric, *(float(value / scale) for value in ends))
                made.append(replace(entry, feature_set=name, n_features=width, interval=OVER_ROWS))
    return made


def _checks(cell: Cell, gaps: Floats, varying: int) -> list[Summary]:
    """What vouches for the shares: whether explanations add up, and of how much they are made."""
    numbers = {
        "additivity_mean": gaps.mean(),
        "additivity_max": gaps.max(),
        "columns_varying": varying,
        "rows_explained": len(gaps),
    }
    return [_summary(cell, name, float(value)) for name, value in numbers.items()]


def _summary(
    cell: Cell, metric: str, mean: float, low: float = np.nan, high: float = np.nan
) -> Summary:
    key = cell.key() | {"n_features": cell.n_features, "standard_deviation": 0.0, "repeats": 1}
    return Summary(**key, metric=metric, mean=mean, low=low, high=high, interval="")


def _row_of(cell: Cell, entry: Summary) -> ResultRow:
    """The tidy row of a summary."""
    row = result_row(cell, entry.metric, entry.mean)
    return replace(row, feature_set=entry.feature_set, n_features=entry.n_features)


def _explained_table(cell: Cell, hybrid: FeatureSet, ids: Texts, absolute: Floats) -> pa.Table:
    """One line for each explained row and section."""
    names, count = [section.name for section in hybrid.sections], absolute.size
    return pa.table(
        {
            "target": pa.array([cell.target] * count).dictionary_encode(),
            "head": pa.array([cell.head] * count).dictionary_encode(),
            "immutable_id": pa.array(np.repeat(ids, len(names)).tolist(), pa.string()),
            "section": pa.array(names * len(ids)).dictionary_encode(),
            "absolute": pa.array(absolute.ravel()),
        }
    )


def _verdicts(summary: Sequence[Summary], labels: Mapping[str, str]) -> list[Verdict]:
    """Enrichment of the features over the columns that vary, for each explained head."""
    return [
        Verdict(
            target=entry.target,
            claim=f"{labels[SSL]}: a larger share of absolute SHAP values than of varying columns, "
            f"{entry.head}",
            failed=entry.mean <= 1,
            evidence=f"enrichment {entry.mean:.2f} [{entry.low:.2f}, {entry.high:.2f}]",
            significant=bool(entry.low > 1),
        )
        for entry in select(summary, feature_set=SSL, metric=OF_VARYING)
    ]
