import types
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import sleep

import numpy as np
import pyarrow as pa
import pytest

from crystalssl.evaluation import store as module
from crystalssl.evaluation.scenario import ScenarioResult
from crystalssl.evaluation.store import Part, Store, code_digest
from crystalssl.models import build_head


def part(value=1.0):
    row = ScenarioResult(
        scenario="any",
        property="band_gap",
        unit="eV",
        split_kind="grouped",
        train_fraction=0.1,
        seed=3,
        fold=0,
        feature_set="ours",
        n_features=4,
        model="ridge",
        metric="r2",
        value=value,
        n_train=10,
        n_test=5,
    )
    return Part(
        rows=(row,), tables={"made": pa.table({"a": [1, 2]})}, arrays={"guess": np.arange(3.0)}
    )


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "parts")


def test_a_unit_is_computed_once_and_comes_back_as_it_was(store):
    key = store.key("any", {"seed": 1})
    store.once(key, part)

    def never():
        raise AssertionError("computed twice")

    again = Store(store.folder).once(key, never)
    assert again.rows == part().rows
    assert again.tables["made"].equals(part().tables["made"])
    np.testing.assert_array_equal(again.arrays["guess"], part().arrays["guess"])


def test_threads_that_ask_for_the_same_unit_compute_it_once(store):
    key, made, barrier = store.key("any", {"seed": 1}), [], Barrier(3)

    def compute():
        made.append(1)
        sleep(0.1)
        return part()

    def ask(_):
        barrier.wait(10)
        return store.once(key, compute)

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(ask, range(3)))
    assert len(made) == 1
    assert all(one.rows == part().rows for one in found)
    assert (store.computed, store.reused) == (1, 2)


def test_the_key_follows_settings_data_code_and_versions(store, monkeypatch):
    keys = [
        store.key("any", {"head": build_head("ridge"), "seed": np.int64(1)}),
        store.key("other", {"head": build_head("ridge"), "seed": 1}),
        store.key("any", {"head": build_head("ridge"), "seed": 2}),
        store.key("any", {"head": build_head("ridge"), "seed": 1}, data=["x"]),
        store.key("any", {"head": build_head("ridge"), "seed": 1}, code=[module]),
    ]
    assert store.key("any", {"seed": 1, "head": build_head("ridge")}) == keys[0]
    monkeypatch.setattr(module, "installed_versions", lambda: {"crystalssl": "99"})
    keys.append(Store(store.folder).key("any", {"head": build_head("ridge"), "seed": 1}))
    assert len(set(keys)) == len(keys)


def test_a_part_that_was_not_finished_or_is_damaged_is_computed_again(store):
    key = store.key("any", {})
    store.put(key, part())
    (store.folder / f"{key}.guess.npy").write_bytes(b"half")
    assert store.get(key) is None
    assert store.once(key, lambda: part(2.0)).rows[0].value == 2.0
    (store.folder / f"{key}.json").write_text("{")
    assert store.get(key) is None
    (store.folder / f"{key}.json").unlink()
    assert not store.has(key)
    assert (store.reused, store.computed) == (0, 1)


def test_parts_of_settings_no_longer_in_use_are_removed(store):
    old, new = store.key("any", {"seed": 1}), store.key("any", {"seed": 2})
    other = store.key("other", {"seed": 1})
    for key in (old, new, other):
        store.put(key, part())
    assert store.keep_only([new]) == 3
    assert [store.has(key) for key in (old, new, other)] == [False, True, True]
    assert store.keep_only([]) == 0


def test_comments_and_docstrings_are_no_change_of_the_code(monkeypatch):
    texts = ['"""A."""\ndef f():\n    """B."""\n    return 1  # c\n', "def f():\n\n    return 1\n"]
    texts.append("def f():\n    return 2\n")
    found = []
    for text in texts:
        monkeypatch.setattr(module.inspect, "getsource", lambda _, text=text: text)
        found.append(code_digest(types.ModuleType("any")))
    assert found[0] == found[1] != found[2]
