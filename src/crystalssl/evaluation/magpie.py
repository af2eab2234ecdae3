"""Crystals -> 132 Magpie statistics of their elements, as matminer computes them.

The usual baseline that knows which elements there are and nothing of where they sit. Computed
once per chemical formula and kept in the cache. Needs the extra ``matminer``.
Source: Ward et al., npj Comput. Mater. 2 (2016) 16028; preset ``magpie`` of matminer.
"""

from __future__ import annotations

import multiprocessing
import warnings
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from crystalssl.errors import missing_extra
from crystalssl.evaluation.cache import Cache, digest
from crystalssl.processes import obey_parent
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.elements import SYMBOLS

DECIMALS = 6
"""Decimals of an element's fraction that tell two formulas apart."""
MANY = 4_000
"""Formulas that are worth the start of a worker process."""


def magpie_statistics(
    crystals: Crystals, cache: Cache, *, processes: int = 1
) -> npt.NDArray[np.float32]:
    """(n, 132) statistics of every crystal; NaN where Magpie does not know an element.

    Args:
        crystals: n crystals; partial occupancies count as fractions.
        cache: keeps the result; a second call with the same formulas reads it.
        processes: worker processes at most, for many formulas; 1 works in this process.

    Raises:
        MissingExtraError: if matminer is not installed.
    """
    if find_spec("matminer") is None:
        raise missing_extra("matminer", "matminer", "The Magpie baseline")
    formulas, index = np.unique(element_fractions(crystals), axis=0, return_inverse=True)
    key = cache.key("magpie", {}, data=[digest([formulas])], code=[__name__])
    kept = cache.once(key, lambda: {"statistics": _statistics(formulas, processes)})
    statistics: npt.NDArray[np.float32] = kept["statistics"][index.reshape(-1)]
    return statistics


def element_fractions(crystals: Crystals) -> npt.NDArray[np.float64]:
    """(n, 119) share of each atomic number in a crystal; vacancies do not count."""
    filled = crystals.numbers > 0
    owner = np.broadcast_to(crystals.crystal_of_site[:, None], filled.shape)[filled]
    amounts = np.zeros((len(crystals), len(SYMBOLS)))
    np.add.at(amounts, (owner, crystals.numbers[filled]), crystals.occupancy[filled])
    total = np.maximum(amounts.sum(axis=1, keepdims=True), 1e-12)
    fractions: npt.NDArray[np.float64] = np.round(amounts / total, DECIMALS)
    return fractions


def _statistics(formulas: npt.NDArray[np.float64], processes: int) -> npt.NDArray[np.float32]:
    """(formulas, 132) statistics; rows with an element that Magpie does not know are NaN."""
    workers = min(processes, len(formulas) // MANY)
    if workers < 2:
        return _of_some(formulas)
    context = multiprocessing.get_context("spawn")
    shares = np.array_split(formulas, workers)
    with ProcessPoolExecutor(workers, context, initializer=obey_parent) as pool:
        return np.concatenate(list(pool.map(_of_some, shares)))


def _of_some(formulas: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Statistics of some of the formulas, in this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # import-time notices of matminer and pymatgen
        from matminer.featurizers.composition import ElementProperty
        from pymatgen.core import Composition

        featurizer = ElementProperty.from_preset("magpie")
        rows = np.full((len(formulas), len(featurizer.feature_labels())), np.nan, np.float32)
        for row, fractions in enumerate(formulas):
            present = np.flatnonzero(fractions)
            amounts = {SYMBOLS[number]: float(fractions[number]) for number in present}
            try:
                rows[row] = featurizer.featurize(Composition(amounts))
            except (KeyError, ValueError):  # an element beyond the table
                continue
    return rows
