"""Installed tables of the elements into the three small files of representation/data.

Run by hand when a source changes: ``python scripts/build_elemental_table.py``. Writes
``elements.csv`` (Z = 1..103, raw units; empty where no source has a value), ``cgcnn_code.csv``
(92 bits for Z = 1..100 as 23 hexadecimal digits) and ``oxidation_states.csv`` (Z = 1..103; what is
found in crystals of the ICSD or is common, without 0, separated by blanks).

Sources: pymatgen's periodic table and its lists of oxidation states (MIT); the Magpie tables that
matminer carries (Ward et al., npj Comput. Mater. 2016); the CGCNN code (Xie and Grossman, PRL
2018, MIT), which matminer and jarvis-tools (``jarvis/core/atom_init.json``) carry with equal
content.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import matminer
from pymatgen.core import Element

DATA = Path(__file__).parents[1] / "src" / "crystalssl" / "representation" / "data"
TABLES = Path(matminer.__file__).parent / "utils" / "data_files"
LAST = 103
NUMBER = re.compile(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?")

ALLEN = {"He": 4.16, "Ne": 4.79, "Ar": 3.24}
"""Electronegativities (Allen, J. Am. Chem. Soc. 1989) of the gases that Pauling's scale omits."""
COVALENT_BEYOND_CURIUM = 1.69
"""Covalent radius (angstrom) of curium, used for Bk to Lr, which have none."""
BISMUTH_POLARIZABILITY = 7.4
"""Cubic angstrom (CRC Handbook); the Magpie table has 0.4, a misprint."""


def magpie(name: str) -> list[float]:
    """One Magpie table as numbers for Z = 1..103, NaN where missing."""
    lines = (TABLES / "magpie_elementdata" / f"{name}.table").read_text().splitlines()
    return [float(line) if NUMBER.fullmatch(line.strip()) else math.nan for line in lines[:LAST]]


def pymatgen(read: Callable[[Element], float | None]) -> list[float]:
    """One pymatgen attribute for Z = 1..103, NaN where missing."""
    values = []
    for z in range(1, LAST + 1):
        try:
            value = read(Element.from_Z(z))
        except (AttributeError, IndexError, TypeError, ValueError):
            value = None
        values.append(math.nan if value is None else float(value))
    return values


def valence(shells: dict[str, list[float]]) -> list[float]:
    """Chemically active electrons.

    The d electrons count until a p electron is present, a full f shell never counts: 12 for Zn,
    3 for Ga, 6 for Nd, 4 for Hf.
    """
    return [
        s + p + (d if p == 0 else 0) + (f if f < 14 else 0)
        for s, p, d, f in zip(*(shells[name] for name in "spdf"), strict=True)
    ]


def columns() -> dict[str, list[float]]:
    """Every column of ``elements.csv`` by name and unit."""
    shells = {name: magpie(f"N{name}Valence") for name in "spdf"}
    symbols = [Element.from_Z(z).symbol for z in range(1, LAST + 1)]
    pauling = [ALLEN.get(s, x) for s, x in zip(symbols, pymatgen(lambda e: e.X), strict=True)]
    covalent = [r / 100 for r in magpie("CovalentRadius")]
    covalent = [COVALENT_BEYOND_CURIUM if math.isnan(r) else r for r in covalent]
    polarizability = magpie("Polarizability")
    polarizability[82] = BISMUTH_POLARIZABILITY
    return {
        "atomic_number": [float(z) for z in range(1, LAST + 1)],
        "electronegativity_pauling": pauling,
        "covalent_radius_angstrom": covalent,
        "valence_electrons": valence(shells),
        "first_ionization_energy_ev": pymatgen(lambda e: e.ionization_energies[0]),
        "electron_affinity_ev": pymatgen(lambda e: e.electron_affinity),
        "atomic_mass_u": pymatgen(lambda e: float(e.atomic_mass)),
        "group": pymatgen(lambda e: e.group),
        "period": pymatgen(lambda e: e.row),
        "mendeleev_number": pymatgen(lambda e: e.mendeleev_no),
        "second_ionization_energy_ev": pymatgen(lambda e: e.ionization_energies[1]),
        **{f"{name}_valence": shells[name] for name in "spdf"},
        **{f"{name}_unfilled": magpie(f"N{name}Unfilled") for name in "spdf"},
        "melting_point_k": pymatgen(lambda e: e.melting_point),
        "molar_volume_cm3": pymatgen(lambda e: e.molar_volume),
        "atomic_radius_angstrom": pymatgen(lambda e: e.atomic_radius),
        "van_der_waals_radius_angstrom": pymatgen(lambda e: e.van_der_waals_radius),
        "polarizability_angstrom3": polarizability,
        "ground_state_volume_angstrom3": magpie("GSvolume_pa"),
        "is_metal": magpie("IsMetal"),
    }


def write_elements(path: Path) -> None:
    """Write ``elements.csv``."""
    table = columns()
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(table)
        for row in zip(*table.values(), strict=True):
            writer.writerow("" if math.isnan(v) else format(v, ".6g") for v in row)


def write_code(source: Path, path: Path) -> None:
    """Write ``cgcnn_code.csv`` from a CGCNN ``atom_init.json``."""
    table = json.loads(source.read_text())
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["atomic_number", "bits_hex"])
        for z in range(1, 101):
            key = str(z) if str(z) in table else Element.from_Z(z).symbol
            bits = "".join(str(int(bit)) for bit in table[key])
            writer.writerow([z, f"{int(bits, 2):023x}"])


def oxidation_states(z: int) -> list[int]:
    """States of an element in crystals, sorted: those met in the ICSD and the common ones."""
    element = Element.from_Z(z)
    return sorted({*element.icsd_oxidation_states, *element.common_oxidation_states} - {0})


def write_oxidation_states(path: Path) -> None:
    """Write ``oxidation_states.csv``."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["atomic_number", "oxidation_states"])
        for z in range(1, LAST + 1):
            writer.writerow([z, " ".join(map(str, oxidation_states(z)))])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    default = TABLES / "cgcnn_atom_feature.json"
    parser.add_argument("--cgcnn", type=Path, default=default, help="a CGCNN atom_init.json")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # pymatgen warns about each missing value
    DATA.mkdir(exist_ok=True)
    write_elements(DATA / "elements.csv")
    write_code(arguments.cgcnn, DATA / "cgcnn_code.csv")
    write_oxidation_states(DATA / "oxidation_states.csv")
