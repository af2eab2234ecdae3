"""Near-duplicates and novelty against every distance, with copies that were planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from crystalssl.errors import InputError
from crystalssl.features.features import Features
from crystalssl.features.store import save_features
from crystalssl.pipeline import duplicates, novelty
from crystalssl.search import duplicates as search
from crystalssl.search.axes import fit_axes
from crystalssl.search.novelty import find_novel

COUNT, WIDTH = 300, 48


def features(seed: int = 0, prefix: str = "mp-", count: int = COUNT) -> Features:
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(count, 16)) @ np.random.default_rng(9).normal(size=(16, WIDTH))
    ids = np.array([f"{prefix}{row}" for row in range(count)])
    return Features(ids=ids, blocks={"sites": matrix.astype(np.float32)})


def with_copies(source: Features, rows: list[int], prefix: str) -> Features:
    """The crystals of some rows, all but unchanged, after other ones."""
    copies = source.matrix[rows] * np.float32(1 + 1e-4)
    matrix = np.concatenate([features(5, count=60).matrix, copies])
    ids = np.array([f"{prefix}{row}" for row in range(len(matrix))])
    return Features(ids=ids, blocks={"sites": matrix})


@pytest.mark.parametrize("held", [2**20, 70 * WIDTH], ids=["one piece", "pieces"])
@pytest.mark.parametrize("stored", [False, True], ids=["in memory", "in a file"])
def test_pairs_are_those_of_all_distances(tmp_path: Path, held: int, stored: bool) -> None:
    table = features()
    axes = fit_axes(table.matrix, "standardise")
    source = save_features(table, tmp_path / "features.parquet") if stored else table
    answer = search.find_duplicates(source, threshold=0.8, axes=axes, held=held)
    coordinates = axes.transform(table.matrix)
    every = cdist(coordinates, coordinates)
    first, second = np.nonzero(np.triu(every <= 0.8, 1))
    assert len(first) > 50
    expected = {(f"mp-{a}", f"mp-{b}"): every[a, b] for a, b in zip(first, second, strict=True)}
    pairs = list(zip(answer.first.tolist(), answer.second.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert set(pairs) == set(expected)
    np.testing.assert_allclose(answer.distances, [expected[p] for p in pairs], rtol=1e-5)


def test_planted_copies_in_another_table_are_the_only_pairs() -> None:
    known = features()
    others = with_copies(known, [3, 200], "new-")
    axes = fit_axes(known.matrix, "standardise")
    answer = search.find_duplicates(known, others, threshold=0.02, axes=axes)
    pairs = set(zip(answer.first.tolist(), answer.second.tolist(), strict=True))
    assert pairs == {("mp-3", "new-60"), ("mp-200", "new-61")}


def test_too_many_pairs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_PAIRS", 10)
    table = features()
    axes = fit_axes(table.matrix, "standardise")
    with pytest.raises(InputError, match="smaller --threshold"):
        search.find_duplicates(table, threshold=5, axes=axes)


def test_a_crystal_is_novel_unless_known_and_unique_unless_an_earlier_one_is_the_same() -> None:
    known = features()
    made = with_copies(known, [3, 200, 3], "new-")
    axes = fit_axes(known.matrix, "standardise")
    answer = find_novel(known, made, threshold=0.02, axes=axes)
    assert answer.ids[~answer.novel].tolist() == ["new-60", "new-61", "new-62"]
    assert answer.nearest[~answer.novel].tolist() == ["mp-3", "mp-200", "mp-3"]
    assert answer.ids[~answer.unique].tolist() == ["new-62"]
    assert answer.repeats[-1] == "new-60"


def test_commands_write_what_they_list(tmp_path: Path) -> None:
    known = save_features(features(), tmp_path / "known.parquet")
    made = save_features(with_copies(features(), [3, 3], "new-"), tmp_path / "made.parquet")
    pairs = duplicates(known, made, out=tmp_path / "pairs.csv")
    assert pairs.table["first"].to_pylist() == ["mp-3", "mp-3"]
    assert (tmp_path / "pairs.csv").read_text().count("\n") == 3
    new = novelty(made, against=known, out=tmp_path / "new.parquet")
    assert new.summary["novel"] == pytest.approx(60 / 62)
    assert new.summary["unique"] == pytest.approx(61 / 62)
    with pytest.raises(InputError, match="expected 0 to below 1"):
        duplicates(known, threshold=1.5)
