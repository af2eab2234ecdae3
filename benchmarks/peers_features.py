"""Features of other programs for a structure table, as files that ``evaluate --also`` takes.

    pip install dscribe chgnet
    python benchmarks/peers_features.py structures.parquet --out FOLDER --kinds soap chgnet

``soap``: averaged SOAP of DScribe, without species channels (``mu2``), one for each weighting of
the neighbours' density by a property of their element, so that its length does not depend on which
elements there are. ``chgnet``: the atoms of CHGNet, a potential that was trained on energies and
forces, before its last layers, by their mean, standard deviation, minimum and maximum. Ordered
crystals alone; the others are left out of the file. CPU milliseconds a crystal are printed.
``--sample train=6000 test=1500`` draws crystals by their column ``split`` first, always the same,
and leaves them in FOLDER as ``structures.parquet``.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pymatgen.core import Structure
from pymatgen.core.periodic_table import Element

from crystalssl.datasets.load import load_valid
from crystalssl.structures.objects import to_pymatgen
from crystalssl.structures.table import write_table

Vector = npt.NDArray[np.float32]
CUTOFF, RADIAL, ANGULAR, WIDTH = 6.0, 8, 6, 0.5
"""Angstrom, radial functions, largest l, and standard deviation of the density in angstrom."""
HEAVIEST = 94


def soap() -> Callable[[Structure], Vector]:
    """Averaged SOAP, its densities weighted by properties of elements."""
    from dscribe.descriptors import SOAP
    from pymatgen.io.ase import AseAtomsAdaptor

    elements = [Element.from_Z(z) for z in range(1, HEAVIEST + 1)]
    properties: list[Callable[[Element], float]] = [
        lambda e: 1.0,
        lambda e: _number(e.X) / 2,
        lambda e: _number(e.atomic_radius_calculated or e.atomic_radius) / 1.5,
        lambda e: _number(e.row) / 4,
        lambda e: _number(e.group) / 9,
    ]
    made = [
        SOAP(
            species=[e.symbol for e in elements], r_cut=CUTOFF, n_max=RADIAL, l_max=ANGULAR,
            sigma=WIDTH, periodic=True, average="inner",
            compression={"mode": "mu2", "species_weighting": {e.symbol: of(e) for e in elements}},
        )
        for of in properties
    ]  # fmt: skip

    def features(structure: Structure) -> Vector:
        atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
        return np.concatenate([one.create(atoms) for one in made]).astype(np.float32)

    return features


def chgnet() -> Callable[[Structure], Vector]:
    """Statistics over atoms of what CHGNet knows of each."""
    import torch
    from chgnet.model.model import CHGNet

    torch.set_num_threads(1)
    model = CHGNet.load(use_device="cpu", verbose=False)

    def features(structure: Structure) -> Vector:
        atoms = model.predict_structure(structure, task="e", return_atom_feas=True)["atom_fea"]
        pooled = [atoms.mean(0), atoms.std(0), atoms.min(0), atoms.max(0)]
        return np.concatenate(pooled).astype(np.float32)

    return features


KINDS: dict[str, Callable[[], Callable[[Structure], Vector]]] = {"soap": soap, "chgnet": chgnet}


def _number(value: object) -> float:
    """A property as a number; 1 where the tables have none."""
    number = float(value) if value is not None else np.nan  # type: ignore[arg-type]
    return number if np.isfinite(number) and number > 0 else 1.0


def sampled(split: npt.NDArray[np.str_], wanted: list[str]) -> npt.NDArray[np.int64]:
    """So many rows of each part, in order."""
    lot = np.random.default_rng(0).permutation(len(split))
    parts = [part.partition("=") for part in wanted]
    chosen = [lot[split[lot] == name][: int(count)] for name, _, count in parts]
    return np.sort(np.concatenate(chosen))


def main() -> None:
    """Compute and write one array for each kind, with the ids beside it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("structures", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--sample", nargs="+", default=[], metavar="SPLIT=N")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    crystals = load_valid([asked.structures]).crystals
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.sample:
        crystals = crystals.take(sampled(crystals.column("split").astype(str), asked.sample))
        write_table(crystals, asked.out / "structures.parquet")
    for kind in asked.kinds:
        features, rows, ids = KINDS[kind](), [], []
        start = time.process_time()
        for row, structure in enumerate(to_pymatgen(crystals)):
            if structure.is_ordered:
                rows.append(features(structure))
                ids.append(str(crystals.ids[row]))
        seconds = (time.process_time() - start) / max(len(rows), 1)
        np.save(asked.out / f"{kind}.npy", np.stack(rows))
        table = "immutable_id\n" + "\n".join(ids) + "\n"
        (asked.out / f"{kind}_ids.csv").write_text(table, encoding="utf-8")
        print(f"{kind}: {len(rows):,} x {rows[0].size}, {1000 * seconds:.0f} ms a crystal")


if __name__ == "__main__":
    main()
