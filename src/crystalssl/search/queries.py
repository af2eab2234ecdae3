"""What a user names as a query -> features that an index can be asked with.

An id of the searched crystals, a file of features, or structures, whose features are then made
with the weights that the searched ones come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crystalssl.errors import InputError
from crystalssl.features.features import Features, Origin
from crystalssl.features.store import load_features

ARRAYS = (".npy",)
PARQUET = (".parquet", ".pq")


def is_features(path: str | Path) -> bool:
    """Whether a file holds features rather than structures.

    Raises:
        InputError: if a Parquet file cannot be read.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    if path.suffix in PARQUET and path.is_file():
        try:
            with pq.ParquetFile(path) as file:
                schema = file.schema_arrow
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path} cannot be read as Parquet ({error}).") from error
        return (
            any(pa.types.is_fixed_size_list(field.type) for field in schema)
            and "lattice_vectors" not in schema.names
        )
    if path.suffix in ARRAYS and path.is_file():
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return True  # whoever reads it says what is wrong
        return not (array.ndim == 3 or array.shape[1:] == (25200,))  # raw FTCP holds structures
    return False


def features_like(
    structures: Any, widths: Mapping[str, int], origins: tuple[Origin, ...]
) -> Features:
    """Features of structures, made as those of a file were.

    Args:
        structures: paths or objects.
        widths: number of features of each block in that file.
        origins: weights that they come from.

    Raises:
        InputError: if it is not known where they come from, the weights are others by now, or
            structures cannot be used.
    """
    from crystalssl.datasets.load import read_any
    from crystalssl.features.bottleneck import BLOCKS, find_bottlenecks, load_card
    from crystalssl.features.extractor import ExtractorConfig
    from crystalssl.hub.weights import find_run
    from crystalssl.structures.canonical import canonicalize

    if len(origins) != 1:
        raise InputError(
            "The features that are searched do not say which weights they come from, so a "
            "structure cannot be compared with them. Give a file of its features, or "
            "extract both again."
        )
    origin = origins[0]
    named = list(origin.sha256)
    output = BLOCKS
    if not set(widths) <= set(named):
        folders = find_bottlenecks(find_run(origin.weights))
        (name, width), *_ = widths.items()
        fitting = [n for n, f in folders.items() if load_card(f).width == width]
        output = name if name in fitting else next(iter(fitting), BLOCKS)
    blocks = list(widths) if output == BLOCKS else named
    extractor = ExtractorConfig.of(origin.weights, blocks, output=output).extractor()
    sums = extractor.origins[0].sha256
    if extractor.widths != dict(widths) or any(
        sums[block] != origin.sha256.get(block) for block in sums
    ):
        raise InputError(
            f"The weights {origin.weights} are no longer those that the searched features come "
            "from. Extract these again."
        )
    result = read_any(structures)
    canonical = canonicalize(result.crystals)
    if not len(canonical.crystals):
        skipped = [*result.skipped, *canonical.skipped]
        first = f" First: {skipped[0].id}: {skipped[0].reason}." if skipped else ""
        raise InputError(f"The query holds no structure that can be used.{first}")
    return extractor.features_of(canonical).finite()[0]


def load_query(path: Path) -> Features:
    """Features of a file, the finite rows.

    Raises:
        InputError: if it cannot be read, or no row is finite.
    """
    features, skipped = load_features(path).finite()
    if not len(features):
        raise InputError(f"{path} holds no finite features ({len(skipped)} rows).")
    return features
