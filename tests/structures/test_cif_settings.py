"""Every setting of every space group, as a CIF names it, against the operations of a database."""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
import spglib

from crystalssl.structures.reading import read_structures

Floats = Any
SETTINGS = list(gemmi.spacegroup_table())


@dataclass(frozen=True)
class Setting:
    """A setting, its operations by spglib where it has them, and a cell that they keep."""

    group: gemmi.SpaceGroup
    rotations: Floats  # (operations, 3, 3)
    translations: Floats  # (operations, 3)
    cell: Floats  # (6,) lengths in angstrom, angles in degrees

    def orbit(self, point: Floats) -> Floats:
        """All different images of a point, in the cell."""
        images = self.rotations @ point + self.translations
        images -= np.floor(images + 1e-7)
        kept: list[Floats] = []
        for image in images:
            apart = np.array([image - other for other in kept]).reshape(-1, 3)
            if not (np.abs(apart - np.rint(apart)).max(axis=1) < 1e-5).any():
                kept.append(image)
        return np.array(kept)

    def special(self, point: Floats, rng: np.random.Generator) -> Floats:
        """A point on a symmetry element near another one; the point itself where there is none."""
        for index in rng.permutation(len(self.rotations)):
            turn, shift = self.rotations[index], self.translations[index]
            images = [point]
            while len(images) < 13:
                images.append(turn @ images[-1] + shift)
                if np.allclose(images[-1], point):
                    break
            if 2 < len(images) < 13:
                return np.mean(images[:-1], axis=0)
        return point


@lru_cache(maxsize=1)
def hall_numbers() -> dict[str, int]:
    """Numbers of spglib's 530 settings by Hall symbol."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about errors of its functions
        kinds = [(number, spglib.get_spacegroup_type(number)) for number in range(1, 531)]
    return {kind.hall_symbol.replace("=", '"').replace("_", " "): number for number, kind in kinds}


def setting(group: gemmi.SpaceGroup) -> Setting:
    number = hall_numbers().get(group.hall)
    if number is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            known = spglib.get_symmetry_from_database(number)
        rotations, translations = known["rotations"].astype(float), known["translations"]
    else:
        operations = list(group.operations())
        rotations = np.array([op.rot for op in operations]) / gemmi.Op.DEN
        translations = np.array([op.tran for op in operations]) / gemmi.Op.DEN
    edges = np.array([[14.1, 0.8, 1.5], [0.7, 16.3, 1.1], [-1.2, 1.6, 19.7]])
    metric = np.mean([turn.T @ edges @ edges.T @ turn for turn in rotations], axis=0)
    lengths = np.sqrt(np.diag(metric))
    cosines = (metric / np.outer(lengths, lengths))[[1, 0, 0], [2, 2, 1]]
    angles = np.degrees(np.arccos(cosines))
    return Setting(group, rotations, translations, np.concatenate([lengths, angles]))


def named(said: Setting) -> list[str]:
    """How a CIF may name the setting: by operations, symbol or Hall symbol."""
    operations = "".join(f"'{op.triplet()}'\n" for op in said.group.operations())
    return [
        f"loop_\n_space_group_symop_operation_xyz\n{operations}",
        f"_symmetry_space_group_name_H-M '{said.group.xhm()}'\n",
        f"_space_group_name_Hall '{said.group.hall}'\n",
    ]


def block(name: str, said: Setting, symmetry: str, point: Floats) -> str:
    tags = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    cell = "".join(f"_cell_{t} {v:.9f}\n" for t, v in zip(tags, said.cell, strict=True))
    sites = "loop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n"
    sites += "_atom_site_fract_y\n_atom_site_fract_z\n"
    return f"data_{name}\n{cell}{symmetry}{sites}Si1 Si {' '.join(f'{x:.8f}' for x in point)}\n"


def same(one: Floats, other: Floats) -> bool:
    """Whether two lists of positions are one set."""
    if len(one) != len(other):
        return False
    apart = one[:, None] - other[None]
    near = np.abs(apart - np.rint(apart)).max(axis=-1) < 2e-4
    return bool((near.sum(axis=0) == 1).all() and (near.sum(axis=1) == 1).all())


def keeps_apart(said: Setting, point: Floats) -> bool:
    """Whether all images are atoms of their own: else the reader rightly joins or moves them."""
    images = said.orbit(point)
    cell = gemmi.UnitCell(*said.cell)
    lattice = np.array(cell.orth.mat.tolist()).T
    apart = images[:, None] - images[None]
    distances = np.linalg.norm((apart - np.rint(apart)) @ lattice, axis=-1)
    return bool((distances + np.eye(len(images)) > 0.6).all())


def points(said: Setting, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A general and a special position."""
    while True:
        general = rng.random(3)
        if len(said.orbit(general)) < len(said.rotations) or not keeps_apart(said, general):
            continue
        special = said.special(general, rng)
        if keeps_apart(said, special):
            return general, special


def wrong_orbits(groups: list[gemmi.SpaceGroup], path: Path) -> list[str]:
    """Settings of which one of six blocks was read as another crystal."""
    rng = np.random.default_rng(7)
    blocks, expected = [], {}
    for group in groups:
        said = setting(group)
        for kind, point in zip(("general", "special"), points(said, rng), strict=True):
            for way, symmetry in zip(("xyz", "hm", "hall"), named(said), strict=True):
                name = f"{len(expected)}-{kind}-{way}"
                blocks.append(block(name, said, symmetry, point))
                expected[name] = (said.group.xhm(), said.orbit(point))
    path.write_text("\n".join(blocks))
    result = read_structures([path])
    crystals = result.crystals
    read = {
        str(name): crystals.frac_coords[crystals.offsets[row] : crystals.offsets[row + 1]]
        for row, name in enumerate(crystals.ids)
    }
    none = np.zeros((0, 3))
    reasons = {skip.id: skip.reason for skip in result.skipped}
    return [
        f"{symbol} ({name}): {len(read.get(name, none))} of {len(orbit)} {reasons.get(name, '')}"
        for name, (symbol, orbit) in expected.items()
        if not same(read.get(name, none), orbit)  # thirds of four digits are completed
    ]


@pytest.mark.parametrize("first", range(2))
def test_every_setting_is_expanded_as_the_database_has_it(first: int, tmp_path: Path) -> None:
    assert len(SETTINGS) == 564
    assert wrong_orbits(SETTINGS[first::48], tmp_path / "settings.cif") == []


if __name__ == "__main__":  # all of them, which takes a minute: scripts/prove.py
    with tempfile.TemporaryDirectory() as folder:
        wrong = wrong_orbits(SETTINGS, Path(folder) / "settings.cif")
    figures = {"settings": len(SETTINGS), "orbits": 6 * len(SETTINGS), "wrong": len(wrong)}
    sys.stdout.write("\n".join([*wrong, json.dumps(figures)]) + "\n")
    sys.exit(bool(wrong))
