"""The crystals that ship with the package, as a ragged batch with their labels.

First step of the flow when no structures are given. The structure table ``data/mp6k.parquet``
is made by ``scripts/build_bundled.py`` from four published tables of Materials Project crystals
(CC BY 4.0; see NOTICE and ``docs/data.md``).
"""

from __future__ import annotations

from pathlib import Path

from crystalssl.structures.crystals import Crystals
from crystalssl.structures.table import read_table

BUNDLED_TABLE = Path(__file__).parent / "data" / "mp6k.parquet"
"""The bundled structure table."""

UNITS: dict[str, str] = {
    "formation_energy_per_atom": "eV/atom",
    "e_above_hull": "eV/atom",
    "band_gap": "eV",
    "refractive_index": "1",
    "dielectric_electronic": "1",
    "dielectric_total": "1",
    "bulk_modulus_vrh": "GPa",
    "shear_modulus_vrh": "GPa",
    "poisson_ratio": "1",
    "piezoelectric_modulus": "C/m^2",
}
"""Label columns of the bundled table and their units."""


def load_bundled() -> Crystals:
    """Read the bundled crystals.

    Columns: the labels of ``UNITS`` (null where unknown), ``chemical_formula_reduced``,
    ``nelements``, ``nsites``, ``source_tables`` and ``split`` (train, val or test; a formula is
    in one part only).

    Example:
        >>> crystals = load_bundled()
        >>> len(crystals), crystals.lattice.shape
        (6281, (6281, 3, 3))

    Raises:
        InputError: if the installed table is damaged.
    """
    return read_table(BUNDLED_TABLE).crystals
