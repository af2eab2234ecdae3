import gc
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import sleep

import numpy as np
import pytest

from crystalssl.evaluation import cache as module
from crystalssl.evaluation.cache import Cache, code_digest, digest, import_closure
from crystalssl.models.registry import build_head


def arrays(value=1.0):
    return {"predicted": np.arange(3.0), "fit_seconds": np.array(value)}


@pytest.fixture(params=["folder", "memory"])
def cache(request, tmp_path):
    return Cache(tmp_path / "cache" if request.param == "folder" else None)


@pytest.fixture
def kept(tmp_path):
    return Cache(tmp_path / "cache")


def test_an_entry_is_computed_once_and_comes_back_as_it_was(cache):
    key = cache.key("any", {"seed": 1})
    cache.once(key, arrays)

    def never():
        raise AssertionError("computed twice")

    again = cache.once(key, never)
    assert again.keys() == arrays().keys()
    np.testing.assert_array_equal(again["predicted"], arrays()["predicted"])
    assert float(again["fit_seconds"]) == 1.0


def test_another_process_reads_what_was_kept(kept):
    kept.once("any-1", arrays)
    again = Cache(kept.folder).get("any-1")
    np.testing.assert_array_equal(again["predicted"], arrays()["predicted"])


def test_threads_that_ask_for_the_same_entry_compute_it_once(cache):
    made, barrier = [], Barrier(3)

    def compute():
        made.append(1)
        sleep(0.1)
        return arrays()

    def ask(_):
        barrier.wait(10)
        return cache.once("any-1", compute)

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(ask, range(3)))
    assert len(made) == 1
    assert all(float(one["fit_seconds"]) == 1.0 for one in results)


def test_the_key_follows_settings_data_code_and_versions(kept, monkeypatch):
    keys = [
        kept.key("any", {"head": build_head("ridge"), "seed": np.int64(1)}),
        kept.key("other", {"head": build_head("ridge"), "seed": 1}),
        kept.key("any", {"head": build_head("ridge"), "seed": 2}),
        kept.key("any", {"head": build_head("ridge"), "seed": 1}, data=["x"]),
        kept.key("any", {"head": build_head("ridge"), "seed": 1}, code=[module.__name__]),
    ]
    assert kept.key("any", {"seed": 1, "head": build_head("ridge")}) == keys[0]
    monkeypatch.setattr(module, "installed_versions", lambda: {"crystalssl": "99"})
    keys.append(Cache(kept.folder).key("any", {"head": build_head("ridge"), "seed": 1}))
    assert len(set(keys)) == len(keys)


