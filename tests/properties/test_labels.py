"""Labels from columns and tables: matching, bounds, units, what is not used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crystalssl.errors import InputError, UnknownNameError
from crystalssl.properties.labels import LabelSource, read_labels
from crystalssl.properties.matching import joined_groups, match_ids
from crystalssl.properties.numbers import parse_number, unit_of
from crystalssl.properties.tables import read_cells
from crystalssl.structures.crystals import Crystals
from small_properties import labelled, write_labels


@pytest.fixture
def crystals() -> Crystals:
    return replace(labelled(4), ids=np.array(["a", "b", "c", "d"]), columns=None)


def source(path: Path, target: str = "y (eV)", **more: str) -> LabelSource:
    return LabelSource(target=target, file=path, **more)


def test_bounds_are_counted_and_are_no_values(crystals: Crystals, tmp_path: Path) -> None:
    rows = [("a", "1e-3"), ("b", "<1E-10"), ("c", "≥ 2"), ("d", "0.5")]
    path = write_labels(tmp_path / "y.csv", ["id", "y (eV)"], rows)
    labels = read_labels(crystals, source(path))
    assert [bound.below for bound in labels.bounds] == [True, False]
    assert np.isnan(labels.values[[1, 2]]).all()
    np.testing.assert_allclose(labels.values[[0, 3]], [1e-3, 0.5])
    assert any("2 labels are bounds" in note for note in labels.notes)


def test_what_matches_neither_side_is_listed_with_its_label(
    crystals: Crystals, tmp_path: Path
) -> None:
    rows = [("a", "1"), ("b", "high"), ("stranger", "7"), ("c", "n/a")]
    path = write_labels(tmp_path / "y.csv", ["id", "y (eV)"], rows)
    listed = {(u.id, u.side, u.text) for u in read_labels(crystals, source(path)).unmatched}
    assert listed == {
        ("stranger", "label", "7"),
        ("b", "label", "high"),
        ("c", "structure", ""),
        ("d", "structure", ""),
    }


def test_ids_match_file_names_stems_and_other_case_but_never_two_structures(
    crystals: Crystals,
) -> None:
    files = pa.table({"source_file": ["x/First.cif", "x/two.cif", "x/two.cif", "y/d.cif"]})
    carried = crystals.with_columns(files)
    assert match_ids(["First.cif", "first", "A", "two", "d.vasp", ""], carried).tolist() == [
        0, 0, 0, -1, 3, -1,
    ]  # fmt: skip


def test_groups_of_the_user_and_formulas_are_both_kept_together() -> None:
    formulas = np.array(["NaCl", "NaCl", "MgO", "MgO", "Si"])
    given = np.array(["lab 1", "lab 2", "lab 2", "lab 3", "lab 4"])
    assert joined_groups(formulas, given).tolist() == ["0", "0", "0", "0", "1"]


def test_several_values_of_one_crystal_become_their_mean(
    crystals: Crystals, tmp_path: Path
) -> None:
    path = write_labels(tmp_path / "y.csv", ["id", "y (eV)"], [("a", "1"), ("a", "3")])
    assert read_labels(crystals, source(path)).values[0] == 2.0


def test_a_label_over_many_decades_gets_the_offer_of_its_logarithm(
    crystals: Crystals, tmp_path: Path
) -> None:
    rows = [("a", "1e-9"), ("b", "1e-2"), ("c", "0"), ("d", "1e-5")]
    path = write_labels(tmp_path / "y.csv", ["id", "s (S/cm)"], rows)
    notes = read_labels(crystals, source(path, "s (S/cm)")).notes
    assert not any("log10" in note for note in notes), "zero has no logarithm"
    path = write_labels(tmp_path / "y.csv", ["id", "s (S/cm)"], [rows[0], rows[1], rows[3]])
    notes = read_labels(crystals, source(path, "s (S/cm)")).notes
    assert any("7.0 decades" in note and "log10(s (S/cm))" in note for note in notes)
    logarithm = read_labels(crystals, source(path, "log10(s (S/cm))"))
    np.testing.assert_allclose(logarithm.values[[0, 1, 3]], [-9, -2, -5])
    assert logarithm.unit == "log10 S/cm"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5e-3", 1.5e-3), ("2.31(4)", 2.31), ("0.5 ± 0.1", 0.5), ("1,5", 1.5), ("1,234", None),
        ("\u22122", -2.0), ("inf", None), ("nan", None), ("1e999", None), ("3 eV", None),
        ("", None), ("0x10", None), ("1_000", None),
    ],
)  # fmt: skip
def test_numbers_are_read_as_people_write_them(text: str, value: float | None) -> None:
    assert parse_number(text) == value


@pytest.mark.parametrize(
    ("name", "unit"),
    [("E [GPa]", "GPa"), ("gap_eV", "eV"), ("Ionic conductivity (S cm-1)", "S cm-1"), ("x", "")],
)
def test_a_unit_stands_at_the_end_of_a_name(name: str, unit: str) -> None:
    assert unit_of(name) == unit


def test_an_unknown_column_names_the_nearest(crystals: Crystals, tmp_path: Path) -> None:
    path = write_labels(tmp_path / "y.csv", ["id", "band_gap"], [("a", "1")])
    with pytest.raises(UnknownNameError, match="Did you mean 'band_gap'"):
        read_labels(crystals, source(path, "bandgap"))


def test_ids_of_other_structures_say_what_both_sides_look_like(
    crystals: Crystals, tmp_path: Path
) -> None:
    path = write_labels(tmp_path / "y.csv", ["id", "y"], [("mp-1", "1")])
    with pytest.raises(InputError, match=r"'mp-1'.*'a'"):
        read_labels(crystals, source(path, "y"))


def test_csv_semicolons_parquet_and_excel_give_the_same_cells(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    expected = {"id": ["007", "b"], "y": ["<1E-10", "2"]}
    (tmp_path / "y.csv").write_text("\ufeffid;y\r\n007;<1E-10\r\n\r\nb;2\r\n", encoding="utf-8")
    pq.write_table(pa.table({"id": ["007", "b"], "y": ["<1E-10", "2"]}), tmp_path / "y.parquet")
    book = openpyxl.Workbook()
    for row in (["id", "y"], ["007", "<1E-10"], ["b", 2.0]):
        book.active.append(row)
    book.save(tmp_path / "y.xlsx")
    for ending in ("csv", "parquet", "xlsx"):
        assert read_cells(tmp_path / f"y.{ending}") == expected


@pytest.mark.parametrize("content", ["", "id,y\n", "id,id\na,1\n", "\xff\xfe"])
def test_a_table_that_cannot_be_read_is_an_error_with_a_remedy(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "y.csv"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError):
        read_cells(path)
