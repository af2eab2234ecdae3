"""Tabulated numbers of the elements, from two small files in ``data/``.

``PROPERTIES`` are what encoders read beside a learned embedding, ``WEIGHTS`` scatter in the
structure factors, ``CGCNN`` is the 92-bit code of raw FTCP. Sources: pymatgen, Magpie, and the
CGCNN code (Xie and Grossman, PRL 2018); ``scripts/build_elemental_table.py`` writes the files.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from crystalssl.errors import unknown_name
from crystalssl.representation import layout

PROPERTIES: npt.NDArray[np.float32]
"""(104, P) row = Z: tabulated properties, standardised over the elements that have a value;
missing ones are the mean, 0. Row 0, the vacancy, is 0."""
PROPERTY_NAMES: tuple[str, ...]
"""(P,) names of the columns of ``PROPERTIES``, ending in their unit where they have one."""
WEIGHTS: npt.NDArray[np.float32]
"""(104, 6) row = Z, raw values >= 0: atomic number, Pauling electronegativity, covalent radius
(angstrom), valence electrons, first ionization energy (eV), electron affinity (eV, negative ones
count as 0). Fills: Allen's electronegativity for He, Ne, Ar; the radius of Cm for Bk to Lr."""
CGCNN: npt.NDArray[np.uint8]
"""(101, 92) row = Z, the CGCNN elemental code; row 0 is 0."""
ELECTRONEGATIVITY = "electronegativity_pauling"
"""The property that orders the panel's element slots and moves charge along bonds."""
WEIGHT_NAMES = (
    "atomic_number",
    ELECTRONEGATIVITY,
    "covalent_radius_angstrom",
    "valence_electrons",
    "first_ionization_energy_ev",
    "electron_affinity_ev",
)
"""Columns of ``WEIGHTS``, in the order of the panel's structure factors."""
CODE_WIDTH = 92
"""Bits of the CGCNN code."""
_LAZY = {"PROPERTIES", "PROPERTY_NAMES", "WEIGHTS", "CGCNN"}


def read_table(name: str) -> list[list[str]]:
    """Cells of one of the package's CSV files, header first."""
    text = resources.files(__package__).joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.reader(text.splitlines()))


@cache
def _table() -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Names and raw values (103, P) of the element table, NaN where missing."""
    header, *rows = read_table("elements.csv")
    values = np.array([[float(cell) if cell else np.nan for cell in row] for row in rows])
    return tuple(header), values


@cache
def _properties() -> npt.NDArray[np.float32]:
    _, values = _table()
    scaled = (values - np.nanmean(values, axis=0)) / np.nanstd(values, axis=0)
    full = np.zeros((layout.ELEMENTS + 1, values.shape[1]), np.float32)
    full[1:] = np.nan_to_num(scaled, nan=0.0)
    return full


@cache
def _weights() -> npt.NDArray[np.float32]:
    names, values = _table()
    full = np.zeros((layout.ELEMENTS + 1, len(WEIGHT_NAMES)), np.float32)
    full[1:] = np.clip(values[:, [names.index(name) for name in WEIGHT_NAMES]], 0, None)
    return full


@cache
def _code() -> npt.NDArray[np.uint8]:
    _, *rows = read_table("cgcnn_code.csv")
    full = np.zeros((len(rows) + 1, CODE_WIDTH), np.uint8)
    for z, digits in rows:
        full[int(z)] = [int(bit) for bit in f"{int(digits, 16):0{CODE_WIDTH}b}"]
    return full


def raw(name: str) -> npt.NDArray[np.float64]:
    """(104,) row = Z: a property in its unit; missing values, and the vacancy, have the mean.

    Raises:
        UnknownNameError: if there is no such property.
    """
    names, values = _table()
    if name not in names:
        raise unknown_name("elemental property", name, names)
    column = values[:, names.index(name)]
    mean = float(np.nanmean(column))
    return np.concatenate([[mean], np.where(np.isnan(column), mean, column)])


def weight_column(name: str) -> int:
    """The column of ``WEIGHTS`` that holds a property.

    Raises:
        UnknownNameError: if there is no such property.
    """
    if name not in WEIGHT_NAMES:
        raise unknown_name("elemental weight", name, WEIGHT_NAMES)
    return WEIGHT_NAMES.index(name)


@cache
def by_electronegativity() -> tuple[int, ...]:
    """Z - 1 of all elements, by increasing Pauling electronegativity, then Z."""
    values = _weights()[1:, weight_column(ELECTRONEGATIVITY)]
    return tuple(int(z) for z in np.argsort(values, kind="stable"))


def __getattr__(name: str) -> Any:
    """Read a table when it is first asked for, so that importing costs nothing."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: Any
    if name == "PROPERTY_NAMES":
        return _table()[0]
    value = {"PROPERTIES": _properties, "WEIGHTS": _weights, "CGCNN": _code}[name]()
    value.flags.writeable = False
    return value
