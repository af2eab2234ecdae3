import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crystalssl.errors import InputError, MissingExtraError, UnknownNameError
from crystalssl.features import writer
from crystalssl.features.features import UNTRAINED, Features, Origin, regroup
from crystalssl.features.store import iter_features, load_features, save_features
from crystalssl.files import read_json, write_json


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    blocks = {name: rng.normal(size=(5, w)).astype(np.float32) for name, w in (("b", 3), ("a", 2))}
    return Features(ids=np.array(["x", "y,1", 'z"2', "ü\n3", "5"]), blocks=blocks)


@pytest.mark.parametrize("name", ["f.parquet", "all_ssl_features.npy"])
def test_what_is_saved_comes_back_in_the_same_order(features, tmp_path, name):
    again = load_features(save_features(features, tmp_path / "deep" / name))
    assert again.ids.tolist() == features.ids.tolist()
    assert list(again.blocks) == ["b", "a"] and again.names == features.names
    assert again.matrix.tobytes() == features.matrix.tobytes()
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("name", ["f.parquet", "f.npy"])
def test_saving_twice_gives_the_same_bytes(features, tmp_path, name):
    contents = [save_features(features, tmp_path / d / name).read_bytes() for d in "ab"]
    assert contents[0] == contents[1]


@pytest.mark.parametrize("name", ["f.parquet", "f.npy"])
def test_features_remember_the_weights_they_come_from(features, tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    origins = (
        Origin(weights="default", sha256={"a": "01", "b": "02"}),
        Origin(weights=UNTRAINED),
        Origin(weights=str(tmp_path / "elsewhere"), sha256={"a": "03"}),
    )
    made = replace(features, origins=origins)
    path = save_features(made, tmp_path / "run" / name)
    assert load_features(path).origins == origins
    assert load_features(path).only("a").take([1]).origins == origins


@pytest.mark.parametrize("name", ["f.parquet", "f.npy"])
def test_a_run_beside_its_features_is_found_after_both_were_moved(features, tmp_path, name):
    blocks = tmp_path / "run" / "blocks"
    blocks.mkdir(parents=True)
    made = replace(features, origins=(Origin(weights=str(blocks), sha256={"a": "01"}),))
    save_features(made, tmp_path / "run" / name)
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    (origin,) = load_features(moved / name).origins
    assert origin == Origin(weights=str(moved / "blocks"), sha256={"a": "01"})


@pytest.mark.parametrize("name", ["f.parquet", "f.npy"])
def test_features_of_an_older_version_do_not_know_their_weights(features, tmp_path, name):
    assert load_features(save_features(features, tmp_path / name)).origins == ()


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("name", ["f.parquet", "f.npy"])
def test_crystals_beyond_the_size_of_training_stay_marked(features, tmp_path, name, dtype):
    assert load_features(save_features(features, tmp_path / name)).beyond_training is None
    marked = replace(features, beyond_training=np.arange(5) == 3)
    again = load_features(save_features(marked, tmp_path / name, dtype))
    assert again.beyond_training.tolist() == [False, False, False, True, False]
    assert again.take([3, 0]).only("a").beyond_training.tolist() == [True, False]
    rows = [batch.beyond_training for batch in iter_features(tmp_path / name, rows=2)]
    assert np.concatenate(rows).tolist() == again.beyond_training.tolist()
    regrouped = next(regroup([again.between(0, 2), again.between(2, 5)], 9))
    assert regrouped.beyond_training.tolist() == again.beyond_training.tolist()
    with pytest.raises(InputError, match="2 marks"):
        replace(features, beyond_training=np.zeros(2, bool))


def test_rows_of_which_the_size_is_not_known_are_not_marked(features, tmp_path):
    marked = replace(features, beyond_training=np.ones(5, bool))
    writer.write_features(tmp_path / "f.parquet", [marked, features])
    marks = load_features(tmp_path / "f.parquet").beyond_training
    assert marks is None or marks.tolist() == [True] * 5 + [False] * 5


def test_the_array_is_one_that_numpy_reads(features, tmp_path):
    array = np.load(save_features(features, tmp_path / "f.npy"), allow_pickle=False)
    assert array.dtype == np.float32 and np.array_equal(array, features.matrix)


def test_the_table_has_one_fixed_size_column_a_block(features, tmp_path):
    schema = pq.read_schema(save_features(features, tmp_path / "f.parquet"))
    assert schema.names == ["immutable_id", "b", "a"]
    assert schema.field("b").type == pa.list_(pa.float32(), 3)


def test_an_array_without_names_is_read_as_one_block(tmp_path):
    np.save(tmp_path / "bare.npy", np.ones((3, 4), np.float64))
    bare = load_features(tmp_path / "bare.npy")
    assert bare.ids.tolist() == ["0", "1", "2"] and bare.widths == {"features": 4}


def forget_files(folder):
    """Make the set of an array one of an older version, which does not describe itself."""
    fields = read_json(folder / "f_names.json")
    del fields["files"], fields["version"]
    write_json(fields, folder / "f_names.json")


def test_an_array_of_an_older_version_is_read(features, tmp_path):
    save_features(features, tmp_path / "f.npy")
    forget_files(tmp_path)
    assert load_features(tmp_path / "f.npy").matrix.tobytes() == features.matrix.tobytes()


@pytest.mark.parametrize("name", ["f.npy", "f_ids.csv"])
def test_a_file_of_another_set_is_noticed_though_its_size_is_the_same(features, tmp_path, name):
    save_features(features, tmp_path / "f.npy")
    other = replace(
        features, ids=features.ids[::-1], blocks={n: -v for n, v in features.blocks.items()}
    )
    save_features(other, tmp_path / "other" / "f.npy")
    (tmp_path / "other" / name).replace(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name} is missing or not the file.*Extract again"):
        load_features(tmp_path / "f.npy")
    (tmp_path / "f_names.json").unlink()
    assert load_features(tmp_path / "f.npy").widths == {"features": 5}


def test_a_newer_version_is_refused_by_name(features, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "FEATURES_VERSION", 99)
    for name in ("f.parquet", "f.npy"):
        save_features(features, tmp_path / name)
        with pytest.raises(InputError, match=r"f[._].* has format version 99"):
            load_features(tmp_path / name)


def test_features_become_frames_and_are_shown_in_a_line(features):
    frame = features.to_pandas()
    assert frame.index.tolist() == features.ids.tolist() and frame.index.name == "immutable_id"
    assert frame.columns.tolist() == ["b_0", "b_1", "b_2", "a_0", "a_1"]
    assert np.array_equal(frame.to_numpy(), features.matrix)
    assert repr(features) == "Features(5 crystals x 5: b 3, a 2)"
    assert repr(features.take([0])) == "Features(1 crystal x 5: b 3, a 2)"


def test_a_frame_of_a_package_that_is_not_there_says_how_to_get_it(features, monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingExtraError, match="pip install polars"):
        features.to_polars()


def test_features_become_a_polars_frame(features):
    polars = pytest.importorskip("polars")
    frame = features.to_polars()
    assert isinstance(frame, polars.DataFrame) and frame.shape == (5, 6)
    assert frame["immutable_id"].to_list() == features.ids.tolist()


def test_rows_that_are_not_finite_are_named_and_the_others_kept(features):
    features.blocks["a"][2, 1] = np.nan
    features.blocks["b"][4, 0] = -np.inf
    rest, skipped = features.finite()
    assert rest.ids.tolist() == ["x", "y,1", "ü\n3"]
    assert [skip.id for skip in skipped] == ['z"2', "5"]
    assert [skip.reason for skip in skipped] == [
        "its features are not finite (a)",
        "its features are not finite (b)",
    ]


@pytest.mark.parametrize("lengths", [[], [0], [5], [1, 2, 3], [7, 0, 1], [3, 3], [6]])
def test_regrouped_batches_hold_the_same_rows(features, lengths):
    starts = np.cumsum([0, *lengths])
    whole = features.take(np.arange(starts[-1]) % 5)
    batches = [whole.between(a, b) for a, b in pairwise(starts)]
    got = list(regroup(batches, 3))
    assert [len(batch) for batch in got[:-1]] == [3] * (len(got) - 1)
    if lengths:
        assert 0 < len(got[-1]) <= 3 or len(whole) == 0
        assert np.array_equal(np.concatenate([b.matrix for b in got]), whole.matrix)


def test_files_that_do_not_fit_are_refused(features, tmp_path):
    save_features(features, tmp_path / "f.npy")
    forget_files(tmp_path)
    np.save(tmp_path / "f.npy", np.ones((5, 9), np.float32))
    with pytest.raises(InputError, match="9 features, its names file 5"):
        load_features(tmp_path / "f.npy")
    np.save(tmp_path / "f.npy", np.ones((4, 5), np.float32))
    with pytest.raises(InputError, match="5 ids for the 4 rows"):
        load_features(tmp_path / "f.npy")
    with pytest.raises(InputError, match="no features"):
        load_features(tmp_path / "none.npy")
    with pytest.raises(InputError, match=r"\.parquet or \.npy"):
        save_features(features, tmp_path / "f.txt")


@pytest.mark.parametrize("content", [b"nonsense", b""])
@pytest.mark.parametrize("name", ["f.parquet", "f.npy"])
def test_damaged_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        load_features(tmp_path / name)


def test_a_table_of_something_else_is_refused(tmp_path):
    pq.write_table(pa.table({"immutable_id": ["a"], "x": [1.0]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="holds the columns"):
        load_features(tmp_path / "t.parquet")


def test_objects_in_an_array_are_never_unpickled(tmp_path):
    np.save(tmp_path / "o.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"o\.npy"):
        load_features(tmp_path / "o.npy")


def test_rows_and_blocks_can_be_chosen(features):
    part = features.take([3, 0]).only("a")
    assert part.ids.tolist() == ["ü\n3", "x"] and part.names == ("a_0", "a_1")
    assert np.array_equal(part.matrix, features.blocks["a"][[3, 0]])
    with pytest.raises(UnknownNameError, match="'c'"):
        features.only("c")


@pytest.mark.parametrize("ending", [".txt", ".json", ".csv", ".npy"])
def test_own_features_take_their_ids_from_the_file_beside(tmp_path, ending):
    np.save(tmp_path / "own.npy", np.zeros((2, 3)))
    beside = tmp_path / f"own_ids{ending}"
    if ending == ".npy":
        np.save(beside, np.array(["mp-1", "mp-2"]))
    else:
        texts = {".txt": "mp-1\nmp-2", ".json": '["mp-1", "mp-2"]', ".csv": "mp-1\nmp-2\n"}
        beside.write_text(texts[ending])
    assert load_features(tmp_path / "own.npy").ids.tolist() == ["mp-1", "mp-2"]
    np.save(tmp_path / "own.npy", np.zeros((3, 3)))
    with pytest.raises(InputError, match="2 ids for the 3 rows"):
        load_features(tmp_path / "own.npy")


def test_arrays_that_hold_no_numbers_are_refused_in_own_words(tmp_path):
    np.save(tmp_path / "object.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    np.save(tmp_path / "text.npy", np.array([["a"]]))
    np.save(tmp_path / "shape.npy", np.zeros(3))
    for name in ("object", "text", "shape"):
        with pytest.raises(InputError, match="numbers") as caught:
            load_features(tmp_path / f"{name}.npy")
        assert "allow_pickle" not in str(caught.value)