def test_an_entry_that_is_damaged_or_cut_off_is_computed_again(kept):
    kept.put("any-1", arrays())
    path = kept.folder / "any-1.npz"
    whole = path.read_bytes()
    for damaged in (b"half", b"", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        assert kept.get("any-1") is None
        assert float(kept.once("any-1", lambda: arrays(2.0))["fit_seconds"]) == 2.0
    path.unlink()
    assert kept.get("any-1") is None


def test_entries_of_settings_no_longer_in_use_are_removed_except_from_a_shared_folder(kept):
    for key in ("any-1", "any-2", "other-1"):
        kept.put(key, arrays())
    assert Cache(kept.folder, shared=True).keep_only([], "any") == 0
    assert kept.keep_only(["any-2"], "any") == 1
    assert [kept.get(key) is not None for key in ("any-1", "any-2", "other-1")] == [
        False,
        True,
        True,
    ]


@pytest.fixture
def package(tmp_path):
    """A package whose module ``head`` reaches ``deepest`` by three imports, of all kinds."""
    root = tmp_path / "small"
    files = {
        "__init__.py": '"""A package."""\n',
        "head.py": "from small.first import one\n\n\ndef fit():\n    return one()\n",
        "first.py": "import numpy\nimport small.inner.second as second\n\none = second.two\n",
        "inner/__init__.py": "",
        "inner/second.py": "def two():\n    from . import third\n\n    return third.three()\n",
        "inner/third.py": "from ..deepest import number\n\n\ndef three():\n    return number\n",
        "deepest.py": '"""A helper."""\n\nnumber = 1  # one\n',
        "typing_only.py": "number = 2\n",
        "apart.py": "number = 3\n",
    }
    files["head.py"] = (
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import small.typing_only\n"
        + files["head.py"]
    )
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def digest_of(root):
    for function in (code_digest, module._imports, module._source_digest):
        function.cache_clear()
    return code_digest(("small.head",), root)


def test_a_change_in_a_helper_three_imports_away_makes_the_cache_stale(package):
    before = digest_of(package)
    assert digest_of(package) == before
    (package / "deepest.py").write_text("number = 10\n")
    assert digest_of(package) != before


def test_a_change_of_comments_docstrings_or_of_what_is_not_imported_does_not(package):
    before = digest_of(package)
    (package / "deepest.py").write_text('"""Another text."""\nnumber = 1  # still one\n')
    (package / "apart.py").write_text("number = 4\n")
    (package / "typing_only.py").write_text("number = 5\n")
    assert digest_of(package) == before
    (package / "inner" / "__init__.py").write_text("flag = True\n")  # runs on import, so it counts
    assert digest_of(package) != before


def test_the_closure_of_a_package_holds_every_module_that_an_import_runs(package):
    assert set(import_closure(["small.head", "numpy"], package)) == {
        "small", "small.head", "small.first", "small.inner", "small.inner.second",
        "small.inner.third", "small.deepest",
    }  # fmt: skip


def test_fits_depend_on_metrics_splits_and_heads_but_not_on_the_report():
    behind = import_closure(["crystalssl.evaluation.fits", "crystalssl.models.boosting"])
    assert {
        "crystalssl.evaluation.splits",
        "crystalssl.datasets.splits",
        "crystalssl.models.ridge.gram",
        "crystalssl.representation._compiled",
    } <= set(behind)
    assert not [name for name in behind if name.startswith(("crystalssl.report", "crystalssl.cli"))]


def test_digests_differ_where_order_or_shape_differs():
    one, two = np.arange(4.0), np.arange(4.0).reshape(2, 2)
    assert digest([one]) == digest([one.copy()])
    assert len({digest([one]), digest([two]), digest([one, "a"]), digest(["a", one])}) == 4


def test_the_digest_of_a_view_is_that_of_its_copy(monkeypatch):
    monkeypatch.setattr(module, "DIGEST_ROWS", 3)
    matrix = np.arange(40.0).reshape(10, 4)
    assert digest([matrix[:, 1:3]]) == digest([matrix[:, 1:3].copy()])
    assert digest([np.empty((0, 3))]) != digest([np.empty((0, 4))])


def test_settings_are_plain_json(kept):
    with pytest.raises(TypeError):
        json.dumps({"seed": np.int64(1)})
    assert kept.key("any", {"seed": np.int64(1)}) == kept.key("any", {"seed": 1})


def test_threads_digest_source_files_at_the_same_time():
    """Python 3.11 and 3.12 lose count of depth where two threads parse at once."""
    paths = sorted(module.ROOT.glob("evaluation/*.py"))

    def digests(depth):
        if depth:  # what a thread that comes from further up has on its stack
            return digests(depth - 1)
        return [module._source_digest.__wrapped__(path) for path in paths]

    def let_others_in(*_):
        for _ in range(50):
            pass

    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    gc.callbacks.append(let_others_in)
    try:
        sys.setswitchinterval(1e-6)
        gc.set_threshold(50, 2, 2)
        with ThreadPoolExecutor(4) as pool:
            first, *others = pool.map(digests, [0, 5, 9, 3])
    finally:
        gc.callbacks.remove(let_others_in)
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(interval)
    assert all(other == first for other in others)
