"""Streamed features: the same as those made in memory, whatever the workers, and no row lost."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.corpus import Corpus
from crystalssl.errors import InputError, Skip, UnknownNameError
from crystalssl.features import bottleneck, stream
from crystalssl.features import extract as extract_module
from crystalssl.features import extractor as extractor_module
from crystalssl.features.encoding import Extractor
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.features import Features
from crystalssl.features.store import load_features, save_features
from crystalssl.features.stream import stream_features
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.table import read_table, to_arrow, write_table

RECIPE = ExtractorConfig(weights="tiny", output="blocks", device="cpu")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 bundled crystals; three rows cannot be used and one id comes twice."""
    rows = to_arrow(load_bundled().take(range(60)))
    names = rows["immutable_id"].to_pylist()
    names[50] = names[3]
    lattices = rows["lattice_vectors"].to_pylist()
    lattices[7] = [[1.0, 0, 0], [2.0, 0, 0], [0, 0, 1.0]]
    positions = rows["cartesian_site_positions"].to_pylist()
    positions[41] = [positions[41][0]] * len(positions[41])
    names[20] = None
    for name, values in (
        ("immutable_id", pa.array(names)),
        ("lattice_vectors", pa.array(lattices)),
        ("cartesian_site_positions", pa.array(positions)),
    ):
        rows = rows.set_column(rows.column_names.index(name), name, values)
    path = tmp_path_factory.mktemp("tables") / "structures.parquet"
    pq.write_table(rows, path, row_group_size=16)
    return path


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PIECE", 9)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a long table: pieces, batches, and rows that are mixed all end at other rows."""
    monkeypatch.setattr(stream, "MIX_ROWS", 10)
    monkeypatch.setattr(bottleneck, "MIX_ROWS", 10)
    monkeypatch.setattr(extract_module, "CHUNK_ATOMS", 100)
    monkeypatch.setitem(extract_module.BATCH_CRYSTALS, "cpu", 7)
    monkeypatch.setitem(extract_module.BATCH_ATOMS, "cpu", 60)


@pytest.mark.usefixtures("small_pieces", "small_batches")
@pytest.mark.parametrize("output", ["blocks", "auto"])
@pytest.mark.parametrize("name", ["f.parquet", "f.npy"])
def test_features_are_byte_for_byte_those_made_in_memory(
    table: Path, tmp_path: Path, output: str, name: str
) -> None:
    config = replace(RECIPE, output=output)
    stream_features(table, tmp_path / name, config)
    features = config.extractor().features_of(canonicalize(read_table(table).crystals))
    (tmp_path / "memory").mkdir()
    whole = save_features(features, tmp_path / "memory" / name)
    for path in whole.parent.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


