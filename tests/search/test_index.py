"""Neighbours against brute force of scipy and scikit-learn, and index files against damage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from crystalssl import CrystalIndex
from crystalssl.errors import InputError, MissingExtraError, UnknownNameError
from crystalssl.features.features import Features, Origin
from crystalssl.features.store import save_features
from crystalssl.search import nearest as search
from crystalssl.search import points

COUNT, WIDTH = 600, 24


def some_features(seed: int = 0, count: int = COUNT) -> np.ndarray:
    random = np.random.default_rng(seed)
    latent = random.normal(size=(count, 12))
    return (latent @ random.normal(size=(12, WIDTH)) * 3 + 100).astype(np.float32)


def some_ids(count: int = COUNT) -> list[str]:
    return [f"mp-{number}" for number in range(count)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "BLOCK_ROWS", 64)
    monkeypatch.setattr(search, "BLOCK_QUERIES", 7)


def test_neighbours_are_those_of_brute_force() -> None:
    features = some_features()
    queries = some_features(1, 20)
    answer = CrystalIndex.build(features, some_ids(), standardise="none").query(queries, k=9)
    every = cdist(queries.astype(np.float64), features.astype(np.float64))
    order = np.argsort(every, axis=1)[:, :9]
    assert answer.rows.tolist() == order.tolist()
    np.testing.assert_allclose(answer.distances, np.take_along_axis(every, order, 1), rtol=1e-5)


def test_standardised_distance_is_the_mean_difference_in_standard_deviations() -> None:
    features = some_features()
    answer = CrystalIndex.build(features, some_ids(), standardise="standardise").query(["mp-3"])
    scaled = StandardScaler().fit_transform(features.astype(np.float64))
    every = cdist(scaled[3:4], scaled)[0] / np.sqrt(WIDTH)
    order = np.argsort(every)[1:11]
    assert answer.rows[0].tolist() == order.tolist()
    np.testing.assert_allclose(answer.distances[0], every[order], rtol=1e-4)


def test_whitened_distance_is_that_on_whitened_principal_axes() -> None:
    features = some_features()
    answer = CrystalIndex.build(features, some_ids(), standardise="whiten").query(["mp-3"])
    scaled = StandardScaler().fit_transform(features.astype(np.float64))
    white = PCA(12, whiten=True).fit_transform(scaled)
    every = cdist(white[3:4], white)[0] / np.sqrt(12)
    order = np.argsort(every)[1:11]
    assert answer.rows[0].tolist() == order.tolist()
    np.testing.assert_allclose(answer.distances[0], every[order], rtol=1e-2)


def test_scaled_distance_orders_crystals_as_the_plain_one_does() -> None:
    features = some_features() * np.geomspace(0.1, 10, WIDTH).astype(np.float32)
    scaled = CrystalIndex.build(features, some_ids(), standardise="scale").query(["mp-3"], k=50)
    plain = CrystalIndex.build(features, some_ids(), standardise="none").query(["mp-3"], k=50)
    assert scaled.ids.tolist() == plain.ids.tolist()
    ratio = plain.distances / scaled.distances
    assert np.ptp(ratio) < 1e-3 * ratio.mean()


def test_features_of_known_weights_keep_their_sizes_and_others_are_standardised() -> None:
    known = Features(
        ids=np.array(some_ids()),
        blocks={"sites": some_features()},
        origins=(Origin(weights="default"),),
    )
    assert CrystalIndex.build(known).axes.kind == "scale"
    assert CrystalIndex.build(known.matrix, known.ids).axes.kind == "standardise"


def test_two_crystals_at_random_are_about_1_4_apart() -> None:
    for kind in ("scale", "standardise", "whiten"):
        index = CrystalIndex.build(some_features(), standardise=kind)
        every = cdist(index.coordinates, index.coordinates)
        assert np.sqrt((every**2).mean()) == pytest.approx(np.sqrt(2), rel=0.02), kind


def test_a_difference_that_float32_products_lose_is_still_measured() -> None:
    features = some_features() + 1000
    features[1] = features[0]
    features[1, 5] += np.float32(0.001)
    answer = CrystalIndex.build(features, some_ids(), standardise="none").query("mp-0", k=1)
    assert answer.ids[0, 0] == "mp-1"
    expected = float(features[1, 5]) - float(features[0, 5])
    assert answer.distances[0, 0] == pytest.approx(expected, rel=1e-6)


def test_a_crystal_is_not_its_own_neighbour_but_its_twin_is() -> None:
    features = some_features()
    features[17] = features[4]
    answer = CrystalIndex.build(features, some_ids()).query(["mp-4", "mp-17"], k=3)
    assert answer.ids[:, 0].tolist() == ["mp-17", "mp-4"]
    assert answer.distances[:, 0].tolist() == [0, 0]
    assert not (answer.ids == answer.queries[:, None]).any()


def test_only_rows_that_may_be_neighbours_are() -> None:
    among = np.zeros(COUNT, bool)
    among[[5, 50, 500]] = True
    answer = CrystalIndex.build(some_features(), some_ids()).query(["mp-5"], k=4, among=among)
    assert set(answer.ids[0, :2]) == {"mp-50", "mp-500"}
    assert answer.ids[0, 2:].tolist() == ["", ""]
    assert answer.rows[0, 2:].tolist() == [-1, -1]
    assert np.isinf(answer.distances[0, 2:]).all()


def test_a_graph_finds_nearly_all_that_comparing_every_row_finds() -> None:
    index = CrystalIndex.build(some_features(), some_ids())
    graph, queries = index.with_graph(), some_features(1, 200)
    exact, near = index.query(queries, k=9), graph.query(queries, k=9)
    same = near.rows == exact.rows
    assert same.mean() > 0.95
    assert np.array_equal(near.distances[same], exact.distances[same])
    assert np.array_equal(near.rows, index.with_graph().query(queries, k=9).rows)
    assert "mp-4" not in graph.query("mp-4", k=5).ids
    among = np.arange(COUNT) == 50
    assert graph.query(["mp-5"], k=1, among=among).ids.tolist() == [["mp-50"]]
    assert graph.query("mp-4", k=2 * COUNT).ids[0, COUNT - 1] == ""


def test_a_graph_without_its_package_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'crystalssl\[search\]'"):
        CrystalIndex.build(some_features(), some_ids()).with_graph()


def test_more_neighbours_than_crystals_are_empty() -> None:
    answer = CrystalIndex.build(np.eye(3), ["a", "b", "c"], standardise="none").query("a", k=5)
    assert answer.ids[0].tolist() == ["b", "c", "", "", ""]


def test_neighbours_do_not_depend_on_the_order_of_rows() -> None:
    features, names = some_features(), np.array(some_ids())
    shuffled = np.random.default_rng(3).permutation(COUNT)
    one = CrystalIndex.build(features, names).query(["mp-9"], k=20)
    other = CrystalIndex.build(features[shuffled], names[shuffled]).query(["mp-9"], k=20)
    assert one.ids.tolist() == other.ids.tolist()
    np.testing.assert_allclose(one.distances, other.distances, rtol=1e-4)


def test_a_row_that_is_not_finite_is_left_out_and_named() -> None:
    features = some_features()
    features[3, 2] = np.nan
    index = CrystalIndex.build(features, some_ids())
    assert len(index) == COUNT - 1
    assert [skip.id for skip in index.skipped] == ["mp-3"]
    with pytest.raises(UnknownNameError, match="not finite"):
        index.query(["mp-3"])


def test_errors_say_what_was_expected() -> None:
    index = CrystalIndex.build(some_features(), some_ids())
    with pytest.raises(UnknownNameError, match=r"No crystal 'mp-12x'.*Did you mean 'mp-12'"):
        index.query(["mp-12x"])
    with pytest.raises(InputError, match="expected 1 neighbour"):
        index.query(["mp-1"], k=0)
    with pytest.raises(InputError, match=r"expected \(crystals, 24\)"):
        index.query(np.zeros((1, 7)))
    with pytest.raises(InputError, match="not finite"):
        index.query(np.full((1, WIDTH), np.nan))
    with pytest.raises(InputError, match="one truth value for each"):
        index.query(["mp-1"], among=np.ones(3, bool))
    with pytest.raises(InputError, match="2 ids for 600 rows"):
        CrystalIndex.build(some_features(), ["a", "b"])
    with pytest.raises(UnknownNameError, match="standardise"):
        CrystalIndex.build(some_features(), standardise="whitened")
    with pytest.raises(InputError, match="varies"):
        CrystalIndex.build(np.ones((5, 3)))
    with pytest.raises(InputError, match="expected one at least"):
        CrystalIndex.build(np.ones((0, 3)))


@pytest.mark.parametrize("held", [0, 2**27], ids=["read twice", "read once"])
@pytest.mark.parametrize("ending", [".parquet", ".npy"])
def test_an_index_of_a_features_file_is_that_of_its_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, held: int
) -> None:
    monkeypatch.setattr(points, "HELD", held)
    matrix = some_features()
    matrix[8] = np.inf
    blocks = {"sites": matrix[:, :10], "lattice": matrix[:, 10:]}
    features = Features(ids=np.array(some_ids()), blocks=blocks)
    path = save_features(features, tmp_path / f"features{ending}")
    stored, built = CrystalIndex.load(path), CrystalIndex.build(features)
    np.testing.assert_array_equal(stored.coordinates, built.coordinates)
    assert stored.ids.tolist() == built.ids.tolist()
    assert [skip.id for skip in stored.skipped] == ["mp-8"]


@pytest.mark.parametrize("kind", ["whiten", "standardise", "scale", "none"])
def test_a_saved_index_gives_the_same_neighbours_and_the_same_bytes(
    tmp_path: Path, kind: str
) -> None:
    ids = [f"ü {number}" for number in range(COUNT)]
    index = CrystalIndex.build(some_features(), ids, standardise=kind)
    first, again = index.save(tmp_path / "a.safetensors"), index.save(tmp_path / "b.safetensors")
    assert first.read_bytes() == again.read_bytes()
    loaded = CrystalIndex.load(first)
    queries = some_features(2, 5)
    assert loaded.query(queries).ids.tolist() == index.query(queries).ids.tolist()
    np.testing.assert_array_equal(loaded.query(queries).distances, index.query(queries).distances)


def test_a_damaged_index_is_refused(tmp_path: Path) -> None:
    path = CrystalIndex.build(some_features(), some_ids()).save(tmp_path / "a.safetensors")
    content = bytearray(path.read_bytes())
    for position, text in ((-5, "not those that were written"), (3, "no index")):
        damaged = content.copy()
        damaged[position] ^= 255
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=text):
            CrystalIndex.load(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="no index"):
        CrystalIndex.load(path)
    with pytest.raises(InputError, match="Found no index"):
        CrystalIndex.load(tmp_path / "none.safetensors")


def test_a_search_does_not_wait_for_torch() -> None:
    code = (
        "import sys, numpy as np; from crystalssl import CrystalIndex; "
        "CrystalIndex.build(np.eye(4)).query('1', k=2); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.strip() == "False", done.stderr
