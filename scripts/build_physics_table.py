"""Further properties of the elements for named physics, into representation/data/elements_more.csv.

Run by hand when a source changes: ``python scripts/build_physics_table.py``. Rows Z = 1..103, raw
units in the header, empty where no source has a value. Encoders do not read this table.

Sources: pymatgen's periodic table (MIT); the tables of Magpie that matminer carries (Ward et al.,
npj Comput. Mater. 2016; pseudopotential radii of Zunger, Phys. Rev. B 22, 5839, 1980); bond
valence parameters of O'Keeffe and Brese, J. Am. Chem. Soc. 113, 3226 (1991), which pymatgen
carries.
"""

from __future__ import annotations

import csv
import math
import warnings
from pathlib import Path

import pymatgen.core as pymatgen_core
import yaml
from build_elemental_table import DATA, LAST, magpie, pymatgen

CHARGES = 7
"""Ionization energies listed."""


def positive(values: list[float]) -> list[float]:
    """The same, NaN in place of 0, which stands for no value."""
    return [value if value > 0 else math.nan for value in values]


def bond_valence(name: str) -> list[float]:
    """One bond valence parameter, NaN where missing."""
    text = Path(pymatgen_core.__file__).with_name("bvparam_1991.yaml").read_text()
    known = yaml.safe_load(text)
    symbols = [pymatgen_core.Element.from_Z(z).symbol for z in range(1, LAST + 1)]
    return [float(known.get(symbol, {}).get(name, math.nan)) for symbol in symbols]


def columns() -> dict[str, list[float]]:
    """Every column by name and unit."""
    return {
        "boiling_point_k": pymatgen(lambda e: e.boiling_point),
        "heat_of_vaporization_kj_mol": magpie("HeatVaporization"),
        "heat_of_fusion_kj_mol": magpie("HeatFusion"),
        "thermal_conductivity_w_m_k": pymatgen(lambda e: e.thermal_conductivity),
        "bulk_modulus_gpa": pymatgen(lambda e: e.bulk_modulus),
        "shear_modulus_gpa": pymatgen(lambda e: e.rigidity_modulus),
        "pseudopotential_radius_bohr": magpie("ZungerPP-r_sigma"),
        "cation_radius_angstrom": positive(pymatgen(lambda e: e.average_cationic_radius)),
        "anion_radius_angstrom": positive(pymatgen(lambda e: e.average_anionic_radius)),
        "bond_valence_radius_angstrom": bond_valence("r"),
        "bond_valence_softness": bond_valence("c"),
        **{
            f"ionization_energy_{n}_ev": pymatgen(lambda e, n=n: e.ionization_energies[n - 1])
            for n in range(1, CHARGES + 1)
        },
    }


def main() -> None:
    """Write the table."""
    table = columns()
    with (DATA / "elements_more.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(table)
        for row in zip(*table.values(), strict=True):
            writer.writerow("" if math.isnan(v) else format(v, ".6g") for v in row)
    print(DATA / "elements_more.csv", LAST, "elements")


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # pymatgen warns about each missing value
    main()
