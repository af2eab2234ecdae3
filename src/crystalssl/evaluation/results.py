"""What an experiment gives, as typed records: predictions, tidy rows, summaries, differences.

A cell of the grid (one target, split, feature set and head) holds its predictions; everything else
follows from these. All of it is written to a folder and read back; the report and users draw from
these files alone. Imported by every module of the evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.errors import InputError
from crystalssl.evaluation.tables import Row, read_table, records_of, table_of, write_table
from crystalssl.files import read_json, write_json

FORMAT_VERSION = 2
"""Version of the files below; 1 had other names of columns and no table of all predictions."""
MEAN = "mean"
"""Feature set and head of the baseline that predicts the mean of the training labels."""
THEN = " > "
"""Between the feature sets of both steps of the residual protocol: ``raw_ftcp > ssl``."""

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.str_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """What was predicted from what: the columns that all tables of results have.

    Attributes:
        target: label column, or ``log10(COLUMN)``.
        unit: its unit.
        split: kind of split: ``random``, ``grouped`` (no formula on both sides) or ``held-out``
            (grouped, and test rows were never seen in pre-training).
        train_fraction: nominal fraction of the rows that were trained on.
        feature_set: name of the feature set, or two with ``THEN`` between them.
        head: name of the head.
        n_train: training rows; over repeats and folds their mean.
        n_test: test rows; over repeats and folds their mean.
    """

    target: str
    unit: str
    split: str
    train_fraction: float
    feature_set: str
    head: str
    n_train: int
    n_test: int

    def key(self) -> dict[str, Any]:
        """These attributes alone, by name, to make another record of."""
        return {entry.name: getattr(self, entry.name) for entry in fields(Key)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell(Key):
    """Predictions of one head on one feature set, for one target in one split.

    Attributes:
        n_features: columns of the feature set, constant ones included.
        repeat: number of the repeat, the seed of split and head.
        fold: number of the test fold, 0 where there is one.
        ids: (m,) ids of the test rows.
        groups: (m,) reduced formulas of the test rows.
        true: (m,) labels.
        predicted: (m,) predictions.
        figures: further numbers of the fit, such as ``fit_seconds``.
    """

    n_features: int
    repeat: int
    fold: int
    ids: Texts
    groups: Texts
    true: Floats
    predicted: Floats
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultRow(Key):
    """One number: one metric of one cell.

    Attributes:
        n_features: columns of the feature set, constant ones included.
        repeat: number of the repeat, the seed of split and head.
        fold: number of the test fold, 0 where there is one.
        metric: ``rmse``, ``mae`` (both in ``unit``), ``r2``, ``fit_seconds``, ``strength``, or a
            metric of the scenario.
        value: the number.
    """

    n_features: int
    repeat: int
    fold: int
    metric: str
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary(Key):
    """A metric over repeats and folds, with its 95 % interval.

    Attributes:
        n_features: columns of the feature set, constant ones included.
        metric: as in a row.
        mean: mean over repeats and folds.
        standard_deviation: over repeats and folds (n - 1); 0 for a single one.
        low: lower end of the interval, NaN where none is known.
        high: upper end.
        interval: kind of interval (``statistics.py``), empty where none is known.
        repeats: number of repeats and folds.
    """

    n_features: int
    metric: str
    mean: float
    standard_deviation: float
    low: float
    high: float
    interval: str
    repeats: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference(Key):
    """Proposed features compared with a baseline on the same rows: paired, with a 95 % interval.

    Attributes:
        baseline: feature set that they are compared with.
        baseline_head: head on that; the same one, or the baseline's best.
        best_head: whether the baseline has the head that serves it best on the test rows, a choice
            that favours it; otherwise both have the same head.
        metric: ``rmse`` or ``r2``.
        value: mean of the proposed features.
        baseline_value: mean of the baseline.
        difference: mean of proposed minus baseline; a lower ``rmse`` is better, a higher ``r2``.
        standard_deviation: of the difference over repeats and folds; 0 for a single one.
        low: lower end of the interval of the difference.
        high: upper end.
        interval: kind of interval.
        better: repeats and folds in which the proposed features are better.
        repeats: repeats and folds in all.
    """

    baseline: str
    baseline_head: str
    best_head: bool
    metric: str
    value: float
    baseline_value: float
    difference: float
    standard_deviation: float
    low: float
    high: float
    interval: str
    better: int
    repeats: int

    @property
    def gain(self) -> float:
        """The difference with the sign that is positive where the proposed features are better."""
        return self.difference if self.metric == "r2" else -self.difference

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """A claim that could have failed, and what came out.

    Attributes:
        target: label column.
        claim: what the features have to do, in words.
        failed: whether they do not.
        evidence: the numbers, in words.
        significant: whether it holds with its 95 % confidence intervals; where it neither fails
            nor is significant, it cannot be told apart from chance.
    """

    target: str
    claim: str
    failed: bool
    evidence: str
    significant: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """How results came about.

    Attributes:
        scenario: name of the scenario.
        question: what it asks.
        failure: what would count as failure.
        protocol: splits, scaler, heads and intervals in words.
        proposed: feature sets that are compared with all others.
        config: settings, as JSON.
        seeds: every seed in use.
        data_hash: digest of ids, labels and features.
        counts: rows given, rows compared, and what was left out.
        labels: readable name of each feature set.
        versions: versions of Python and packages.
        verdicts: every claim, and whether it failed.
    """

    scenario: str
    question: str
    failure: str
    protocol: str
    proposed: list[str]
    config: dict[str, Any]
    seeds: list[int]
    data_hash: str
    counts: dict[str, int] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """Everything that an experiment gives.

    Attributes:
        record: how it came about.
        rows: one number for each cell and metric.
        summary: the same over repeats and folds, with intervals.
        differences: proposed features compared with baselines.
        predictions: one row for each test row of each cell: ``immutable_id``, ``group``,
            ``target``, ``unit``, ``split``, ``train_fraction``, ``repeat``, ``fold``,
            ``feature_set``, ``head``, ``true``, ``predicted``.
        tables: further tables by a short name.
    """

    record: Record
    rows: tuple[ResultRow, ...]
    summary: tuple[Summary, ...] = ()
    differences: tuple[Difference, ...] = ()
    predictions: pa.Table = field(default_factory=lambda: prediction_table([]))
    tables: dict[str, pa.Table] = field(default_factory=dict)

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``<scenario>.parquet``, ``.csv`` and what belongs to them; the record last.

        Summaries and differences are ``<scenario>_summary`` and ``<scenario>_differences``, both
        ``.parquet`` and ``.csv``; predictions and further tables are ``.parquet``.
        """
        base, name = Path(folder), self.record.scenario
        small = {
            name: table_of(self.rows, ResultRow),
            f"{name}_summary": table_of(self.summary, Summary),
            f"{name}_differences": table_of(self.differences, Difference),
        }
        large = {f"{name}_predictions": self.predictions}
        large |= {f"{name}_{key}": table for key, table in self.tables.items()}
        written = [
            write_table(table, base / f"{key}.{ending}")
            for key, table in small.items()
            for ending in ("csv", "parquet")
        ]
        written += [write_table(table, base / f"{key}.parquet") for key, table in large.items()]
        record = {
            "format_version": FORMAT_VERSION, **asdict(self.record), "tables": list(self.tables)
        }  # fmt: skip
        return [*written, write_json(record, base / f"{name}.json")]

    @staticmethod
    def load(folder: str | Path, scenario: str) -> Results:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: if a file is missing, damaged or of another format version.
        """
        base = Path(folder)
        stored = read_json(base / f"{scenario}.json")
        version = stored.pop("format_version", 1)
        if version != FORMAT_VERSION:
            raise InputError(
                f"{base / scenario}.json is of format {version}; expected {FORMAT_VERSION}. It is "
                "of another version of crystalssl: run the evaluation again."
            )
        names = stored.pop("tables", [])
        known = {entry.name for entry in fields(Record)}
        stored["verdicts"] = [Verdict(**entry) for entry in stored.get("verdicts", [])]
        return Results(
            record=Record(**{name: value for name, value in stored.items() if name in known}),
            rows=records_of(base / f"{scenario}.parquet", ResultRow),
            summary=records_of(base / f"{scenario}_summary.parquet", Summary),
            differences=records_of(base / f"{scenario}_differences.parquet", Difference),
            predictions=read_table(base / f"{scenario}_predictions.parquet"),
            tables={name: read_table(base / f"{scenario}_{name}.parquet") for name in names},
        )


def select(records: Iterable[Row], **wanted: Any) -> list[Row]:
    """Rows, summaries or differences whose attributes have the given values, in order."""
    return [
        record
        for record in records
        if all(getattr(record, name) == value for name, value in wanted.items())
    ]


def prediction_table(cells: Sequence[Cell]) -> pa.Table:
    """Predictions of all cells, one row for each test row."""
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    names = ("target", "unit", "split", "train_fraction", "repeat", "fold", "feature_set", "head")
    hints = get_type_hints(Cell)
    sizes = [len(cell.true) for cell in cells]
    columns: dict[str, pa.Array] = {}
    for name, attribute in (("immutable_id", "ids"), ("group", "groups")):
        texts = [getattr(cell, attribute) for cell in cells]
        # by reference: cells of one split share their ids, which are turned into text once
        encoded = {id(array): pa.array(array.tolist(), pa.string()) for array in texts}
        chunks = [encoded[id(array)] for array in texts]
        columns[name] = pa.chunked_array(chunks, pa.string()).combine_chunks().dictionary_encode()
    for name in names:
        values = [getattr(cell, name) for cell in cells]
        distinct = list(dict.fromkeys(values))
        index = {value: number for number, value in enumerate(distinct)}
        numbers = np.repeat(np.array([index[v] for v in values], np.int32), sizes)
        columns[name] = pa.DictionaryArray.from_arrays(
            pa.array(numbers, pa.int32()), pa.array(distinct, kinds[hints[name]])
        )
    for name in ("true", "predicted"):
        arrays = [getattr(cell, name) for cell in cells]
        columns[name] = pa.array(np.concatenate(arrays) if arrays else [], pa.float64())
    return pa.table(columns)
