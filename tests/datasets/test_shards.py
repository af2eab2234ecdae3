"""A corpus in shards gives the batches of the same corpus in memory, and loses no crystal."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from crystalssl.datasets import shards as module
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.samplers import BatchSampler
from crystalssl.datasets.shards import (
    ShardedCorpus,
    joined,
    shards_fit,
    split_by_formula,
    write_shards,
)
from crystalssl.errors import InputError
from crystalssl.files import read_json, write_json
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.table import to_arrow, write_table


class Sites:
    group = "sites"
    uses_graph = True


@pytest.fixture
def table(many_crystals: Crystals, tmp_path: Path) -> Path:
    """70 crystals in row groups of 12, one of them with all its sites on one spot."""
    broken = many_crystals.take(np.arange(70))
    broken.frac_coords[broken.offsets[2] : broken.offsets[3]] = 0.0
    path = tmp_path / "structures.parquet"
    pq.write_table(to_arrow(broken), path, row_group_size=12)
    return path


@pytest.fixture
def sharded(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShardedCorpus:
    monkeypatch.setattr(module, "SHARD", 16)
    monkeypatch.setattr(module, "MIX", 2)
    outcome = write_shards(table, tmp_path / "corpus", seed=1)
    assert (outcome.rows, outcome.written) == (70, 69)
    assert [skip.id for skip in outcome.skipped] == ["perovskite-2"]
    return ShardedCorpus(tmp_path / "corpus")


def all_shards(sharded: ShardedCorpus) -> Corpus:
    files = sorted(sharded.folder.glob("shard-*.safetensors"))
    assert len(files) > 4
    return joined([Corpus.load(path) for path in files])


def test_every_crystal_is_in_one_part_and_rows_are_mixed(
    sharded: ShardedCorpus, many_crystals: Crystals
) -> None:
    whole = all_shards(sharded)
    assert sorted(whole.ids.tolist()) == sorted(set(many_crystals.ids) - {"perovskite-2"})
    assert whole.ids.tolist() != many_crystals.ids.tolist()
    np.testing.assert_array_equal(sharded.site_counts, whole.site_counts)
    np.testing.assert_array_equal(sharded.values, whole.values.numpy())
    first = {int(name.split("-")[1]) // 12 for name in whole.ids[:16].tolist()}
    assert len(first) == 2  # row groups that were mixed


@pytest.mark.parametrize("rows", [[3, 1, 2, 1], [60, 0, 33, 34, 17]], ids=["one part", "many"])
def test_batches_are_those_of_the_corpus_in_memory(sharded: ShardedCorpus, rows: list[int]) -> None:
    train = np.arange(5, 50)
    whole, disk = all_shards(sharded).fit_targets(train), sharded.fit_targets(train)
    one, two = whole.batch(rows, Sites()), disk.to("cpu").batch(rows, Sites())
    for name in ("rows", "valid", "crystal_system", "histogram"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    torch.testing.assert_close(one.targets, two.targets, rtol=1e-5, atol=1e-5)
    assert one.edges is not None and two.edges is not None
    for name in ("source", "target", "image", "distance"):
        assert torch.equal(getattr(one.edges, name), getattr(two.edges, name))


def test_crystals_come_back_part_by_part_and_none_is_missing(
    sharded: ShardedCorpus, many_crystals: Crystals
) -> None:
    rows = np.arange(len(sharded))[::3]
    found = Crystals.concatenate(list(sharded.crystals(rows)))
    whole = all_shards(sharded)
    assert found.ids.tolist() == whole.ids[rows].tolist()
    (expected,) = whole.crystals(rows)
    np.testing.assert_array_equal(found.frac_coords, expected.frac_coords)
    place = {name: row for row, name in enumerate(many_crystals.ids.tolist())}
    given = many_crystals.take([place[name] for name in found.ids.tolist()])
    np.testing.assert_allclose(found.volumes, given.volumes, rtol=1e-5)


def test_batches_of_an_epoch_keep_to_one_part_and_miss_no_row(sharded: ShardedCorpus) -> None:
    sampler = BatchSampler(
        np.arange(len(sharded)), sharded.site_counts, batch_size=5, max_atoms=20, epochs=3,
        multiple=2, shards=sharded.shard_of_row,
    )  # fmt: skip
    epochs = [sampler.epoch(number) for number in range(3)]
    for batches in epochs:
        assert len(batches) == sampler.batches_per_epoch and len(batches) % 2 == 0
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(sharded)))
        turns = [set(sharded.shard_of_row[batch].tolist()) for batch in batches]
        assert all(len(turn) == 1 for turn in turns)
        changes = sum(a != b for a, b in pairwise(turns))
        assert changes == len(set(sharded.shard_of_row.tolist())) - 1  # each part once
    assert np.concatenate(epochs[0]).tolist() != np.concatenate(epochs[1]).tolist()


def test_one_part_is_in_memory_at_a_time(
    sharded: ShardedCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    load = Corpus.load
    monkeypatch.setattr(Corpus, "load", staticmethod(lambda path: read.append(path) or load(path)))
    for row in (0, 1, 2, 40, 41, 0):
        sharded.batch([row], Sites())
    assert len(read) == 3


def test_shards_fit_the_table_and_settings_they_were_made_with(
    sharded: ShardedCorpus, table: Path
) -> None:
    assert shards_fit(table, sharded.folder, seed=1)
    assert not shards_fit(table, sharded.folder, seed=2)
    assert not shards_fit(table, sharded.folder / "none", seed=1)
    table.write_bytes(table.read_bytes() + b" ")
    assert not shards_fit(table, sharded.folder, seed=1)


def test_shards_that_are_there_are_told_of_again_and_not_written_again(
    sharded: ShardedCorpus, table: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in sharded.folder.iterdir()}
    outcome = write_shards(table, sharded.folder, seed=1)
    assert (outcome.rows, outcome.written) == (70, 69)
    assert [skip.id for skip in outcome.skipped] == ["perovskite-2"]
    assert before == {path: path.stat().st_mtime_ns for path in sharded.folder.iterdir()}


def test_shards_of_fewer_crystals_leave_none_of_the_ones_before(
    sharded: ShardedCorpus, many_crystals: Crystals, tmp_path: Path
) -> None:
    few = write_table(many_crystals.take(np.arange(8)), tmp_path / "few.parquet")
    write_shards(few, sharded.folder)
    assert sorted(path.name for path in sharded.folder.iterdir()) == [
        "formulas.npy",
        "shard-000000.safetensors",
        "shards.json",
        "sites.npy",
        "values.npy",
    ]


def test_shards_of_an_older_version_are_read(sharded: ShardedCorpus) -> None:
    index = read_json(sharded.folder / module.INDEX)
    former = {"parts": index["shards"], "crystals": index["crystals"], "made_from": {}}
    write_json(former, sharded.folder / "parts.json")
    (sharded.folder / module.INDEX).unlink()
    again = ShardedCorpus(sharded.folder)
    assert len(again) == 69 and list(again.identity()) == list(sharded.identity())


def test_formulas_are_held_out_whole(sharded: ShardedCorpus) -> None:
    held_out = split_by_formula(sharded.formulas, 0.3)
    assert 0 < held_out.sum() < len(sharded)
    assert not set(sharded.formulas[held_out]) & set(sharded.formulas[~held_out])


def test_an_unfinished_or_foreign_folder_is_refused(sharded: ShardedCorpus, tmp_path: Path) -> None:
    np.save(sharded.folder / "sites.npy", np.ones(3, np.int16))
    with pytest.raises(InputError, match="not the file that was written together"):
        ShardedCorpus(sharded.folder)
    index = read_json(sharded.folder / module.INDEX)
    write_json({**index, "version": 99}, sharded.folder / module.INDEX)
    with pytest.raises(InputError, match=r"shards\.json has format version 99"):
        ShardedCorpus(sharded.folder)
    (sharded.folder / module.INDEX).unlink()
    with pytest.raises(InputError, match="holds no corpus in shards"):
        ShardedCorpus(sharded.folder)
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        write_shards(tmp_path / "text.parquet", tmp_path / "other")
