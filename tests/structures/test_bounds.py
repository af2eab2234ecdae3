"""Nothing that a file claims takes long or much memory, and no id or name breaks what follows."""

from __future__ import annotations

import csv
import gzip
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from crystalssl.errors import Skip
from crystalssl.files import write_skipped
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.ids import LONGEST, from_line, storable, to_line, unique_ids
from crystalssl.structures.reading import read_structures
from crystalssl.structures.table import read_table, write_table
from crystalssl.structures.transforms import permuted_sites, shifted_origin, supercell_with
from worlds import large_crystals

HEAD = "data_x\n" + "".join(
    f"_cell_{name} {value}\n"
    for name, value in (
        ("length_a", 30), ("length_b", 31), ("length_c", 32),
        ("angle_alpha", 90), ("angle_beta", 90), ("angle_gamma", 90),
    )
)  # fmt: skip
SITES = (
    "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
    "_atom_site_occupancy\n"
)
SECONDS = 10.0


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    start = time.process_time()
    yield
    assert time.process_time() - start < SECONDS


def structure(element: str = "Cs") -> dict[str, object]:
    site = {"species": [{"element": element, "occu": 1}], "abc": [0, 0, 0]}
    return {"lattice": {"matrix": (np.eye(3) * 4).tolist()}, "sites": [site]}


def test_ten_thousand_operations_are_a_skip(tmp_path: Path) -> None:
    shifts = [(a, b, c) for a in range(24) for b in range(24) for c in range(18)]
    rows = "".join(f"'x+{a}/24,y+{b}/24,z+{c}/24'\n" for a, b, c in shifts)
    text = HEAD + "loop_\n_symmetry_equiv_pos_as_xyz\n" + rows + SITES + "Na1 0 0 0 1\n"
    (tmp_path / "a.cif").write_text(text)
    assert "10368 operations" in read_structures([tmp_path / "a.cif"]).skipped[0].reason


def test_twenty_thousand_partial_sites_are_read(tmp_path: Path) -> None:
    frac = np.random.default_rng(0).random((20_000, 3))
    rows = "".join(f"Na{i} {x:.5f} {y:.5f} {z:.5f} 0.5\n" for i, (x, y, z) in enumerate(frac))
    (tmp_path / "a.cif").write_text(HEAD + SITES + rows)
    assert read_structures([tmp_path / "a.cif"]).crystals.site_counts[0] > 19_000


def test_a_header_that_claims_columns_without_end_is_a_skip(tmp_path: Path) -> None:
    pytest.importorskip("ase")
    text = '1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3:x:R:{}\nNa 0 0 0 1\n'
    (tmp_path / "a.xyz").write_text(text.format(10**20) + text.format(1))
    result = read_structures([tmp_path / "a.xyz"])
    assert len(result.crystals) == 1
    assert len(result.skipped) == 1


def test_a_bomb_of_several_members_is_a_skip(tmp_path: Path) -> None:
    member = gzip.compress(bytes(64 * 1024**2))
    (tmp_path / "a.cif.gz").write_bytes(member * 20)
    assert "far more than its size" in read_structures([tmp_path / "a.cif.gz"]).skipped[0].reason


