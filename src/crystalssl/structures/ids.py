"""Identifiers: no two crystals of a batch may share one, or features could not be told apart.

The first crystal with an id keeps it; later ones get ``#2``, ``#3`` and so on at the end, so that
a repeated file is visible in every output instead of being dropped or overwritten.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def unique_ids(ids: npt.ArrayLike) -> npt.NDArray[np.str_]:
    """Make repeated ids differ: ``a, b, a`` becomes ``a, b, a#2``.

    Args:
        ids: (n,) strings, in input order.

    Returns:
        (n,) strings without repetition; unchanged where there was none.
    """
    given = np.asarray(ids, dtype=np.str_)
    names, first, counts = np.unique(given, return_index=True, return_counts=True)
    if (counts < 2).all():
        return given
    taken = set(names.tolist())
    repeated = set(names[counts > 1].tolist())
    kept = set(first.tolist())
    result = given.tolist()
    number = dict.fromkeys(repeated, 1)
    for row, name in enumerate(given.tolist()):
        if name not in repeated or row in kept:
            continue
        number[name] += 1
        while f"{name}#{number[name]}" in taken:
            number[name] += 1
        result[row] = f"{name}#{number[name]}"
        taken.add(result[row])
    return np.array(result, dtype=np.str_)
