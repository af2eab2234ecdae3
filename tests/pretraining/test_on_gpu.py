"""On a CUDA device: features are those of the CPU, and what is trained there loads anywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from crystalssl.blocks.registry import build_block, list_blocks
from crystalssl.config import get_preset
from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.corpus import Corpus
from crystalssl.features import stream
from crystalssl.features.extract import extract
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.features import Features
from crystalssl.features.store import load_features
from crystalssl.hub.weights import load_run, load_weights
from crystalssl.pretraining._lightning import read_checkpoint, read_history
from crystalssl.pretraining.loop import pretrain
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.table import write_table

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
NAMES = [block.name for block in list_blocks()]
APART = 2e-3
"""Largest difference of a feature, in standard deviations of that feature."""


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus.from_crystals(canonicalize(load_bundled().take(np.arange(0, 6_000, 20))))


def assert_alike(one: Features, other: Features) -> None:
    assert one.ids.tolist() == other.ids.tolist()
    for name, values in one.blocks.items():
        spread = values.std(axis=0) + 1e-3
        assert (np.abs(values - other.blocks[name]) / spread).max() < APART, name


@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_the_cpu(corpus: Corpus, name: str) -> None:
    encoders = {name: load_run("default")[name]}
    assert_alike(extract(corpus, encoders, device="cpu"), extract(corpus, encoders, device="cuda"))
    assert all(parameter.device.type == "cpu" for parameter in encoders[name].parameters())


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", NAMES)
def test_a_block_trains_and_its_weights_load_on_the_cpu(
    corpus: Corpus, tmp_path: Path, name: str, precision: str
) -> None:
    config = get_preset("large").updated(
        {"epochs": 4, "batch_size": 64, "precision": precision, "accelerator": "gpu", "devices": 1,
         "monitor_crystals": 30, "progress": False, "tensorboard": False}
    )  # fmt: skip
    rows = np.arange(len(corpus))
    done = pretrain(corpus, build_block(name), rows[30:], rows[:30], config, tmp_path)
    losses = [float(row["train_loss"]) for row in read_history(done.folder / "metrics.csv")]
    assert len(losses) == 4 and losses[-1] < losses[0]
    state = read_checkpoint(done.folder / "checkpoints" / "last.ckpt")["state_dict"]
    assert {value.device.type for value in state.values()} == {"cpu"}
    assert {v.dtype for v in state.values() if v.is_floating_point()} <= {
        torch.float32,
        torch.float64,
    }
    loaded = extract(corpus, {name: load_weights(done.folder)}, device="cpu")
    assert np.isfinite(loaded.matrix).all()
    assert_alike(loaded, extract(corpus, {name: done.block}, device="cuda"))


class StopAt(pl.Callback):
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 2:
            raise KeyboardInterrupt


def test_a_run_on_a_gpu_resumes(corpus: Corpus, tmp_path: Path) -> None:
    config = get_preset("large").updated(
        {"epochs": 4, "batch_size": 64, "accelerator": "gpu", "devices": 1, "progress": False,
         "tensorboard": False}
    )  # fmt: skip
    rows, name = np.arange(len(corpus)), NAMES[0]
    given = rows[30:], rows[:30], config
    whole = pretrain(corpus, build_block(name), *given, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        pretrain(corpus, build_block(name), *given, tmp_path / "cut", callbacks=[StopAt()])
    done = pretrain(corpus, build_block(name), *given, tmp_path / "cut", resume=True)
    curves = [read_history(one.folder / "metrics.csv") for one in (whole, done)]
    assert [row["epoch"] for row in curves[1]] == ["0", "1", "2", "3"]
    losses = [[float(row["val_loss"]) for row in curve] for curve in curves]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)  # sums on a GPU are in no fixed order


def test_streamed_features_are_those_of_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PIECE", 50)
    table = write_table(load_bundled().take(np.arange(0, 6_000, 30)), tmp_path / "s.parquet")
    found = []
    for device, workers in (("cpu", 1), ("cuda", 1), ("cuda", 2)):
        out = tmp_path / f"{device}-{workers}.parquet"
        recipe = ExtractorConfig(device=device, output="blocks")
        outcome = stream.stream_features(table, out, recipe, workers=workers)
        assert outcome.written == 200
        found.append(load_features(out))
    assert_alike(found[0], found[1])
    assert_alike(found[0], found[2])
