"""Turn four published CSV tables into the bundled structure table ``mp6k.parquet``.

Stands before the flow: it makes the data that `crystalssl run` uses when none is given. Source:
the sdist of matminer 0.4.0 (``matminer/datasets/``), real Materials Project crystals (CC BY 4.0)
of Faber 2015, de Jong 2015 (two) and Petousis 2017. Text is parsed, nothing is unpickled; the
same sdist and the same pyarrow give the same bytes. What was dropped is printed and kept in
``docs/data.md``.

    python scripts/build_bundled.py [--sdist matminer-0.4.0.tar.gz] [--out mp6k.parquet]
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import io
import itertools
import subprocess
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure
from pymatgen.io.vasp import Poscar

SDIST = "matminer==0.4.0"
SHA256 = "1a6bdfb198b36d836bab4fbcdffb2dc4fda8a740c3dc08cbb21ea43b817fec86"
OUT = Path(__file__).resolve().parents[1] / "src/crystalssl/datasets/data/mp6k.parquet"
MAX_SITES = 100
MIN_DISTANCE = 0.5  # angstrom
VOLUME_TOLERANCE = 0.05  # relative, between two tables' cells of one material

# Column in the CSV -> column here; the order is the order in which structures are preferred:
# formation energies belong to the flla cells, gaps and refractive indices to the dielectric ones.
LABELS: dict[str, dict[str, str]] = {
    "flla_2015": {
        "formation_energy_per_atom": "formation_energy_per_atom",
        "e_above_hull": "e_above_hull",
    },
    "dielectric_constant": {
        "band_gap": "band_gap",
        "n": "refractive_index",
        "poly_electronic": "dielectric_electronic",
        "poly_total": "dielectric_total",
    },
    "elastic_tensor": {
        "K_VRH": "bulk_modulus_vrh",
        "G_VRH": "shear_modulus_vrh",
        "poisson_ratio": "poisson_ratio",
    },
    "piezoelectric_tensor": {"eij_max": "piezoelectric_modulus"},
}
COLUMNS = [name for table in LABELS.values() for name in table.values()]

# Values outside are emptied (the crystal stays) and listed: they are artefacts of near-metallic or
# mechanically unstable calculations, or of a failed reference, not properties of a crystal.
BOUNDS: dict[str, tuple[float, float]] = {
    "formation_energy_per_atom": (-5.0, 1.5),  # eV/atom
    "e_above_hull": (0.0, 1.5),  # eV/atom
    "band_gap": (0.0, 15.0),  # eV
    "refractive_index": (1.0, 7.0),
    "dielectric_electronic": (1.0, 49.0),  # refractive_index squared
    "dielectric_total": (1.0, 150.0),
    "bulk_modulus_vrh": (0.0, 500.0),  # GPa
    "shear_modulus_vrh": (0.0, 550.0),  # GPa; diamond reaches 523
    "poisson_ratio": (-1.0, 0.5),
    "piezoelectric_modulus": (0.0, 20.0),  # C/m^2
}
# Labels of the same calculation, emptied with it.
DEPENDENT = {
    "e_above_hull": ("formation_energy_per_atom",),
    "refractive_index": ("dielectric_electronic", "dielectric_total"),
}


@dataclass(kw_only=True)
class Material:
    """One material id with the structure kept and the labels of every table.

    Attributes:
        id: Materials Project id.
        structure: the structure of the first table that has it.
        tables: tables it was found in.
        labels: values by column name.
    """

    id: str
    structure: Structure
    tables: list[str] = field(default_factory=list)
    labels: dict[str, float] = field(default_factory=dict)


def fetch(folder: Path) -> Path:
    """Download the sdist with pip, without installing or building it."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, "-d", str(folder), SDIST], check=True)
    return next(folder.glob("matminer-*.tar.gz"))


