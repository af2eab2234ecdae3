"""The one table of names, shapes and units of raw FTCP and the panel.

Every slice of either array, anywhere in the package, is computed from this table. ``VERSION``
rises when a column changes its meaning; weights record the version they were trained with.
"""

from __future__ import annotations

from dataclasses import dataclass

VERSION = 1
"""Version of the panel layout, stored in every model card."""

ROWS = 103
"""Panel rows: tokens of a block."""
COLUMNS = 64
"""Panel columns."""
MAX_SITES = 100
"""Sites a crystal may have after reduction."""
ELEMENTS = 103
"""Known elements, Z = 1..103."""
LATTICE_ROWS = slice(100, 103)
"""Rows of sites and occupancy that stand for the lattice vectors a, b, c."""
LATTICE_VECTORS = 3
"""Rows of sites and occupancy behind the sites."""
LATTICE_END = slice(-LATTICE_VECTORS, None)
"""The same rows counted from the end, where a batch holds crystals of more than 100 sites."""
SITE_ROWS = slice(None, -LATTICE_VECTORS)
"""Rows of sites and occupancy that stand for sites, in a batch of any size."""
ANGLE_ROW = 3
"""Row of the lattice group with alpha, beta, gamma (degrees) and volume (cubic angstrom)."""
DIRECT_ROWS = slice(4, 103)
"""Rows of the lattice group with the short lattice vectors."""
DIRECT_VECTORS = 99
"""Direct lattice vectors in rows 4:103 of the lattice group."""
RECIPROCAL_VECTORS = 103
"""Reciprocal lattice vectors, one of each Friedel pair."""

RAW_SHAPE = (400, 63)
"""Shape of one raw FTCP array."""
RAW_ELEMENTS = 4
"""Elements a crystal may have in raw FTCP."""
RAW_KPOINTS = 59
"""k-points of raw FTCP, columns 4:63."""
RAW_CELL_ROW = 103
"""First of two rows with a, b, c (angstrom) and alpha, beta, gamma (degrees)."""
RAW_SITE_ROW = 105
"""First of ``MAX_SITES`` rows with fractional coordinates."""
RAW_OCCUPANCY_ROW = 205
"""First of ``MAX_SITES`` rows that say which element a site holds."""
RAW_DISTANCE_ROW = 305
"""Row with the distances of the k-points (1/angstrom)."""
RAW_PROPERTY_ROW = 306
"""First of 92 rows with the elemental code and, beside it, its products with k.r."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A block's slice of the panel.

    Attributes:
        name: group name; a block reads the group of its own name.
        start: first column.
        columns: what each column is, with its unit.
    """

    name: str
    start: int
    columns: tuple[str, ...]

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.columns)

    @property
    def slice(self) -> slice:
        """Columns of the panel."""
        return slice(self.start, self.start + self.width)


_HARMONICS = tuple(
    f"{fn}(2 pi {k} {axis})" for k in (1, 2, 3) for fn in ("sin", "cos") for axis in "xyz"
)

GROUPS: dict[str, Group] = {
    group.name: group
    for group in (
        Group(
            name="composition",
            start=0,
            columns=tuple(f"atomic fraction, slot {slot}" for slot in range(4)),
        ),
        Group(
            name="lattice",
            start=4,
            columns=("x (angstrom)", "y (angstrom)", "z (angstrom)", "length (angstrom)"),
        ),
        Group(
            name="sites",
            start=8,
            columns=(
                *(f"fractional {axis}" for axis in "xyz"),
                *(f"Cartesian {axis} (angstrom)" for axis in "xyz"),
                *_HARMONICS,
            ),
        ),
        Group(
            name="occupancy",
            start=32,
            columns=tuple(name for slot in range(1, 5) for name in (f"Z{slot}", f"x{slot}")),
        ),
        Group(
            name="reciprocal",
            start=40,
            columns=(
                "h",
                "k",
                "l",
                "|g| (1/angstrom)",
                "g_x (1/angstrom)",
                "g_y (1/angstrom)",
                "g_z (1/angstrom)",
                "d = 1/|g| (angstrom)",
                "(|g|/|g1|)^2",
                "shell index",
                "shell multiplicity",
                "gap to next shell (1/angstrom)",
                "cos(g, a*)",
                "cos(g, b*)",
                "cos(g, c*)",
                "|S(g)|/N",
            ),
        ),
        Group(
            name="structure_factors",
            start=56,
            columns=(
                "|g| (1/angstrom)",
                "|F| atomic number",
                "|F| Pauling electronegativity",
                "|F| covalent radius",
                "|F| valence electrons",
                "|F| first ionization energy",
                "|F| electron affinity",
            ),
        ),
    )
}
"""The six column groups by name, in column order."""

VALIDITY = 63
"""Column that is 1 on rows that hold a site."""


def group(name: str) -> Group:
    """The column group of a given name.

    Raises:
        UnknownNameError: if there is no such group.
    """
    from crystalssl.errors import unknown_name

    if name not in GROUPS:
        raise unknown_name("panel group", name, GROUPS, "crystalssl info panel")
    return GROUPS[name]
