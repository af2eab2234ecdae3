"""Canonical crystals -> the rows that a block reads of their electrons, known or not.

One row a quantity, those of level ``full`` behind those of both levels, NaN where a quantity is not
known: all of a masked crystal, and spin at level ``fast``. Used by ``datasets/corpus.py``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.representation.electronic.electronic_numbers import columns, describe
from crystalssl.representation.electronic.quantities import GROUPS, SPIN, centres
from crystalssl.structures.crystals import Crystals

QUANTITIES = columns("full")
"""What each row is."""
COMMON = len(columns("fast"))
"""Rows of both levels; those behind them are of spin."""
GROUP_OF_ROW = np.repeat(
    np.arange(len(GROUPS) + 1), [*(len(group.quantities) for group in GROUPS), len(SPIN)]
)
"""(row,) the group of quantities that each belongs to; the last is that of spin."""
GAPS, SPINS = 0, len(GROUPS)
"""Groups that hold gaps: known together or not at all."""
CENTRES = centres()
"""(row,) energy in eV that a window of the density of states stands for; NaN for other rows."""
DENSITY = np.array([quantity.name.startswith("dos") for quantity in QUANTITIES])
"""(row,) whether it is a window of the whole density of states; these lie evenly, by energy."""


def electron_rows(crystals: Crystals, level: str = "fast") -> npt.NDArray[np.float32]:
    """Run the tight binding and lay its numbers out as rows.

    Args:
        crystals: n canonical crystals.
        level: level of the tight binding.

    Returns:
        (n, row) numbers, NaN where one is not known.

    Raises:
        UnknownNameError: if there is no such level.
    """
    numbers = describe(crystals, level)
    rows = np.full((len(crystals), len(QUANTITIES)), np.nan, np.float32)
    rows[:, : numbers.values.shape[1]] = numbers.values
    rows[~numbers.valid] = np.nan
    return rows
