"""Smaller number types: how far values move, that reading undoes them, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from crystalssl.errors import InputError, UnknownNameError
from crystalssl.features import writer
from crystalssl.features.features import Features
from crystalssl.features.store import load_features, save_features
from crystalssl.features.writer import write_features

ENDINGS = ["f.parquet", "f.npy"]


@pytest.fixture
def features() -> Features:
    rng = np.random.default_rng(0)
    a = rng.normal(3, 5, (200, 6)).astype(np.float32)
    a[:, 2] = 7.25
    b = rng.normal(0, 1e-3, (200, 4)).astype(np.float32)
    return Features(ids=np.arange(200).astype(str), blocks={"a": a, "b": b})


@pytest.mark.parametrize("name", ENDINGS)
def test_int8_moves_no_value_by_more_than_half_a_step_of_its_column(
    features: Features, tmp_path: Path, name: str
) -> None:
    again = load_features(save_features(features, tmp_path / name, "int8"))
    for block, values in features.blocks.items():
        step = np.ptp(values, axis=0) / 254
        error = np.abs(again.blocks[block] - values)
        assert (error <= 0.501 * step + 1e-6).all()
        assert error.max() > 0
    assert np.array_equal(again.blocks["a"][:, 2], features.blocks["a"][:, 2])
    assert again.ids.tolist() == features.ids.tolist() and again.names == features.names
    assert again.matrix.dtype == np.float32
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("name", ENDINGS)
def test_float16_keeps_three_digits(features: Features, tmp_path: Path, name: str) -> None:
    again = load_features(save_features(features, tmp_path / name, "float16"))
    np.testing.assert_array_equal(
        again.matrix, features.matrix.astype(np.float16).astype(np.float32)
    )


def test_files_are_half_and_a_quarter_as_large(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3000, 64)).astype(np.float32)
    wide = Features(ids=np.arange(3000).astype(str), blocks={"a": values})
    sizes = [
        save_features(wide, tmp_path / f"{dtype}.npy", dtype).stat().st_size
        for dtype in ("float32", "float16", "int8")
    ]
    assert sizes[1] < 0.51 * sizes[0] and sizes[2] < 0.26 * sizes[0]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("name", ENDINGS)
def test_rows_that_come_in_parts_give_the_bytes_of_all_at_once(
    features: Features, tmp_path: Path, name: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "ROWS", 64)
    whole = save_features(features, tmp_path / "whole" / name, dtype)
    ends = ((0, 1), (1, 90), (90, 90), (90, 200))
    batches = (features.take(np.arange(start, stop)) for start, stop in ends)
    assert write_features(tmp_path / "parts" / name, batches, dtype) == 200
    for path in whole.parent.iterdir():
        assert path.read_bytes() == (tmp_path / "parts" / path.name).read_bytes()


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("name", ENDINGS)
def test_nothing_is_left_when_writing_fails(
    features: Features, tmp_path: Path, name: str, dtype: str
) -> None:
    def batches() -> Iterator[Features]:
        yield features
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_features(tmp_path / name, batches(), dtype)
    assert not list(tmp_path.iterdir())


def test_numbers_that_do_not_fit_are_refused(features: Features, tmp_path: Path) -> None:
    large = Features(ids=np.array(["x"]), blocks={"a": np.array([[7e4]], np.float32)})
    with pytest.raises(InputError, match="65504"):
        save_features(large, tmp_path / "f.npy", "float16")
    broken = Features(ids=np.array(["x"]), blocks={"a": np.array([[np.nan]], np.float32)})
    with pytest.raises(InputError, match="not finite"):
        save_features(broken, tmp_path / "f.npy", "int8")
    with pytest.raises(UnknownNameError, match="int4"):
        save_features(features, tmp_path / "f.npy", "int4")
    with pytest.raises(InputError, match="same blocks"):
        write_features(tmp_path / "f.npy", [features, features.only("a")])
    with pytest.raises(InputError, match="no features"):
        write_features(tmp_path / "f.npy", [])


@pytest.mark.parametrize("name", ENDINGS)
def test_no_rows_can_be_stored(features: Features, tmp_path: Path, name: str) -> None:
    none = load_features(save_features(features.take([]), tmp_path / name, "int8"))
    assert len(none) == 0 and none.widths == features.widths
