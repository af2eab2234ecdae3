"""The tidy row that every scenario gives, and the table it is stored in.

One row is one number: one metric of one model on one feature set in one split. A table is a
Parquet (or CSV) file with a JSON sidecar that says how it came about; report/ draws from these
files alone.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from crystalssl.errors import InputError
from crystalssl.files import read_json, write_json

DIGEST_ROWS = 4096
"""Rows of a view that are copied at a time for its digest."""
PACKAGES = (
    "crystalssl",
    "numpy",
    "scipy",
    "pyarrow",
    "torch",
    "scikit-learn",
    "matminer",
    "lightgbm",
    "shap",
)
"""Packages whose versions are recorded, where installed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScenarioResult:
    """One number of one scenario.

    Attributes:
        scenario: scenario name.
        property: label column that was predicted.
        unit: its unit.
        split_kind: ``random``, ``grouped`` (formulas kept whole) or ``held-out`` (grouped, and
            test rows were never seen in pre-training).
        train_fraction: share of the rows that were trained on.
        seed: seed of the split.
        fold: number of the test fold, 0 where there is one.
        feature_set: name of the feature set.
        n_features: its columns, constant ones included.
        model: model name.
        metric: ``rmse``, ``mae`` (in ``unit``), ``r2``, ``fit_seconds`` or ``strength``.
        value: the number.
        n_train: training rows.
        n_test: test rows.
    """

    scenario: str
    property: str
    unit: str
    split_kind: str
    train_fraction: float
    seed: int
    fold: int
    feature_set: str
    n_features: int
    model: str
    metric: str
    value: float
    n_train: int
    n_test: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """How a table came about.

    Attributes:
        scenario: scenario name.
        protocol: the protocol in words.
        config: settings, as JSON.
        seeds: every seed in use.
        data_hash: digest of ids, labels and features.
        counts: rows given, rows in the comparison, and what was left out.
        labels: readable name of each feature set.
        versions: versions of Python and packages.
    """

    scenario: str
    protocol: str
    config: dict[str, Any]
    seeds: list[int]
    data_hash: str
    counts: dict[str, int] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """Mean and spread of a metric over splits.

    Attributes:
        key: values of the columns that the rows were grouped by.
        mean: mean over splits.
        spread: standard deviation over splits (n - 1); 0 for a single split.
        count: number of splits.
    """

    key: tuple[Any, ...]
    mean: float
    spread: float
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultTable:
    """Tidy rows and their record.

    Attributes:
        rows: the numbers.
        record: how they came about.
    """

    rows: tuple[ScenarioResult, ...]
    record: RunRecord

    def where(self, **wanted: Any) -> tuple[ScenarioResult, ...]:
        """Rows whose columns have the given values."""
        return tuple(r for r in self.rows if all(getattr(r, k) == v for k, v in wanted.items()))

    def summarize(self, by: Sequence[str], **wanted: Any) -> list[Summary]:
        """Mean and spread over splits, one entry per value of ``by``, in order of appearance.

        Args:
            by: columns to group by.
            wanted: columns and the values that rows must have.
        """
        found: dict[tuple[Any, ...], list[float]] = {}
        for row in self.where(**wanted):
            found.setdefault(tuple(getattr(row, name) for name in by), []).append(row.value)
        return [
            Summary(
                key=key,
                mean=float(np.mean(values)),
                spread=float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
                count=len(values),
            )
            for key, values in found.items()
        ]

    def save(self, path: str | Path) -> Path:
        """Write the rows as ``.parquet`` or ``.csv`` and the record beside them, atomically.

        Raises:
            InputError: for another suffix.
        """
        path = Path(path)
        names = [entry.name for entry in fields(ScenarioResult)]
        kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
        schema = pa.schema([(n, kinds[t]) for n, t in get_type_hints(ScenarioResult).items()])
        columns = {name: [getattr(row, name) for row in self.rows] for name in names}
        write_table(pa.table(columns, schema=schema), path)
        write_json(asdict(self.record), path.with_suffix(".json"))
        return path

    @staticmethod
    def load(path: str | Path) -> ResultTable:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: if a file is missing or lacks a column.
        """
        path = Path(path)
        table = read_table(path)
        lacking = sorted({e.name for e in fields(ScenarioResult)} - set(table.column_names))
        if lacking:
            raise InputError(
                f"{path} lacks the columns {', '.join(lacking)}; expected a table of results. "
                "Run the evaluation again."
            )
        record = read_json(path.with_suffix(".json"))
        known = {entry.name for entry in fields(RunRecord)}
        wanted = [entry.name for entry in fields(ScenarioResult)]
        return ResultTable(
            rows=tuple(ScenarioResult(**row) for row in table.select(wanted).to_pylist()),
            record=RunRecord(**{name: value for name, value in record.items() if name in known}),
        )


def write_table(table: pa.Table, path: Path) -> Path:
    """Write a table as Parquet or CSV by its suffix, atomically.

    Raises:
        InputError: for another suffix.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise InputError(f"Cannot write a table to {path}; expected a name in .parquet or .csv.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    if path.suffix == ".csv":
        pacsv.write_csv(table, partial)
    else:
        pq.write_table(table, partial, compression="zstd")
    partial.replace(path)
    return path


def read_table(path: Path) -> pa.Table:
    """Read a table that :func:`write_table` wrote.

    Raises:
        InputError: if the file is missing or is no table.
    """
    if not path.is_file():
        raise InputError(f"Found no file {path}; expected a table of results. Check the path.")
    try:
        return pacsv.read_csv(path) if path.suffix == ".csv" else pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is no readable table ({error}). Write it anew.") from error


def installed_versions() -> dict[str, str]:
    """Versions of Python and of ``PACKAGES``, where installed."""
    present = {dist.name: dist.version for dist in metadata.distributions()}
    found = {name: present[name] for name in PACKAGES if name in present}
    return {"python": platform.python_version(), **found}


def digest(parts: Iterable[npt.NDArray[Any] | str]) -> str:
    """Hexadecimal digest of arrays and texts, in order."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, str):
            state.update(part.encode())
            continue
        state.update(f"{part.dtype}{part.shape}".encode())
        if part.flags.c_contiguous:
            state.update(part.reshape(-1).view(np.uint8).data if part.size else b"")
            continue
        for start in range(0, len(part), DIGEST_ROWS):  # a view is copied a few rows at a time
            rows = np.ascontiguousarray(part[start : start + DIGEST_ROWS])
            state.update(rows.reshape(-1).view(np.uint8).data)
    return state.hexdigest()
