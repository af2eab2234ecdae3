"""Which crystals to label first: structures or features in, an ordered list out.

Coverage alone, uncertainty of a property model, or both (``crystalssl.search.selection``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalssl.errors import InputError, unknown_name
from crystalssl.pipeline.listing import TABLES, Listed, finished
from crystalssl.pipeline.outputs import check_file
from crystalssl.pipeline.progress import SILENT, Progress, counted
from crystalssl.pipeline.search import source_of
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
    from crystalssl.search.selection import candidates, check_count, choose, principal

    path = None if out is None else check_file(out, TABLES)
    method = method or ("coverage" if model is None else "both")
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if method != "coverage" and model is None:
        raise InputError(f"Method {method!r} needs a property model: give --model (see fit).")
    with limited_threads(threads):
        points = read_points(source_of(structures, weights, progress))
        known = set() if labelled is None else read_ids(Path(labelled))
        rows = candidates(points.ids)
        has_label = np.array([str(name) in known for name in points.ids[rows].tolist()], bool)
        importance, measure = None, ""
        if model is not None and method != "coverage":
            measure, importance = _uncertainty(structures, model, points.ids[rows], progress)
        with progress.step("Choosing crystals") as advance:
            if method == "uncertainty" and importance is not None:
                check_count(count, int((~has_label).sum()))
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
        columns[measure] = importance[picked]
    table = pa.table(columns)
    chosen = counted(len(picked), "crystal")
    title = f"{chosen} of {len(points.ids):,} to label first ({method})"
    summary = {"labelled": float(has_label.sum())}
    return finished(Listed(title=title, table=table, summary=summary), path, progress)


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
    structures: Any, folder: str | Path, ids: npt.NDArray[np.str_], progress: Progress
) -> tuple[str, npt.NDArray[np.float64]]:
    """How uncertain a model is of each crystal, and what that is called.

    Args:
        structures: structures, which the model makes its own features of.
        folder: property model.
        ids: (n,) crystals.
        progress: told what is done.

    Returns:
        Name, and (n,) widths of prediction intervals, or Gini impurities of the probabilities of
        classes; their mean where the model cannot predict.

    Raises:
        InputError: if features were given, the model cannot be used, or predicts none of these.
    """
    import numpy as np

    from crystalssl.features.features import ID, Features
    from crystalssl.properties.property_model import PropertyModel
    from crystalssl.search.queries import is_features

    is_path = isinstance(structures, str | Path)
    if isinstance(structures, Features) or (is_path and is_features(structures)):
        raise InputError(
            f"Got features with the model {folder}, expected structures: a model makes features "
            "of its own. Give the structures, or leave --model out."
        )
    model = PropertyModel.load(folder)
    with progress.step("Predicting"):
        table = model.predict(structures)
    target = model.card.target
    if model.card.task == "classification":
        names = [n for n in table.column_names if n.startswith(f"{target}_probability_")]
        chances = np.stack([np.asarray(table[name]) for name in names])  # (class, n)
        name, values = "gini_impurity", 1 - (chances**2).sum(axis=0)
    else:
        name = "interval_width"
        values = np.asarray(table[f"{target}_upper"]) - np.asarray(table[f"{target}_lower"])
    by_id = dict(zip(table[ID].to_pylist(), values.tolist(), strict=True))
    known = np.array([by_id.get(row, np.nan) for row in ids.tolist()])
    if not np.isfinite(known).any():
        raise InputError(f"The model {folder} predicts none of these crystals.")
    return name, np.where(np.isfinite(known), known, np.nanmean(known))
