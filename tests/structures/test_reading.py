from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from crystalssl.errors import InputError
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.reading import format_of, read_structures
from crystalssl.structures.table import write_table

GOOD = """data_good
_cell_length_a 4.1
_cell_length_b 4.1
_cell_length_c 4.1
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Cs 0 0 0
Cl 0.5 0.5 0.5
"""
BAD = {
    "empty": "",
    "truncated": GOOD[:-10],
    "unknown_coordinate": GOOD.replace("Cl 0.5", "Cl ?"),
    "flat": GOOD.replace("_cell_length_c 4.1", "_cell_length_c 0"),
    "unknown_element": GOOD.replace("Cl 0.5", "Qx 0.5"),
    "beyond_tables": GOOD.replace("Cl 0.5", "Og 0.5"),
    "overlapping": GOOD.replace("Cl 0.5 0.5 0.5", "Cl 0.01 0.0 0.0"),
}


def test_every_kind_of_bad_file_ends_as_one_skip_and_good_ones_go_on(tmp_path: Path) -> None:
    for name, text in BAD.items():
        (tmp_path / f"{name}.cif").write_text(text)
    for name in ("a_first", "m_middle", "z_last"):
        (tmp_path / f"{name}.cif").write_text(GOOD)
    read = read_structures([tmp_path])
    result = canonicalize(read.crystals)
    assert result.crystals.ids.tolist() == ["a_first", "m_middle", "z_last"]
    skipped = read.skipped + result.skipped
    assert sorted(skip.id for skip in skipped) == sorted(BAD)
    for skip in skipped:
        assert skip.file == str(tmp_path / f"{skip.id}.cif")
        assert skip.reason
        assert skip.remedy


def test_a_mix_of_sources_keeps_the_order_and_all_columns(tmp_path: Path, make_crystals) -> None:
    import pyarrow as pa

    table = write_table(
        make_crystals(0).with_columns(pa.table({"gap": [1.0, 2.0, 3.0, 4.0]})),
        tmp_path / "t.parquet",
    )
    (tmp_path / "x.cif").write_text(GOOD)
    result = read_structures([tmp_path / "x.cif", table, tmp_path / "x.cif"])
    assert result.crystals.ids.tolist() == ["x", "c0", "c1", "c2", "c3", "x#2"]
    np.testing.assert_array_equal(
        result.crystals.column("gap"), [np.nan, 1.0, 2.0, 3.0, 4.0, np.nan]
    )
    assert result.crystals.column("source_file")[1] == str(table)


def members() -> dict[str, bytes]:
    poscar = b"CsCl\n1.0\n4 0 0\n0 4 0\n0 0 4\nCs Cl\n1 1\nDirect\n0 0 0\n.5 .5 .5\n"
    return {
        "set/one.cif": GOOD.encode(),
        "set/two.cif.gz": gzip.compress(GOOD.encode()),
        "set/run1/POSCAR": poscar,
        "set/run2/CONTCAR": poscar,
        "set/README.md": b"notes",
        "set/.hidden.cif": GOOD.encode(),
        "__MACOSX/set/._one.cif": b"\0",
        "set/what.res": b"TITL",
    }


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members().items():
            archive.writestr(name, data)
    return path


def tarred(path: Path) -> Path:
    mode = "w:gz" if path.name.endswith("gz") else "w"
    with tarfile.open(path, mode) as archive:
        for name, data in members().items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("set/link.cif")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        outside = tarfile.TarInfo("../outside.cif")
        outside.size = len(GOOD)
        archive.addfile(outside, io.BytesIO(GOOD.encode()))
    return path


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz"])
def test_archives_are_read_without_touching_the_disk(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / name) if name.endswith("zip") else tarred(tmp_path / name)
    result = read_structures([path])
    expected = ["one", "two", "run1", "run2"] + ([] if name.endswith("zip") else ["outside"])
    assert result.crystals.ids.tolist() == expected
    assert [skip.id for skip in result.skipped] == ["what.res"]
    assert list(tmp_path.iterdir()) == [path]
    assert result.crystals.column("source_file")[0] == f"{path}/set/one.cif"


def test_a_folder_gives_the_same_as_its_archive(tmp_path: Path) -> None:
    for name, data in members().items():
        path = tmp_path / "f" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    result = read_structures([tmp_path / "f" / "set"])
    assert sorted(result.crystals.ids.tolist()) == ["one", "run1", "run2", "two"]
    assert [skip.id for skip in result.skipped] == ["what.res"]


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_a_damaged_archive_is_a_skip(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / name) if name.endswith("zip") else tarred(tmp_path / name)
    path.write_bytes(path.read_bytes()[:200])
    result = read_structures([path])
    assert "archive cannot be read" in result.skipped[-1].reason


def test_a_damaged_gzip_is_a_skip(tmp_path: Path) -> None:
    (tmp_path / "a.cif.gz").write_bytes(gzip.compress(GOOD.encode())[:-12])
    (tmp_path / "b.cif.gz").write_bytes(b"plain")
    (tmp_path / "c.cif").write_text(GOOD)
    result = read_structures([tmp_path])
    assert result.crystals.ids.tolist() == ["c"]
    assert [skip.id for skip in result.skipped] == ["a.cif", "b.cif"]


def test_a_bad_table_in_a_folder_is_a_skip_and_named_outright_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"nothing")
    (tmp_path / "c.cif").write_text(GOOD)
    result = read_structures([tmp_path])
    assert result.crystals.ids.tolist() == ["c"]
    assert len(result.skipped) == 1
    with pytest.raises(InputError, match="Parquet"):
        read_structures([tmp_path / "t.parquet"])


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No file or folder"):
        read_structures([tmp_path / "none.cif"])


def test_a_file_of_no_known_format_is_an_error_that_lists_them(tmp_path: Path) -> None:
    (tmp_path / "a.res").write_text("TITL")
    with pytest.raises(InputError, match=r"no known format; expected one of \.cif"):
        read_structures([tmp_path / "a.res"])


def test_nothing_in_a_folder_is_nothing(tmp_path: Path) -> None:
    result = read_structures([tmp_path])
    assert len(result.crystals) == 0
    assert result.skipped == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.CIF", "cif"),
        ("POSCAR", "poscar"),
        ("POSCAR.vasp", "poscar"),
        ("CONTCAR_relaxed", "poscar"),
        ("poscar.cif", "cif"),
        ("x.vasp", "poscar"),
        ("x.txt", ""),
    ],
)
def test_the_format_follows_from_the_name(name: str, kind: str) -> None:
    assert format_of(name) == kind
