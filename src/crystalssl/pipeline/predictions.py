"""A property model and structures -> predictions, as a table in memory or a file.

Large structure tables are streamed: memory does not grow with them, and numbers do not depend on
how many processes work. ``properties.py`` fits the model.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalssl.errors import InputError, cell_text
from crystalssl.files import atomic, exclusive
from crystalssl.pipeline.extraction import single_table
from crystalssl.pipeline.outputs import check_file, forget_skipped, report_skipped
from crystalssl.pipeline.progress import SILENT, Progress, counted
from crystalssl.pipeline.structures import load_canonical
from crystalssl.processes import limited_threads, usable_cores

if TYPE_CHECKING:
    import pyarrow as pa

    from crystalssl.datasets.load import Structures
    from crystalssl.properties.property_model import PropertyModel

STREAMED = 2_048
"""Rows of a structure table above which it is streamed."""


def predict(
    model: str | Path | PropertyModel,
    structures: Structures,
    out: str | Path | None = None,
    *,
    descriptors: Sequence[str] = (),
    level: float = 0.9,
    strict: bool = False,
    device: str | None = None,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Any:
    """Predict a property of structures, with intervals, domain and nearest labelled crystals.

    A structure table of many rows is streamed: memory does not grow with it.

    Args:
        model: folder of a model, or a loaded one.
        structures: paths or objects.
        out: file to write, ``.parquet`` or ``.csv``; None returns the table.
        descriptors: table with the own columns that the model reads, if structures lack them.
        level: share of crystals that intervals are to hold.
        strict: whether a structure that cannot be used is an error.
        device: where encoders run; a CUDA GPU if there is one by default.
        threads: threads to use; all cores by default.
        progress: told what is done.

    Returns:
        The file, or the predictions as a ``pyarrow.Table`` where ``out`` is None.

    Raises:
        InputError: if model or structures cannot be used.
    """
    from crystalssl.properties.property_model import PropertyModel
    from crystalssl.properties.tables import read_cells

    if not 0 < level < 1:
        raise InputError(f"Got level {level}, expected a share between 0 and 1.")
    loaded = model if isinstance(model, PropertyModel) else PropertyModel.load(model, device)
    also = read_cells(descriptors[0]) if descriptors else None
    path = None if out is None else check_file(out, [".parquet", ".csv"])
    with limited_threads(threads):
        batches = _batches(
            loaded, structures, path, also, level, strict, threads or usable_cores(), progress
        )
        if path is None:
            import pyarrow as pa

            return pa.concat_tables(list(batches))
        with exclusive(path):
            forget_skipped(path)
            rows = write_predictions(path, batches)
    progress.note(f"{counted(rows, 'prediction')} of {loaded.card.target}: {path}")
    return path


def explain(
    model: str | Path | PropertyModel,
    structures: Structures,
    out: str | Path | None = None,
    *,
    by_site: bool = True,
    strict: bool = False,
    device: str | None = None,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Any:
    """Say what each view, element and site contributes to predictions; contributions add up.

    Args:
        model: folder of a model, or a loaded one.
        structures: paths or objects.
        out: file to write, ``.parquet`` or ``.csv``; None returns the table.
        by_site: whether sites and elements are explained too: each crystal is then described
            without some of its sites, up to some hundred times.
        strict: whether a structure that cannot be used is an error.
        device: where encoders run; a CUDA GPU if there is one by default.
        threads: threads to use; all cores by default.
        progress: told what is done.

    Returns:
        The file, or a ``pyarrow.Table`` where ``out`` is None: ``immutable_id``, ``kind`` (view,
        element, site or base), ``name``, ``site`` (number, of sites alone), ``contribution`` in
        the unit of the target, and ``of`` (the target, or the class whose probability it is);
        without an id the mean size of contributions over all crystals.

    Raises:
        InputError: if model or structures cannot be used.
    """
    from crystalssl.properties.explanation import explain_crystals
    from crystalssl.properties.property_model import PropertyModel

    loaded = model if isinstance(model, PropertyModel) else PropertyModel.load(model, device)
    path = None if out is None else check_file(out, [".parquet", ".csv"])
    symprec = loaded.config.symprec
    with limited_threads(threads):
        canonical = load_canonical(
            structures, path, strict=strict, symprec=symprec, progress=progress
        )
        with progress.step("Explaining") as advance:
            table = explain_crystals(loaded, canonical, by_site=by_site, advance=advance)
    if path is None:
        return table
    with exclusive(path):
        write_predictions(path, iter([table]))
    for row in table.to_pylist():
        if row["kind"] == "mean_size_of_view":
            progress.note(f"  {row['name']}: {row['contribution']:.3g} on average")
    progress.note(f"{counted(len(canonical.crystals), 'crystal')} explained: {path}")
    return path


def _batches(
    model: PropertyModel,
    structures: Structures,
    out: Path | None,
    also: Any,
    level: float,
    strict: bool,
    workers: int,
    progress: Progress,
) -> Iterator[pa.Table]:
    """Tables of predictions in input order; skipped rows are reported as by every command."""
    from crystalssl.features.stream import count_rows
    from crystalssl.properties.property_model import predict_batches, stream, table_of

    table, skipped, seen = single_table(structures), [], 0
    if table is not None and table.is_file() and count_rows(table) > STREAMED:
        with progress.step("Predictions") as advance:
            for batch, total in stream(model, table, workers=workers, also=also, level=level):
                seen += batch.rows
                skipped += batch.skipped
                advance(seen, total)
                yield batch.table
        report_skipped(skipped, seen, out, strict=strict, progress=progress)
        return
    symprec = model.config.symprec
    canonical = load_canonical(structures, out, strict=strict, symprec=symprec, progress=progress)
    total = len(canonical.crystals)
    with progress.step("Predictions") as advance:
        for predictions, odd in predict_batches(model, canonical, also, level):
            seen += len(predictions.ids)
            skipped += odd
            advance(seen, total)
            yield table_of(model.card, predictions)
    if skipped:
        report_skipped(
            [*canonical.skipped, *skipped], total + len(canonical.skipped), out, strict=strict,
            progress=progress,
        )  # fmt: skip


def write_predictions(path: Path, batches: Iterator[pa.Table]) -> int:
    """Write tables of predictions as they come; the file is there once all are."""
    import pyarrow.parquet as pq

    rows = 0
    with atomic(path) as aside:
        if path.suffix == ".parquet":
            first = next(batches)
            with pq.ParquetWriter(aside, first.schema, compression="zstd") as writer:
                for table in _from(first, batches):
                    writer.write_table(table)
                    rows += len(table)
            return rows
        with aside.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            for number, table in enumerate(batches):
                if not number:
                    writer.writerow(map(cell_text, table.column_names))
                columns = [table[name].to_pylist() for name in table.column_names]
                writer.writerows(
                    [_cell(value) for value in row] for row in zip(*columns, strict=True)
                )
                rows += len(table)
    return rows


def _from(first: pa.Table, rest: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from rest


def _cell(value: Any) -> str:
    """One cell of a CSV file; lists stand with semicolons."""
    if isinstance(value, list):
        return cell_text("; ".join(map(str, value)))
    if isinstance(value, bool):
        return str(value).lower()
    return cell_text(
        "" if value is None else repr(value) if isinstance(value, float) else str(value)
    )
