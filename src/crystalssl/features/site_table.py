"""Sites of crystals with their features to a Parquet file, batch by batch, and back.

A row is a site: ``immutable_id``, ``site``, ``elements``, ``frac_coords`` in the primitive reduced
cell, and one fixed-size list column for each block with per-site states. No more than one batch of
crystals is in memory. Behind ``sites.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crystalssl.datasets.corpus import Corpus
from crystalssl.devices import choose_device
from crystalssl.errors import InputError
from crystalssl.features.encoding import Extractor
from crystalssl.features.extract import whole_batches
from crystalssl.features.features import ID, record_origins
from crystalssl.features.sites import Matrix, SiteRows
from crystalssl.features.writer import FEATURES_VERSION, ORIGINS, VERSION
from crystalssl.files import atomic, exclusive


def encoded_sites(corpora: Iterable[Corpus], extractor: Extractor) -> Iterator[SiteRows]:
    """Sites of corpora one after the other; what is encoded together follows from them alone."""
    device = choose_device(extractor.device)
    for corpus in whole_batches(corpora, device):
        yield extractor.sites_of(corpus)


def write_sites(path: Path, batches: Iterable[SiteRows]) -> int:
    """Write sites; the file is there once the last batch came without an error.

    Args:
        path: ends in ``.parquet``.
        batches: sites with features of the same blocks; one at least.

    Returns:
        The number of sites.

    Raises:
        InputError: for another ending, no batch, or if another process writes to the file.
    """
    if path.suffix != ".parquet":
        raise InputError(f"Got {path.name!r}, expected a name that ends in .parquet for sites.")
    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        raise InputError("Got no sites to write, expected those of one crystal at least.")
    count = 0
    with exclusive(path), atomic(path) as aside:
        schema = _table(first).schema.with_metadata(
            {
                VERSION: str(FEATURES_VERSION),
                ORIGINS: json.dumps(record_origins(first.origins, path)),
            }
        )
        with pq.ParquetWriter(aside, schema, compression="zstd") as out:
            batch: SiteRows | None = first
            while batch is not None:
                table = _table(batch).cast(schema)
                out.write_table(table)
                count += len(table)
                batch = next(batches, None)
    return count


def _table(rows: SiteRows) -> pa.Table:
    columns: dict[str, pa.Array] = {
        ID: pa.array(rows.crystals.ids[rows.crystal].tolist(), pa.string()),
        "site": pa.array(rows.site, pa.int32()),
        "elements": pa.array(rows.elements, pa.string()),
        "frac_coords": _lists(rows.crystals.frac_coords.astype(np.float32)),
    }
    return pa.table(columns | {name: _lists(states) for name, states in rows.blocks.items()})


def _lists(values: Matrix) -> pa.FixedSizeListArray:
    flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