def test_a_pipe_in_a_folder_is_a_skip(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes here")
    os.mkfifo(tmp_path / "a.cif")
    assert "no regular file" in read_structures([tmp_path]).skipped[0].reason


def test_ids_of_every_kind_survive_a_table(tmp_path: Path) -> None:
    names = [
        "",
        "  ",
        "a\nb",
        "x" * 1_000_000,
        "x" * 999_999 + "y",
        "=1+1",
        "\x1b[2J",
        "a\0",
        "\ud800",
    ]
    rows = [{"id": name, "structure": structure()} for name in names]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    crystals = read_structures([tmp_path / "a.json"]).crystals
    assert len(set(crystals.ids.tolist())) == len(names)
    assert max(map(len, crystals.ids.tolist())) <= LONGEST
    back = read_table(write_table(crystals, tmp_path / "a.parquet")).crystals
    assert back.ids.tolist() == crystals.ids.tolist()
    assert [from_line(to_line(name)) for name in back.ids.tolist()] == back.ids.tolist()
    assert not any("\n" in to_line(name) for name in back.ids.tolist())


def test_storable_leaves_good_ids_alone() -> None:
    assert storable("mp-1 é") == "mp-1 é"
    assert unique_ids(["a", "a"]).tolist() == ["a", "a#2"]


def test_a_spreadsheet_and_a_terminal_are_safe_from_skipped_structures(tmp_path: Path) -> None:
    skip = Skip(id="=cmd()", file="-1.5", reason="\x1b]0;x\x07 bad\nline", remedy="@x")
    write_skipped([skip], tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(newline="") as handle:
        row = list(csv.reader(handle))[1]
    assert row == ["'=cmd()", "-1.5", r"\x1b]0;x\x07 bad\nline", "'@x"]


def salt() -> Crystals:
    fcc = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    numbers, occupancy = np.zeros((8, 4), np.int16), np.zeros((8, 4), np.float32)
    numbers[:, 0], occupancy[:, 0] = [11] * 4 + [17] * 4, 1
    return Crystals(
        ids=np.array(["salt"]),
        lattice=np.eye(3)[None] * 5.64,
        offsets=np.array([0, 8]),
        frac_coords=np.concatenate([fcc, fcc + 0.5]),
        numbers=numbers,
        occupancy=occupancy,
    )


def test_a_supercell_of_thousands_of_sites_is_reduced() -> None:
    large = supercell_with(salt(), np.eye(3, dtype=int) * 10)
    large = permuted_sites(shifted_origin(large))
    rattle = np.random.default_rng(0).normal(size=large.frac_coords.shape) * 2e-5
    large.frac_coords[:] += rattle
    result = canonicalize(large)
    assert result.crystals.site_counts.tolist() == [2]
    assert result.symmetry.space_group.tolist() == [225]
    np.testing.assert_allclose(result.crystals.volumes, 5.64**3 / 4, rtol=1e-3)


@pytest.mark.parametrize("cell", [(0.6, 0.7, 3000), (0.6, 500, 3000), (3, 3.1, 250), (2, 2, 1999)])
def test_slender_cells_end(cell: tuple[float, float, float]) -> None:
    crystals = salt().take([0])
    one = Crystals(
        ids=crystals.ids,
        lattice=np.diag(cell)[None],
        offsets=np.array([0, 1]),
        frac_coords=crystals.frac_coords[:1],
        numbers=crystals.numbers[:1],
        occupancy=crystals.occupancy[:1],
    )
    result = canonicalize(one)
    assert len(result.crystals) + len(result.skipped) == 1


def test_crystals_beyond_the_size_of_training_are_flagged() -> None:
    result = canonicalize(large_crystals())
    assert result.beyond_training.tolist() == [True]
    assert "130 sites" in result.notes[0].text


@pytest.mark.parametrize("occupancy", [1.0, 0.005])
def test_many_sites_at_one_place_are_no_search_without_end(occupancy: float) -> None:
    # moyo takes the cube of them; alternatives are searched by a process with a limit of time
    count = 300
    numbers, filled = np.zeros((count, 4), dtype=np.int16), np.zeros((count, 4), dtype=np.float32)
    numbers[:, 0], filled[:, 0] = 11, occupancy
    crystals = Crystals(
        ids=np.array(["a"]),
        lattice=np.diag([5.0, 6.0, 7.0])[None],
        offsets=np.array([0, count]),
        frac_coords=np.zeros((count, 3)),
        numbers=numbers,
        occupancy=filled,
    )
    start = time.monotonic()
    assert len(canonicalize(crystals).crystals) == (occupancy < 1)
    assert time.monotonic() - start < 3 * SECONDS  # wall time, with the other process


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.cif", HEAD.replace("length_a 30", f"length_a 'x{' ' * 100_000}y'") + SITES),
        ("a.cif", HEAD.replace("length_a 30", f"length_a x{' ' * 100_000}y") + SITES),
        ("POSCAR", "x\n1.0\n" + "9" * 100_000 + "\n0 4 0\n0 0 4\nCs\n1\nDirect\n0 0 0\n"),
        ("POSCAR", "x\n1.0\n4 0 0\n0 4 0\n0 0 4\nCs\n1\nDirect\n" + "9" * 100_000 + "\n"),
        ("a.cif", HEAD + "loop_\n_symmetry_equiv_pos_as_xyz\n" + "x y " * 40_000 + "\n" + SITES),
    ],
)
def test_words_without_end_are_a_skip_at_once(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert len(read_structures([tmp_path / name]).skipped) == 1
