"""Ids in a user's table -> rows of crystals: by id, file name or stem.

Used for labels and for descriptors alike. After tables.py, before labels.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from crystalssl.errors import InputError
from crystalssl.properties.tables import Table
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.validity import SOURCE_COLUMN


def id_column_of(table: Table, path: Path) -> str:
    """The one column that is called like ids.

    Raises:
        InputError: if none or several are.
    """
    usual = ("immutable_id", "id", "material_id", "mp_id", "name", "file", "filename", "structure")
    for wanted in usual:
        for name in table:
            if name.lower().replace(" ", "_") == wanted:
                return name
    raise InputError(
        f"No column of {path} is called like an id; it has {', '.join(table)}. Choose one with "
        "--id (id_column=)."
    )


def joined_groups(
    first: npt.NDArray[np.str_], second: npt.NDArray[np.str_]
) -> npt.NDArray[np.str_]:
    """(n,) groups that divide no group of either kind: crystals are joined where one joins them.

    Example:
        >>> joined_groups(np.array(["a", "a", "b", "c"]), np.array(["x", "y", "y", "z"])).tolist()
        ['0', '0', '0', '1']
    """
    sizes, codes = [], []
    for groups in (first, second):
        names, code = np.unique(groups, return_inverse=True)
        sizes.append(len(names))
        codes.append(code.reshape(-1))
    edges = coo_array(
        (np.ones(len(first)), (codes[0], codes[1] + sizes[0])), shape=(sum(sizes), sum(sizes))
    )
    component = connected_components(edges, directed=False)[1]
    return np.asarray(component[codes[0]].astype(np.str_))


def match_ids(ids: Sequence[str], crystals: Crystals) -> npt.NDArray[np.int64]:
    """(m,) row of the crystal that each id names, -1 where there is none.

    An id may be that of the structure, the name of its file, or its stem; letters may be of
    another case where that leaves no doubt.
    """
    names: dict[str, int] = {str(name): row for row, name in enumerate(crystals.ids)}
    files = crystals.columns
    if files is not None and SOURCE_COLUMN in files.column_names:
        sources = [Path(str(file or "")) for file in files[SOURCE_COLUMN].to_pylist()]
        often = Counter(name for file in sources for name in {file.name, file.stem})
        for row, file in enumerate(sources):
            for name in (file.name, file.stem):
                if often[name] == 1:  # a file of several structures names none of them
                    names.setdefault(name, row)
    folded: dict[str, int] = {}
    for name, row in names.items():
        folded[name.casefold()] = row if folded.setdefault(name.casefold(), row) == row else -1
    rows = np.full(len(ids), -1, dtype=np.int64)
    for at, text in enumerate(ids):
        for spelling in (text, Path(text).name, Path(text).stem):
            row = names.get(spelling, folded.get(spelling.casefold(), -1)) if spelling else -1
            if row >= 0:
                rows[at] = row
                break
    return rows
