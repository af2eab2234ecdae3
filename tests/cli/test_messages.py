"""Bad input: one clear message or one line in skipped.csv, never a traceback, good ones go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crystalssl.datasets.bundled import load_bundled
from crystalssl.representation import ftcp
from crystalssl.structures.table import read_table

CIF = """data_{name}
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
_symmetry_Int_Tables_number 1
loop_
_symmetry_equiv_pos_as_xyz
'x, y, z'
loop_
_atom_site_type_symbol
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""
Sites = list[tuple[object, ...]]
Invoke = Callable[..., Any]
Skipped = Callable[[Path], list[dict[str, str]]]


def cif(sites: Sites, a: float = 4.2, name: str = "bad") -> str:
    lines = [f"{s} {s}{i} {x} {y} {z} 1.0" for i, (s, x, y, z) in enumerate(sites, start=1)]
    return CIF.format(name=name, a=a) + "\n".join(lines) + "\n"


SALT: Sites = [("Na", 0, 0, 0), ("Cl", 0.5, 0.5, 0.5)]


BAD = {
    "empty file": "",
    "truncated": cif(SALT)[:-60].rsplit("\n", 1)[0] + "\nCl Cl2 0.5",
    "cut in the cell": cif(SALT)[:60],
    "question marks": cif([("Na", 0, 0, 0), ("Cl", "?", "?", "?")]),
    "zero volume": cif(SALT, a=0.0),
    "unknown element": cif([("Na", 0, 0, 0), ("Xx", 0.5, 0.5, 0.5)]),
    "overlapping": cif([("Na", 0, 0, 0), ("Cl", 0.01, 0, 0)]),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two good crystals."""
    place = tmp_path / "cifs"
    place.mkdir()
    (place / "a_good.cif").write_text(cif(SALT, name="a_good"))
    (place / "z_good.cif").write_text(cif(SALT, a=5.6, name="z_good"))
    return place


def assert_one_message(result: Any, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.output.count("Error:") == 1
    for word in words:
        assert word in result.output, result.output


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_one_line_in_skipped_and_the_good_ones_are_there(
    text: str, folder: Path, tmp_path: Path, invoke: Invoke, skipped: Skipped
) -> None:
    (folder / "bad.cif").write_text(text)
    out = tmp_path / "out" / "structures.parquet"
    result = invoke("convert", folder, "-o", out)
    assert result.exit_code == 0, result.output
    assert "Traceback" not in result.output
    rows = skipped(out)
    assert len(rows) == 1, rows
    assert "bad" in rows[0]["id"] + rows[0]["file"]
    assert rows[0]["reason"]
    assert rows[0]["remedy"]
    assert "Skipped 1 of 3" in result.output
    assert "skipped.csv" in result.output
    assert len(read_table(out).crystals) == 2


def test_strict_turns_a_skipped_structure_into_an_error(
    folder: Path, tmp_path: Path, invoke: Invoke
) -> None:
    (folder / "bad.cif").write_text("")
    out = tmp_path / "out.parquet"
    assert_one_message(invoke("convert", folder, "-o", out, "--strict"), "--strict", "skipped.csv")
    assert not out.exists()


def test_strict_raw_ftcp_is_not_written_when_a_structure_is_skipped(
    folder: Path, tmp_path: Path, invoke: Invoke
) -> None:
    many = [(s, 0.2 * i, 0.2 * i, 0.2 * i) for i, s in enumerate(["Na", "K", "Cl", "Br", "I"])]
    (folder / "five_elements.cif").write_text(cif(many, a=9.0))
    out = tmp_path / "raw" / "ftcp.npy"
    assert_one_message(invoke("ftcp", folder, "-o", out, "--strict"), "--strict", "4 elements")
    assert [path.name for path in out.parent.iterdir()] == ["ftcp.npy.skipped.csv"]


@pytest.mark.parametrize(
    ("command", "said"),
    [("pretrain", "goes on from the last"), ("run", "does the rest"), ("convert", "Stopped.\n")],
)
def test_a_stopped_command_says_how_to_go_on(
    command: str, said: str, folder: Path, tmp_path: Path, invoke: Invoke,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crystalssl.datasets.load.load_crystals", stopped)
    result = invoke(*commands(folder, tmp_path)[command])
    assert result.exit_code == 130
    assert said in result.output


def test_only_bad_structures_are_an_error_that_names_the_first(
    tmp_path: Path, invoke: Invoke
) -> None:
    bad = tmp_path / "bad.cif"
    bad.write_text(BAD["overlapping"])
    result = invoke("convert", bad, "-o", tmp_path / "out.parquet")
    assert_one_message(result, "The only structure cannot be used", "angstrom")
    assert ". Remove the doubled atom, or give alternatives partial occupancies. All:" in (
        result.output
    )


def test_an_old_list_of_skipped_structures_is_removed_when_all_are_good(
    folder: Path, tmp_path: Path, invoke: Invoke
) -> None:
    (folder / "bad.cif").write_text("")
    out = tmp_path / "out" / "structures.parquet"
    invoke("convert", folder, "-o", out)
    (folder / "bad.cif").unlink()
    assert invoke("convert", folder, "-o", out).exit_code == 0
    assert [path.name for path in out.parent.iterdir()] == ["structures.parquet"]


def test_nan_in_an_array_is_one_line_in_skipped(
    tmp_path: Path, invoke: Invoke, skipped: Skipped
) -> None:
    crystals = load_bundled().take(range(6))
    array = ftcp.encode(crystals).array
    array[2, 110, 1] = np.nan
    np.save(tmp_path / "arrays.npy", array.reshape(len(array), -1))
    out = tmp_path / "out" / "structures.parquet"
    result = invoke("convert", tmp_path / "arrays.npy", "-o", out)
    assert result.exit_code == 0, result.output
    assert len(skipped(out)) == 1
    assert len(read_table(out).crystals) == len(array) - 1


@pytest.mark.parametrize("shape", [(3, 400, 60), (3, 1000), (400, 63)])
def test_an_array_of_another_shape_is_one_message(
    shape: tuple[int, ...], tmp_path: Path, invoke: Invoke
) -> None:
    np.save(tmp_path / "array.npy", np.zeros(shape, dtype=np.float32))
    result = invoke("convert", tmp_path / "array.npy", "-o", tmp_path / "out.parquet")
    assert_one_message(result, "400", "63", str(shape[-1]))


def test_a_missing_source_is_one_message(tmp_path: Path, invoke: Invoke) -> None:
    result = invoke("convert", tmp_path / "nowhere.cif", "-o", tmp_path / "out.parquet")
    assert_one_message(result, "nowhere.cif")


def test_a_missing_column_is_one_message_with_the_closest_name(
    tmp_path: Path, invoke: Invoke
) -> None:
    from crystalssl.structures.table import write_table

    table = write_table(load_bundled().take(range(12)), tmp_path / "few.parquet")
    result = invoke("run", table, "--target", "band_gab", "--out", tmp_path / "run")
    assert_one_message(result, "band_gab", "band_gap")


def commands(table: Path, out: Path) -> dict[str, list[object]]:
    return {
        "run": ["run", table, "--out", out / "run"],
        "convert": ["convert", table, "-o", out / "a.parquet"],
        "ftcp": ["ftcp", table, "-o", out / "a.npy"],
        "panel": ["panel", table, "-o", out / "a.npy"],
        "pretrain": ["pretrain", table, "--out", out / "run"],
        "extract": ["extract", table, "-o", out / "a.parquet"],
    }


@pytest.mark.parametrize("name", ["run", "convert", "ftcp", "panel", "pretrain", "extract"])
def test_a_folder_that_cannot_be_written_is_said_before_any_work(
    name: str, folder: Path, tmp_path: Path, invoke: Invoke
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, so that no folder can be made below it, even by root")
    result = invoke(*commands(folder, blocked)[name])
    assert_one_message(result, "Cannot write", "blocked")


def test_an_unknown_block_is_one_message_with_the_closest_name(
    folder: Path, tmp_path: Path, invoke: Invoke
) -> None:
    result = invoke("pretrain", folder, "--block", "latice", "--out", tmp_path / "run")
    assert_one_message(result, "latice", "Did you mean", "lattice")


def test_an_unknown_preset_is_one_message(folder: Path, tmp_path: Path, invoke: Invoke) -> None:
    result = invoke("pretrain", folder, "--preset", "quik", "--out", tmp_path / "run")
    assert_one_message(result, "quik", "quick")


def test_debug_shows_the_traceback_wherever_it_stands(tmp_path: Path, invoke: Invoke) -> None:
    words = ["convert", tmp_path / "nowhere.cif", "-o", tmp_path / "out.parquet"]
    for place in ([*words, "--debug"], ["--debug", *words]):
        result = invoke(*place)
        assert result.exit_code == 1
        assert "nowhere.cif" in str(result.exception)


def test_nothing_to_read_is_one_message(tmp_path: Path, invoke: Invoke) -> None:
    (tmp_path / "empty").mkdir()
    result = invoke("convert", tmp_path / "empty", "-o", tmp_path / "out.parquet")
    assert_one_message(result, "Found no structures")


def test_too_few_crystals_to_train_on_are_one_message(
    folder: Path, tmp_path: Path, invoke: Invoke
) -> None:
    result = invoke("run", folder, "--pretrain", "--out", tmp_path / "run")
    assert_one_message(result, "Pre-training needs crystals")


def test_a_wrong_option_is_explained_with_the_usage(invoke: Invoke) -> None:
    result = invoke("convert", "--strickt")
    assert result.exit_code == 2
    assert "Usage" in result.output
    assert "--strict" in result.output


def test_a_bug_is_one_message_that_asks_for_a_report(
    folder: Path, tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("crystalssl.structures.table.write_table", broken)
    result = invoke("convert", folder, "-o", tmp_path / "out.parquet")
    assert result.exit_code == 1
    assert "ZeroDivisionError: oops" in result.output
    assert "--debug" in result.output
    assert "Traceback" not in result.output


def test_features_that_do_not_exist_are_one_message(tmp_path: Path, invoke: Invoke) -> None:
    words = ["evaluate", "linear-probe", tmp_path / "no.parquet", "-s", tmp_path, "-t", "x"]
    assert_one_message(invoke(*words, "--out", tmp_path / "out"), "no.parquet")


def test_an_output_of_unknown_format_is_said_before_any_work(
    folder: Path, tmp_path: Path, invoke: Invoke
) -> None:
    result = invoke("convert", folder, "-o", tmp_path / "out.csv")
    assert_one_message(result, ".csv", ".parquet")
