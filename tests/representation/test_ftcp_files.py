"""Raw FTCP files: both shapes, ids beside them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crystalssl.errors import InputError
from crystalssl.representation.ftcp_files import load_array

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    return np.load(DATA / "ftcp_pvlab_small.npz")["ftcp"]


@pytest.mark.parametrize("flat", [False, True])
def test_both_shapes_load_memory_mapped(reference: np.ndarray, tmp_path: Path, flat: bool) -> None:
    path = tmp_path / "Train_FTCP_Data.npy"
    np.save(path, reference.reshape(len(reference), -1) if flat else reference)
    loaded = load_array(path)
    assert loaded.array.shape == reference.shape
    assert not loaded.array.flags.writeable
    assert loaded.ids[:3].tolist() == ["0", "1", "2"]
    np.testing.assert_array_equal(loaded.array, reference)


@pytest.mark.parametrize("ending", [".npy", ".csv", ".txt", ".json"])
def test_ids_come_from_the_file_beside(reference: np.ndarray, tmp_path: Path, ending: str) -> None:
    np.save(tmp_path / "x.npy", reference[:2])
    beside = tmp_path / f"x_ids{ending}"
    if ending == ".npy":
        np.save(beside, np.array(["mp-1", "mp-2"]))
    else:
        texts = {
            ".csv": "material_id,y\nmp-1,0\nmp-2,1\n",
            ".txt": "mp-1\nmp-2\n",
            ".json": '["mp-1", "mp-2"]',
        }
        beside.write_text(texts[ending])
    assert load_array(tmp_path / "x.npy").ids.tolist() == ["mp-1", "mp-2"]
    assert load_array(tmp_path / "x.npy", beside).ids.tolist() == ["mp-1", "mp-2"]


def test_a_csv_without_header_is_a_list_of_ids(reference: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", reference[:2])
    (tmp_path / "x_ids.csv").write_text("mp-1\nmp-2\n")
    assert load_array(tmp_path / "x.npy").ids.tolist() == ["mp-1", "mp-2"]


def test_ids_of_another_length_are_refused(reference: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", reference[:2])
    (tmp_path / "x_ids.txt").write_text("a\nb\nc\n")
    with pytest.raises(InputError, match="3 ids for the 2 rows"):
        load_array(tmp_path / "x.npy")


def test_unreadable_ids_are_refused(reference: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", reference[:2])
    np.save(tmp_path / "x_ids.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read"):
        load_array(tmp_path / "x.npy")


@pytest.mark.parametrize("shape", [(2, 398, 63), (2, 25199), (25200,), (2, 400, 63, 1)])
def test_another_shape_is_refused_with_a_remedy(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape, np.float32))
    with pytest.raises(InputError, match=r"expected \(n, 400, 63\) or \(n, 25200\)"):
        load_array(tmp_path / "x.npy")


def test_pickles_archives_and_missing_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "archive.npy.npz", a=np.zeros(2))
    (tmp_path / "text.npy").write_text("no array")
    for name in ("object.npy", "archive.npy.npz", "text.npy", "absent.npy"):
        with pytest.raises(InputError) as caught:
            load_array(tmp_path / name)
        assert "allow_pickle" not in str(caught.value)


def test_an_array_cut_off_is_refused_with_what_to_do(reference: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", reference[:2])
    content = (tmp_path / "x.npy").read_bytes()
    for length in (0, 5000):
        (tmp_path / "x.npy").write_bytes(content[:length])
        with pytest.raises(InputError, match=r"cut off.*numpy.save"):
            load_array(tmp_path / "x.npy")


def test_ids_of_a_csv_may_hold_line_breaks(reference: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", reference[:2])
    (tmp_path / "x_ids.csv").write_text('id,y\n"a\nb",0\nc,1\n')
    assert load_array(tmp_path / "x.npy").ids.tolist() == ["a\nb", "c"]


def test_text_in_an_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((2, 25200), "a"))
    with pytest.raises(InputError, match="expected numbers"):
        load_array(tmp_path / "x.npy")
