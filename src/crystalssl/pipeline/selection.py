"""Which crystals to label first: structures or features in, an ordered list out.

Coverage alone, uncertainty of a property model, or both (``crystalssl.search.selection``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalssl.errors import InputError, unknown_name
from crystalssl.pipeline.listing import write_table
from crystalssl.pipeline.outputs import check_file
from crystalssl.pipeline.progress import SILENT, Progress, counted
from crystalssl.pipeline.search import TABLES, Listed, source_of
from crystalssl.processes import limited_threads

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

METHODS = ("coverage", "uncertainty", "both")
"""Ways to choose."""


def select(
    structures: Any,
    *,
    count: int = 100,
    method: str | None = None,
    labelled: str | Path | None = None,
    model: str | Path | None = None,
    weights: str | Path = "default",
    out: str | Path | None = None,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Listed:
    """Choose the crystals to label first.

    Args:
        structures: structures, or features.
        count: how many to choose.
        method: coverage, uncertainty (of a model) or both; both with a model, else coverage.
        labelled: file with the ids that have labels already: a table, a list or features.
        model: property model whose uncertainty counts, as ``fit`` made it.
        weights: weights for structures that have no features yet.
        out: table to write, .parquet or .csv.
        threads: threads to use.
        progress: told what is done.

    Returns:
        A row for each chosen crystal, the most useful first.

    Raises:
        InputError: if something cannot be read, or there are fewer crystals than asked for.
        UnknownNameError: if there is no such method.
    """
    import numpy as np
    import pyarrow as pa

    from crystalssl.search.points import read_points
    from crystalssl.search.selection import candidates, choose, principal

    path = None if out is None else check_file(out, TABLES)
    method = method or ("coverage" if model is None else "both")
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if method != "coverage" and model is None:
        raise InputError(f"Method {method!r} needs a property model: give --model (see fit).")
    with limited_threads(threads):
        points = read_points(source_of(structures, weights, progress), "standardise")
        known = set() if labelled is None else read_ids(Path(labelled))
        rows = candidates(points.ids)
        has_label = np.array([str(name) in known for name in points.ids[rows].tolist()], bool)
        importance = None
        if model is not None and method != "coverage":
            importance = _uncertainty(structures, model, points.ids[rows], progress)
        with progress.step("Choosing crystals") as advance:
            if method == "uncertainty" and importance is not None:
                order = np.lexsort((points.ids[rows], -np.where(has_label, -np.inf, importance)))
                picked, explained = order[:count], None
            else:
                axes = principal(points.coordinates[rows])
                choice = choose(
                    axes, count, labelled=np.flatnonzero(has_label), weights=importance,
                    watch=advance,
                )  # fmt: skip
                picked, explained = choice.rows, choice.explained
    columns: dict[str, Any] = {
        "rank": pa.array(np.arange(1, len(picked) + 1), pa.int32()),
        "immutable_id": points.ids[rows][picked].tolist(),
    }
    if explained is not None:
        columns["explained"] = explained
    if importance is not None:
        columns["interval_width"] = importance[picked]
    table = pa.table(columns)
    if path is not None:
        write_table(table, path)
        progress.note(f"{counted(len(table), 'row')}: {path}")
    chosen = counted(len(picked), "crystal")
    title = f"{chosen} of {len(points.ids):,} to label first ({method})"
    return Listed(title=title, table=table, summary={"labelled": float(has_label.sum())})


def read_ids(path: Path) -> set[str]:
    """Ids of a file: a Parquet or CSV table with a column of ids, or one id a line.

    Raises:
        InputError: if there is no such file, or no column of ids.
    """
    import pyarrow as pa
    import pyarrow.csv as pcsv
    import pyarrow.parquet as pq

    from crystalssl.representation.ftcp_files import ID_COLUMNS

    if not path.is_file():
        raise InputError(f"Found no file {path}. Give the ids that have labels already.")
    try:
        if path.suffix == ".txt":
            return {
                line.strip()
                for line in path.read_text(encoding="utf-8").splitlines()
                if line.strip()
            }
        if path.suffix == ".parquet":
            names = pq.read_schema(path).names
        else:
            names = pcsv.open_csv(path).schema.names
        column = next((name for name in ID_COLUMNS if name in names), None)
        if column is None:
            raise InputError(
                f"{path} has the columns {', '.join(names)}; expected one of "
                f"{', '.join(ID_COLUMNS)} with the ids that have labels already."
            )
        if path.suffix == ".parquet":
            table = pq.read_table(path, columns=[column])
        else:
            text = pcsv.ConvertOptions(column_types={column: pa.string()}, include_columns=[column])
            table = pcsv.read_csv(path, convert_options=text)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read ids from {path} ({error}).") from error
    return {str(name) for name in table[column].to_pylist() if name is not None}


def _uncertainty(
    structures: Any, model: str | Path, ids: npt.NDArray[np.str_], progress: Progress
) -> npt.NDArray[np.float64]:
    """(n,) width of the prediction interval of each crystal; the mean where there is none.

    Raises:
        InputError: if the model cannot be used, or predicts none of these crystals.
    """
    import importlib

    import numpy as np

    try:
        properties = importlib.import_module("crystalssl.properties")
    except ImportError as error:
        raise InputError("This version has no property models; use --method coverage.") from error
    with progress.step("Predicting"):
        table = properties.PropertyModel.load(Path(model)).predict(structures)
    lower = next((name for name in table.column_names if name.endswith("_lower")), None)
    if lower is None:
        raise InputError(f"{model} predicts classes; the uncertainty of a number is needed.")
    upper = lower.removesuffix("_lower") + "_upper"
    widths = np.asarray(table[upper]) - np.asarray(table[lower])
    by_id = dict(zip(table["immutable_id"].to_pylist(), widths.tolist(), strict=True))
    values = np.array([by_id.get(name, np.nan) for name in ids.tolist()])
    if not np.isfinite(values).any():
        raise InputError(f"The model {model} predicts none of these crystals.")
    return np.where(np.isfinite(values), values, np.nanmean(values))
