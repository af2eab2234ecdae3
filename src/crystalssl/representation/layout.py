"""The one table of names, shapes and units of raw FTCP and the panel.

Every slice of either array, anywhere in the package, is computed from this table. ``VERSION``
rises when a column changes its meaning; weights record the version they were trained with.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass

from crystalssl.errors import unknown_name

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
SHELL_RTOL = 1e-4
"""Vectors and neighbours whose lengths differ by less than this, relatively, share a shell."""
LATTICE_ROWS = slice(100, 103)
"""Rows of sites and occupancy that stand for the lattice vectors a, b, c."""
CELL_ROWS = slice(0, 3)
"""Rows of the lattice group with the cell vectors a, b, c."""
LATTICE_VECTORS = 3
"""Rows of sites and occupancy behind the sites."""
LATTICE_END = slice(-LATTICE_VECTORS, None)
"""The same rows counted from the end, where a batch holds crystals of more than 100 sites."""
SITE_ROWS = slice(None, -LATTICE_VECTORS)
"""Rows of sites and occupancy that stand for sites, in a batch of any size."""
ANGLE_ROW = 3
"""Row of the lattice group with alpha, beta, gamma (degrees) in the columns of a vector, and the
volume (cubic angstrom) in that of a length."""
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
"""First of ``MAX_SITES`` rows with the occupancy of a site by each element column."""
RAW_DISTANCE_ROW = 305
"""Row with the distances of the k-points (1/angstrom)."""
RAW_PROPERTY_ROW = 306
"""First of 92 rows with the elemental code and, beside it, its products with k.r."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A block's slice of the panel.

    Attributes:
        name: group name; a block reads the group of its own name.
        start: first column in the panel.
        fields: columns that belong together, by a name to slice them with; what each column is,
            with its unit.
    """

    name: str
    start: int
    fields: Mapping[str, tuple[str, ...]]

    @property
    def columns(self) -> tuple[str, ...]:
        """What each column is, with its unit."""
        return tuple(column for columns in self.fields.values() for column in columns)

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.columns)

    @property
    def slice(self) -> slice:
        """Columns of the panel."""
        return slice(self.start, self.start + self.width)

    def at(self, field: str) -> builtins.slice:
        """Columns of one field, counted within the group.

        Raises:
            UnknownNameError: if there is no such field.
        """
        if field not in self.fields:
            raise unknown_name(f"field of the group {self.name!r}", field, self.fields)
        first = 0
        for name, columns in self.fields.items():
            if name == field:
                break
            first += len(columns)
        return slice(first, first + len(self.fields[field]))

    def column(self, field: str) -> int:
        """The column of a field that has one, counted within the group.

        Raises:
            UnknownNameError: if there is no such field.
        """
        columns: int = self.at(field).start
        return columns


HARMONICS = 3
"""Multiples k of 2 pi x whose sine and cosine stand in the sites group."""

GROUPS: dict[str, Group] = {
    group.name: group
    for group in (
        Group(
            name="composition",
            start=0,
            fields={"fraction": tuple(f"atomic fraction, slot {slot}" for slot in range(4))},
        ),
        Group(
            name="lattice",
            start=4,
            fields={
                "vector": ("x (angstrom)", "y (angstrom)", "z (angstrom)"),
                "length": ("length (angstrom)",),
            },
        ),
        Group(
            name="sites",
            start=8,
            fields={
                "fractional": tuple(f"fractional {axis}" for axis in "xyz"),
                "cartesian": tuple(f"Cartesian {axis} (angstrom)" for axis in "xyz"),
                "harmonics": tuple(
                    f"{function}(2 pi {k} {axis})"
                    for k in range(1, HARMONICS + 1)
                    for function in ("sin", "cos")
                    for axis in "xyz"
                ),
            },
        ),
        Group(
            name="occupancy",
            start=32,
            fields={
                "species": tuple(name for slot in range(1, 5) for name in (f"Z{slot}", f"x{slot}"))
            },
        ),
        Group(
            name="reciprocal",
            start=40,
            fields={
                "hkl": ("h", "k", "l"),
                "length": ("|g| (1/angstrom)",),
                "vector": ("g_x (1/angstrom)", "g_y (1/angstrom)", "g_z (1/angstrom)"),
                "spacing": ("d = 1/|g| (angstrom)",),
                "square": ("(|g|/|g1|)^2",),
                "shell": ("shell index",),
                "multiplicity": ("shell multiplicity",),
                "gap": ("gap to next shell (1/angstrom)",),
                "cosines": ("cos(g, a*)", "cos(g, b*)", "cos(g, c*)"),
                "amplitude": ("|S(g)|/N",),
            },
        ),
        Group(
            name="structure_factors",
            start=56,
            fields={
                "length": ("|g| (1/angstrom)",),
                "factors": (
                    "|F| atomic number",
                    "|F| Pauling electronegativity",
                    "|F| covalent radius",
                    "|F| valence electrons",
                    "|F| first ionization energy",
                    "|F| electron affinity",
                ),
            },
        ),
    )
}
"""The six column groups by name, in column order."""

ELECTRONIC = "electronic"
"""Group beside the panel: a row is a number of the electrons (``electronic/view.py``)."""
VALIDITY = 63
"""Column that is 1 on rows that hold a site."""


def group(name: str) -> Group:
    """The column group of a name.

    Raises:
        UnknownNameError: if there is no such group.
    """
    if name not in GROUPS:
        raise unknown_name("panel group", name, GROUPS, "crystalssl info panel")
    return GROUPS[name]