@pytest.mark.usefixtures("small_batches")
def test_a_crystal_whose_features_are_not_finite_is_named_and_left_out(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream_features(table, tmp_path / "good.parquet", RECIPE)
    good = load_features(tmp_path / "good.parquet")
    plain = Extractor.encode

    def odd(self: Extractor, source: Any, progress: Any = None) -> Features:
        features = plain(self, source, progress)
        features.blocks["sites"][features.ids == good.ids[30], 5] = np.inf
        return features

    monkeypatch.setattr(Extractor, "encode", odd)
    skips: list[Skip] = []
    outcome = stream_features(
        table, tmp_path / "f.parquet", RECIPE, watch=lambda d, total: skips.extend(d.skipped)
    )
    assert (outcome.written, outcome.skipped) == (56, 4)
    (skip,) = [skip for skip in skips if "not finite" in skip.reason]
    assert skip.id == good.ids[30] and skip.file == str(table) and "sites" in skip.reason
    rest = load_features(tmp_path / "f.parquet")
    assert rest.matrix.tobytes() == good.take(np.delete(np.arange(57), 30)).matrix.tobytes()


@pytest.mark.usefixtures("small_pieces")
def test_every_row_is_told_of_once_and_skips_say_which(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.parquet"
    seen: list[stream.Described] = []
    outcome = stream_features(table, out, RECIPE, watch=lambda piece, total: seen.append(piece))
    assert (outcome.rows, outcome.written, outcome.skipped) == (60, 57, 3)
    assert sum(piece.rows for piece in seen) == 60
    features = load_features(out)
    assert sum(name.endswith("#2") for name in features.ids.tolist()) == 1
    skips = [skip for piece in seen for skip in piece.skipped]
    assert [skip.reason.split(":")[0] for skip in skips[:2]] == ["row 7", "row 20"]
    assert all(skip.file == str(table) for skip in skips)


def test_one_worker_and_two_give_the_same_bytes(table: Path, tmp_path: Path) -> None:
    one, two = (
        stream_features(table, tmp_path / f"{workers}.parquet", RECIPE, workers=workers)
        for workers in (1, 2)
    )
    assert one == two
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()


def test_with_a_gpu_workers_prepare_and_this_process_encodes(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    def on_cpu(self: Extractor, source: Any, progress: Any = None) -> Features:
        asked.append(self.device)
        return plain(replace(self, device="cpu"), source, progress)

    plain = Extractor.encode
    stream_features(table, tmp_path / "one.npy", RECIPE)
    monkeypatch.setattr(Extractor, "encode", on_cpu)
    for module in (stream, extractor_module):
        monkeypatch.setattr(module, "choose_device", torch.device)
    for kind in ("BATCH_ATOMS", "BATCH_CRYSTALS"):
        limits = getattr(extract_module, kind)
        monkeypatch.setitem(limits, "cuda", limits["cpu"])
    stream_features(table, tmp_path / "two.npy", replace(RECIPE, device="cuda"), workers=2)
    assert set(asked) == {"cuda"}
    assert (tmp_path / "one.npy").read_bytes() == (tmp_path / "two.npy").read_bytes()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_watcher_stops_the_work_and_leaves_no_file(
    table: Path, tmp_path: Path, workers: int
) -> None:
    def stop(piece: stream.Described, total: int) -> None:
        raise InputError("enough")

    with pytest.raises(InputError, match="enough"):
        stream_features(table, tmp_path / "f.npy", RECIPE, workers=workers, watch=stop)
    assert not list(tmp_path.iterdir())


def test_reading_a_long_table_holds_a_small_part_of_it(tmp_path: Path) -> None:
    one = to_arrow(load_bundled().take(np.arange(4 * stream.PIECE)).with_columns(None))
    path, place = tmp_path / "long.parquet", one.column_names.index("immutable_id")
    with pq.ParquetWriter(path, one.schema) as writer:
        for part in range(12):
            ids = pa.array([f"id-{part}-{row}" for row in range(len(one))])
            writer.write_table(one.set_column(place, one.schema.field(place), ids))
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in stream.pieces(path)]
    assert len(held) == 48
    assert max(held) < 0.5 * path.stat().st_size


def test_a_table_without_rows_gives_features_without_rows(tmp_path: Path) -> None:
    empty = write_table(load_bundled().take([]), tmp_path / "empty.parquet")
    outcome = stream_features(empty, tmp_path / "f.parquet", RECIPE)
    assert (outcome.rows, outcome.written) == (0, 0)
    assert load_features(tmp_path / "f.parquet").matrix.shape == (0, 2048)


def test_rows_that_vanish_are_noticed(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "count_rows", lambda path: 61)
    with pytest.raises(InputError, match="holds 61 rows, but 60"):
        stream_features(table, tmp_path / "f.parquet", RECIPE)
    assert not list(tmp_path.iterdir())


def test_what_is_no_table_and_unknown_blocks_are_refused(table: Path, tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        stream_features(tmp_path / "text.parquet", tmp_path / "f.npy", RECIPE)
    with pytest.raises(UnknownNameError, match="nonsense"):
        stream_features(
            table,
            tmp_path / "f.npy",
            ExtractorConfig(weights="tiny", blocks=("nonsense",)),
            workers=2,
        )


def test_the_corpus_of_a_piece_reaches_another_process_whole(table: Path) -> None:
    corpus = stream.prepare(next(stream.pieces(table)), RECIPE.symprec).corpus
    assert isinstance(corpus, Corpus)
    sent = pickle.loads(pickle.dumps(corpus))
    assert sent.ids.tolist() == corpus.ids.tolist()
    for name, tensor in corpus._tensors().items():
        torch.testing.assert_close(sent._tensors()[name], tensor, rtol=0, atol=0, equal_nan=True)
