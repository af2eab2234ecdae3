"""Which threshold separates near-duplicates: copies of crystals, and polymorphs as StructureMatcher
sees them.

Run: python benchmarks/duplicates.py STRUCTURES [--copies 200] [--pairs 400]. Copies must be found:
sites moved by 0.01 angstrom, strained by 1 %, supercells, other settings. Pairs of entries with one
formula are judged by pymatgen's StructureMatcher with its own tolerances. Prints a Markdown table;
docs/search.md shows it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import combinations

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher

from crystalssl.pipeline import extract
from crystalssl.search.axes import fit_axes
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.formulas import reduced_formulas
from crystalssl.structures.table import read_table
from crystalssl.structures.transforms import disguised, supercell

THRESHOLDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
MOST_SITES = 24


def rattled(crystals: Crystals, seed: int = 0, step: float = 0.01) -> Crystals:
    """Every site moved by ``step`` angstrom in a random direction."""
    moves = np.random.default_rng(seed).normal(size=crystals.frac_coords.shape)
    moves *= step / np.linalg.norm(moves, axis=1, keepdims=True)
    inverse = np.linalg.inv(crystals.lattice)[crystals.crystal_of_site]  # (site, 3, 3)
    return replace(
        crystals, frac_coords=crystals.frac_coords + np.einsum("si,sij->sj", moves, inverse)
    )


def strained(crystals: Crystals, seed: int = 0, size: float = 0.01) -> Crystals:
    """Every cell under a random symmetric strain whose largest principal value is ``size``."""
    strain = np.random.default_rng(seed).normal(size=(len(crystals), 3, 3))
    strain += strain.transpose(0, 2, 1)
    strain *= size / np.abs(np.linalg.eigvalsh(strain)).max(axis=1)[:, None, None]
    return replace(crystals, lattice=crystals.lattice @ (np.eye(3) + strain))


def expanded(crystals: Crystals, seed: int = 0) -> Crystals:
    """Every cell longer by 1 % along each axis."""
    return replace(crystals, lattice=crystals.lattice * 1.01)


COPIES = {
    "moved by 0.01 angstrom": rattled, "strained by 1 %": strained, "longer by 1 %": expanded,
    "supercell": supercell, "other setting": disguised,
}  # fmt: skip


def main() -> None:
    """Measure distances of copies and of pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("structures")
    parser.add_argument("--copies", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=400)
    options = parser.parse_args()
    everything = read_table(options.structures).crystals.with_columns(None)
    everything = everything.take(np.flatnonzero(everything.site_counts <= MOST_SITES))
    formulas = reduced_formulas(everything)
    random = np.random.default_rng(0)
    order = np.argsort(formulas, kind="stable")
    groups = np.split(order, np.flatnonzero(formulas[order][1:] != formulas[order][:-1]) + 1)
    pairs = [pair for group in groups for pair in combinations(group.tolist(), 2)]
    pairs = [pairs[at] for at in np.sort(random.permutation(len(pairs))[: options.pairs])]
    some = np.sort(random.permutation(len(everything))[: options.copies])
    rows = np.unique(np.concatenate([some, np.array(pairs).ravel()]))
    originals = everything.take(rows)
    features = extract(originals, threads=1)
    axes = fit_axes(features.matrix, "scale")
    coordinates = dict(zip(features.ids.tolist(), axes.transform(features.matrix), strict=True))

    def distance(first: str, point: np.ndarray) -> float:
        return float(np.sqrt(((coordinates[first] - point) ** 2).sum()))

    lines = {}
    for name, change in COPIES.items():
        copies = extract(change(everything.take(some)), threads=1)
        points = axes.transform(copies.matrix)
        there = [row for row, i in enumerate(copies.ids.tolist()) if i in coordinates]
        lines[name] = np.array([distance(str(copies.ids[row]), points[row]) for row in there])
    matcher = StructureMatcher()
    same, far = [], []
    for first, second in pairs:
        names = [str(everything.ids[row]) for row in (first, second)]
        if all(name in coordinates for name in names):
            cells = everything.take([first, second]).to_pymatgen()
            same.append(matcher.fit(*cells))
            far.append(distance(names[0], coordinates[names[1]]))
    matched, distances = np.array(same, bool), np.array(far)
    lines["same formula, matched"] = distances[matched]
    lines["same formula, not matched"] = distances[~matched]
    heads = " | ".join(f"{t:g}" for t in THRESHOLDS)
    print(f"| pairs | number | median | 95th percentile | {heads} |")
    print("|---" * (4 + len(THRESHOLDS)) + "|")
    for name, values in lines.items():
        within = " | ".join(f"{100 * np.mean(values <= t):.0f} %" for t in THRESHOLDS)
        ends = np.quantile(values, [0.5, 0.95])
        print(f"| {name} | {len(values)} | {ends[0]:.3f} | {ends[1]:.3f} | {within} |")
    precise = [
        f"{100 * matched[distances <= t].mean():.0f} %" if (distances <= t).any() else "-"
        for t in THRESHOLDS
    ]
    print(f"| of same formula within, matched | | | | {' | '.join(precise)} |")


if __name__ == "__main__":
    main()
