"""A corpus of shards: every row accounted for, finished shards left alone, Ray as the engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crystalssl.datasets.generate import write_corpus
from crystalssl.errors import InputError, MissingExtraError
from crystalssl.features import corpora
from crystalssl.features.corpora import featurize_corpus, featurize_shard
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.store import load_features
from crystalssl.features.stream import stream_features
from crystalssl.structures.crystals import Crystals

RECIPE = ExtractorConfig(weights="tiny", output="blocks", device="cpu")


@pytest.fixture
def shards(many_crystals: Crystals, tmp_path: Path) -> Path:
    """Three tables of 8 crystals, one of them in a folder of its own and with an overlap."""
    folder = tmp_path / "corpus"
    for seed, name in enumerate(("a", "b", "deep/c")):
        source = many_crystals.take(range(7 * seed, 7 * seed + 7))
        if name == "b":
            source.frac_coords[:] = 0.0
        write_corpus(folder / f"{name}.parquet", source, 8, seed=seed)
    return folder


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Shards are done here, one after the other; the names of those that were done."""
    done: list[str] = []

    def noted(job: dict[str, Any], *others: Any) -> corpora.ShardRecord:
        done.append(job["shard"])
        return featurize_shard(job, *others)

    monkeypatch.setattr(corpora, "featurize_shard", noted)
    return done


def test_rows_in_are_rows_out_and_rows_skipped(
    shards: Path, tmp_path: Path, without_ray: list[str]
) -> None:
    out = tmp_path / "out"
    outcome = featurize_corpus(shards, out, RECIPE)
    assert without_ray == ["a", "b", "deep/c"]
    assert outcome.total("rows") == 24
    assert outcome.total("written") + outcome.total("skipped") == 24
    assert outcome.total("skipped") > 0
    lines = (out / "b.skipped.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) - 1 == next(r.skipped for r in outcome.records if r.shard == "b")
    manifest = json.loads((out / corpora.MANIFEST).read_text(encoding="utf-8"))
    assert manifest["rows"] == 24 and len(manifest["shards"]) == 3
    stream_features(shards / "deep" / "c.parquet", tmp_path / "alone.parquet", RECIPE)
    assert (out / "deep" / "c.parquet").read_bytes() == (tmp_path / "alone.parquet").read_bytes()


def test_finished_shards_are_not_done_again(
    shards: Path, tmp_path: Path, without_ray: list[str]
) -> None:
    out = tmp_path / "out"
    first = featurize_corpus(shards, out, RECIPE)
    again = featurize_corpus(shards, out, RECIPE)
    assert again.records == first.records and again.done_before == 3 and len(without_ray) == 3
    (out / "a.parquet").unlink()
    (out / "b.record.json").write_text("{", encoding="utf-8")
    os.utime(shards / "deep" / "c.parquet", ns=(1, 1))
    featurize_corpus(shards, out, RECIPE)
    assert without_ray[3:] == ["a", "b", "deep/c"]
    featurize_corpus(shards, out, RECIPE, dtype="float16")
    assert len(without_ray) == 9


def test_a_shard_that_cannot_be_read_is_recorded_and_tried_again(
    shards: Path, tmp_path: Path, without_ray: list[str]
) -> None:
    good = (shards / "a.parquet").read_bytes()
    (shards / "a.parquet").write_bytes(good[:100])
    outcome = featurize_corpus(shards, tmp_path / "out", RECIPE)
    assert [record.shard for record in outcome.failed] == ["a"]
    assert "Parquet" in outcome.failed[0].error
    (shards / "a.parquet").write_bytes(good)
    again = featurize_corpus(shards, tmp_path / "out", RECIPE)
    assert not again.failed and without_ray[3:] == ["a"]


def test_a_feature_table_that_is_not_the_recorded_one_is_made_again(
    shards: Path, tmp_path: Path, without_ray: list[str]
) -> None:
    out = tmp_path / "out"
    featurize_corpus(shards, out, RECIPE)
    before = (out / "a.parquet").read_bytes()
    (out / "a.parquet").write_bytes((out / "b.parquet").read_bytes())
    (out / "b.skipped.csv").unlink()
    featurize_corpus(shards, out, RECIPE)
    assert without_ray[3:] == ["a", "b"]
    assert (out / "a.parquet").read_bytes() == before
    assert (out / "b.skipped.csv").is_file()


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no structure tables"):
        featurize_corpus(tmp_path, tmp_path / "out", RECIPE)


def test_without_ray_the_extra_is_named(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"crystalssl\[cluster\]"):
        featurize_corpus(shards, tmp_path / "out", RECIPE, workers=2)


@pytest.mark.long
def test_the_command_does_a_corpus_on_ray_and_says_what_could_not_be_done(
    shards: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="needs the extra crystalssl[cluster]")
    program = Path(sys.executable).with_name("crystalssl")
    out = tmp_path / "out"
    command = [program, "featurize-corpus", shards, "-o", out, "--workers", "2", "--dtype", "int8"]
    (shards / "b.parquet").write_bytes(b"cut off")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "16 rows in = 16 with features + 0 skipped" in done.stdout
    assert "1 of 3 shards could not be done. First: b" in done.stderr
    assert load_features(out / "deep" / "c.parquet").matrix.shape == (8, 2048)
    manifest = json.loads((out / corpora.MANIFEST).read_text(encoding="utf-8"))
    assert [bool(record["error"]) for record in manifest["shards"]] == [False, True, False]
