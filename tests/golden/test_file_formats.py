"""Files of every kind as version 0.1 wrote them: they are read as long as there is a reader.

``python tests/golden/test_file_formats.py`` writes them again; only a new version has a reason to.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from crystalssl.blocks.registry import build_block, get_block
from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.shards import ShardedCorpus, write_shards
from crystalssl.features.bottleneck import (
    Bottleneck,
    BottleneckCard,
    load_bottleneck,
    load_card,
    save_bottleneck,
)
from crystalssl.features.features import Features, Origin
from crystalssl.features.store import load_features, save_features
from crystalssl.hub.card import ModelCard
from crystalssl.hub.seen import Seen
from crystalssl.hub.weights import load_seen, load_weights, new_card, save_weights
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.table import read_table, write_table

FILES = Path(__file__).parent / "files_0_1"
SMALL = {"dim": 8, "layers": 1, "heads": 1, "vectors": 2}
"""Settings of a block whose weights are a few kilobytes."""


def crystals() -> Crystals:
    return load_bundled().take(np.arange(4)).with_columns(None)


def features() -> Features:
    values = np.arange(12, dtype=np.float32).reshape(4, 3) / 8
    origin = Origin(weights="default", sha256={"lattice": "ab"})
    blocks = {"lattice": values, "sites": -values[:, :2]}
    return Features(ids=crystals().ids, blocks=blocks, origins=(origin,))


def write() -> None:
    table = write_table(crystals(), FILES / "structures.parquet")
    canonical = canonicalize(crystals())
    Corpus.from_crystals(canonical).save(FILES / "corpus.safetensors")
    write_shards(table, FILES / "shards")
    for dtype in ("float32", "float16", "int8"):
        for ending in ("parquet", "npy"):
            save_features(features(), FILES / f"{dtype}.{ending}", dtype)
    block = build_block("lattice", SMALL)
    save_weights(block, FILES / "block", new_card(block), Seen.from_crystals(crystals()))
    torch.manual_seed(0)
    mixer = Bottleneck({"lattice": 3, "sites": 2}, 4, 1)
    save_bottleneck(mixer, FILES / "mixer", BottleneckCard(widths=mixer.widths, width=4, linear=1))


def test_structure_tables_are_read() -> None:
    read = read_table(FILES / "structures.parquet").crystals
    assert read.ids.tolist() == crystals().ids.tolist()
    np.testing.assert_allclose(read.lattice, crystals().lattice)


def test_a_corpus_in_one_file_and_in_shards_is_read() -> None:
    corpus, shards = Corpus.load(FILES / "corpus.safetensors"), ShardedCorpus(FILES / "shards")
    assert corpus.ids.tolist() == crystals().ids.tolist() and len(shards) == 4
    ids = [name for some in shards.crystals(np.arange(4)) for name in some.ids.tolist()]
    assert sorted(ids) == sorted(corpus.ids.tolist())


@pytest.mark.parametrize("ending", ["parquet", "npy"])
@pytest.mark.parametrize(("dtype", "error"), [("float32", 0), ("float16", 0), ("int8", 0.005)])
def test_features_are_read(dtype: str, error: float, ending: str) -> None:
    read, written = load_features(FILES / f"{dtype}.{ending}"), features()
    assert read.ids.tolist() == written.ids.tolist() and read.widths == written.widths
    assert read.names == written.names and read.origins == written.origins
    np.testing.assert_allclose(read.matrix, written.matrix, atol=error)


def test_weights_cards_and_seen_crystals_are_read() -> None:
    block, fresh = (
        load_weights(FILES / "block"),
        build_block("lattice", {**get_block("lattice").absent, **SMALL}),
    )
    assert ModelCard.load(FILES / "block").config["dim"] == 8
    for name, tensor in fresh.state_dict().items():
        torch.testing.assert_close(block.state_dict()[name], tensor)
    seen = load_seen(FILES / "block")
    assert seen is not None and seen.structures(crystals()).all()
    assert not seen.formulas(load_bundled().take(np.arange(100, 140))).all()


def test_a_bottleneck_is_read() -> None:
    assert list(load_card(FILES / "mixer").widths) == ["lattice", "sites"]
    mixed = load_bottleneck(FILES / "mixer").apply_to(features())
    assert mixed.matrix.shape == (4, 4) and np.isfinite(mixed.matrix).all()


if __name__ == "__main__":
    write()