def read_tables(sdist: Path) -> dict[str, pd.DataFrame]:
    """Read the four CSV members of the sdist, after checking its checksum.

    Raises:
        SystemExit: if the file is not the published sdist.
    """
    found = hashlib.sha256(sdist.read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{sdist} has sha256 {found}, expected {SHA256} ({SDIST})")
    tables = {}
    with tarfile.open(sdist) as archive:
        for name in LABELS:
            member = archive.extractfile(f"matminer-0.4.0/matminer/datasets/{name}.csv")
            if member is None:
                raise SystemExit(f"{sdist} holds no table {name}.csv")
            tables[name] = pd.read_csv(io.BytesIO(member.read()), comment=None, skiprows=1)
    return tables


def parse_structure(row: pd.Series, table: str) -> Structure:
    """A pymatgen structure from a row: a dictionary literal for flla, POSCAR text elsewhere."""
    if table == "flla_2015":
        data = ast.literal_eval(row["structure"])
        species = [{s["element"]: s["occu"] for s in site["species"]} for site in data["sites"]]
        coords = [site["abc"] for site in data["sites"]]
        return Structure(data["lattice"]["matrix"], species, coords)
    return Poscar.from_str(row["poscar"]).structure


def merge(tables: dict[str, pd.DataFrame], log: list[str]) -> dict[str, Material]:
    """Merge the tables by material id; a label is dropped when its own cell disagrees."""
    materials: dict[str, Material] = {}
    for table, frame in tables.items():
        for _, row in frame.iterrows():
            structure = parse_structure(row, table)
            labels = {new: float(row[old]) for old, new in LABELS[table].items()}
            known = materials.setdefault(
                row["material_id"], Material(id=row["material_id"], structure=structure)
            )
            reason = disagreement(known.structure, structure)
            if reason:
                log.append(f"label dropped  {known.id}: {table} {reason} ({known.tables[0]})")
                continue
            known.tables.append(table)
            known.labels.update(labels)
    return materials


def disagreement(kept: Structure, other: Structure) -> str:
    """Why two tables' structures of one id are not the same crystal, or an empty string."""
    if kept.composition.reduced_formula != other.composition.reduced_formula:
        return f"holds {other.composition.reduced_formula}, not {kept.composition.reduced_formula}"
    ratio = (other.volume / len(other)) / (kept.volume / len(kept))
    if abs(ratio - 1) > VOLUME_TOLERANCE:
        return f"has {ratio:.2f} times the volume per atom"
    return ""


def drop_invalid(materials: dict[str, Material], log: list[str]) -> list[Material]:
    """Leave out structures that are too large, disordered, overlapping or unreasonably thin."""
    kept = []
    for material in materials.values():
        structure = material.structure
        reason = ""
        if len(structure) > MAX_SITES:
            reason = f"{len(structure)} sites, at most {MAX_SITES}"
        elif not structure.is_ordered:
            reason = "partial occupancy in a calculated structure"
        elif len(structure) > 1 and closest(structure) < MIN_DISTANCE:
            reason = f"two sites {closest(structure):.2f} angstrom apart"
        if reason:
            log.append(
                f"crystal dropped {material.id} {structure.composition.reduced_formula}: {reason}"
            )
        else:
            kept.append(material)
    return kept


def closest(structure: Structure) -> float:
    """Smallest distance between two sites in angstrom."""
    distances = structure.distance_matrix
    return float(distances[~np.eye(len(structure), dtype=bool)].min())


def drop_duplicates(materials: list[Material], log: list[str]) -> list[Material]:
    """Keep one of each set of equal crystals under several ids: the one with most labels.

    Two crystals are equal when they match within 2 % of length and 1 degree without rescaling.
    """
    matcher = StructureMatcher(ltol=0.02, stol=0.05, angle_tol=1, scale=False)
    kept = []
    by_formula = sorted(materials, key=formula_of)
    for formula, group in itertools.groupby(by_formula, key=formula_of):
        distinct: list[Material] = []
        for material in sorted(group, key=lambda m: (-len(m.labels), id_number(m.id))):
            twin = next((m for m in distinct if matcher.fit(m.structure, material.structure)), None)
            if twin is None:
                distinct.append(material)
            else:
                log.append(f"duplicate      {material.id} {formula}: the same crystal as {twin.id}")
        kept.extend(distinct)
    return sorted(kept, key=lambda m: id_number(m.id))


def formula_of(material: Material) -> str:
    """Reduced formula in pymatgen's order."""
    return str(material.structure.composition.reduced_formula)


def id_number(identifier: str) -> tuple[str, int]:
    """Sort key of ids such as ``mp-149`` and ``mvc-3``."""
    prefix, number = identifier.rsplit("-", 1)
    return prefix, int(number)


def clear_outliers(materials: list[Material], log: list[str]) -> None:
    """Empty labels outside BOUNDS, and those of the same calculation."""
    for material in materials:
        for name, value in list(material.labels.items()):
            low, high = BOUNDS[name]
            if not low <= value <= high:
                for other in (name, *DEPENDENT.get(name, ())):
                    material.labels.pop(other, None)
                log.append(
                    f"label emptied  {material.id} {formula_of(material)}: "
                    f"{name} = {value:g} outside [{low:g}, {high:g}]"
                )


def split_of(formula: str) -> str:
    """train, val or test (70, 10, 20 %) by a hash of the formula: a formula is in one part."""
    fraction = int(hashlib.sha256(formula.encode()).hexdigest()[:8], 16) / 2**32
    return "train" if fraction < 0.7 else "val" if fraction < 0.8 else "test"


def to_table(materials: list[Material]) -> pa.Table:
    """The structure table; lengths rounded to 1e-6 angstrom, the precision of the source."""
    structures = [m.structure for m in materials]
    formulas = [formula_of(m) for m in materials]
    matrix = pa.list_(pa.list_(pa.float64()))
    data = {
        "immutable_id": pa.array([m.id for m in materials]),
        "source_tables": pa.array(["+".join(m.tables) for m in materials]),
        "chemical_formula_reduced": pa.array(formulas),
        "nelements": pa.array([len(s.composition.elements) for s in structures], pa.int16()),
        "nsites": pa.array([len(s) for s in structures], pa.int16()),
        "lattice_vectors": pa.array([rounded(s.lattice.matrix) for s in structures], matrix),
        "cartesian_site_positions": pa.array([rounded(s.cart_coords) for s in structures], matrix),
        "species_at_sites": pa.array([[str(site.specie) for site in s] for s in structures]),
    }
    for name in COLUMNS:
        data[name] = pa.array([m.labels.get(name) for m in materials], pa.float64())
    data["split"] = pa.array([split_of(f) for f in formulas])
    return pa.table(data)


def rounded(matrix: np.ndarray) -> list[list[float]]:
    """Rounded to six decimals, with no negative zeros."""
    return (np.round(matrix, 6) + 0.0).tolist()


def summary(table: pa.Table) -> Iterator[str]:
    """Lines that describe the table: counts, ranges, splits."""
    formulas = pc.count_distinct(table["chemical_formula_reduced"]).as_py()
    yield f"{table.num_rows} crystals, {formulas} formulas"
    for name in COLUMNS:
        values = table[name].drop_null().to_numpy()
        quantiles = "  ".join(f"{q:8.3f}" for q in np.percentile(values, [0, 5, 50, 95, 100]))
        yield f"{name:28s}{len(values):6d}  {quantiles}"
    for part in ("train", "val", "test"):
        chosen = table.filter(pc.equal(table["split"], part))
        labelled = chosen.num_rows - chosen["formation_energy_per_atom"].null_count
        yield f"{part:28s}{chosen.num_rows:6d}  {labelled} with a formation energy"


def main() -> None:
    """Build the table and print what was done."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sdist", type=Path, help="matminer-0.4.0.tar.gz; fetched when not given")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)  # pymatgen: elements without radii

    log: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        tables = read_tables(arguments.sdist or fetch(Path(folder)))
    merged = merge(tables, log)
    materials = drop_duplicates(drop_invalid(merged, log), log)
    clear_outliers(materials, log)
    table = to_table(materials)
    partial = arguments.out.with_name(arguments.out.name + ".partial")
    pq.write_table(table, partial, compression="zstd", compression_level=19, version="2.6")
    partial.replace(arguments.out)

    print("\n".join(log))
    print(f"\n{sum(len(t) for t in tables.values())} rows, {len(merged)} material ids")
    print("\n".join(summary(table)))
    digest = hashlib.sha256(arguments.out.read_bytes()).hexdigest()
    print(f"{arguments.out}: {arguments.out.stat().st_size} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
