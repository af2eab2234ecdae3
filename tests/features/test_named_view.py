"""Named physics as one more view of a bottleneck: mixed in wherever features come from."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from crystalssl import pipeline
from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.corpus import Corpus
from crystalssl.errors import InputError
from crystalssl.features import extract as extract_module
from crystalssl.features import stream
from crystalssl.features.bottleneck import (
    CARD_FILE,
    find_output,
    load_bottleneck,
    load_card,
    unused_bottleneck,
)
from crystalssl.features.bottleneck_objective import BottleneckConfig
from crystalssl.features.bottleneck_training import train_and_save
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.features import PHYSICS
from crystalssl.features.physics import view_of, with_view
from crystalssl.features.store import load_features
from crystalssl.features.stream import stream_features
from crystalssl.files import read_json, write_json
from crystalssl.hub.weights import BUNDLED
from crystalssl.properties.explanation import share_by_view
from crystalssl.properties.inputs import Descriptors
from crystalssl.properties.property_model import PropertyModel
from crystalssl.representation.physics import compute_physics
from crystalssl.representation.physics.view import view_checksum, view_names
from crystalssl.structures.canonical import CanonicalResult, canonicalize
from crystalssl.structures.table import read_table, write_table

CONFIG = BottleneckConfig(width=64, epochs=1, least_steps=20, batch_size=32)
SIX = ["composition", "lattice", "sites", "occupancy", "reciprocal", "structure_factors"]


@pytest.fixture(scope="module")
def canonical() -> CanonicalResult:
    return canonicalize(load_bundled().take(np.arange(0, 900, 10)))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, canonical: CanonicalResult) -> Path:
    """Tiny blocks with a bottleneck that reads named physics beside them."""
    folder = tmp_path_factory.mktemp("run")
    for card in BUNDLED.glob("tiny/*/card.json"):
        if card.parent.name in SIX:
            shutil.copytree(card.parent, folder / card.parent.name)
    for seen in BUNDLED.glob("tiny/seen*"):
        shutil.copy(seen, folder)
    blocks = ExtractorConfig.of(folder, output="blocks").extractor().features_of(canonical)
    views = with_view(blocks, Corpus.from_crystals(canonical, targets=False))
    rows = np.arange(len(views))
    train_and_save(views, [], (rows, rows), CONFIG, folder / "bottleneck")
    return folder


def test_the_view_is_named_physics_without_charges_and_symmetry(canonical: CanonicalResult) -> None:
    physics = compute_physics(canonical)
    columns = [physics.names.index(name) for name in view_names()]
    assert len(columns) == len(set(columns)) > 350
    assert not {"space_group", "madelung_energy_eV_per_atom"} & set(view_names())
    corpus = Corpus.from_crystals(canonical, targets=False)
    made = view_of(corpus, np.arange(len(corpus)))
    # a corpus holds coordinates as float32: what symmetry makes 0 is nearly 0 there
    close = np.isclose(made, np.nan_to_num(physics.values[:, columns]), rtol=1e-3, atol=1e-3)
    assert np.isfinite(made).all() and close.mean() > 0.999


def test_what_blocks_give_is_as_before_and_the_mixture_reads_both(
    run: Path, canonical: CanonicalResult
) -> None:
    assert list(load_card(run / "bottleneck").widths) == [*SIX, PHYSICS]
    assert find_output(run, "auto", SIX) == run / "bottleneck"
    assert not unused_bottleneck(run, "auto", SIX)
    blocks = ExtractorConfig.of(run, output="blocks").extractor().features_of(canonical)
    assert list(blocks.blocks) == SIX
    corpus = Corpus.from_crystals(canonical, targets=False)
    mixed = ExtractorConfig.of(run).extractor().features_of(canonical)
    mixer = load_bottleneck(run / "bottleneck")
    by_hand = mixer.apply_to(with_view(blocks, corpus)).matrix
    np.testing.assert_allclose(mixed.matrix, by_hand, atol=1e-4)
    nothing = with_view(blocks, corpus)
    nothing.blocks[PHYSICS][:] = 0
    assert np.abs(mixer.apply_to(nothing).matrix - mixed.matrix).mean() > 0.05
    with pytest.raises(InputError, match=r"physics \(377\)"):
        mixer.apply_to(blocks)


def test_streams_and_corpora_give_the_bytes_that_crystals_give(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PIECE", 9)
    monkeypatch.setattr(extract_module, "CHUNK_ATOMS", 100)
    monkeypatch.setitem(extract_module.BATCH_CRYSTALS, "cpu", 7)
    write_table(load_bundled().take(np.arange(0, 900, 10)), tmp_path / "t.parquet")
    canonical = canonicalize(read_table(tmp_path / "t.parquet").crystals)
    config = ExtractorConfig.of(run)
    stream_features(tmp_path / "t.parquet", tmp_path / "f.parquet", config)
    extractor = config.extractor()
    whole = extractor.features_of(canonical).matrix
    assert load_features(tmp_path / "f.parquet").matrix.tobytes() == whole.tobytes()
    corpus = Corpus.from_crystals(canonical, targets=False)
    assert extractor.features_of(corpus).matrix.tobytes() == whole.tobytes()


def test_other_named_physics_is_refused(run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run / "bottleneck", tmp_path / "bottleneck")
    card = read_json(folder / CARD_FILE)
    assert dict(card["encoders"])[PHYSICS] == view_checksum()
    write_json(card | {"encoders": {**card["encoders"], PHYSICS: "0" * 64}}, folder / CARD_FILE)
    with pytest.raises(InputError, match="other named physics"):
        load_bottleneck(folder)


@pytest.mark.parametrize("physics", [True, False])
def test_shares_of_views_add_up_with_named_physics_in_the_mixture(
    run: Path, tmp_path: Path, physics: bool
) -> None:
    crystals = load_bundled().take(np.arange(0, 480, 8))
    pipeline.fit(
        [write_table(crystals, tmp_path / "t.parquet")], tmp_path / "model", weights=run,
        target="formation_energy_per_atom", repeats=1, threads=1, physics=physics,
    )  # fmt: skip
    model = PropertyModel.load(tmp_path / "model")
    describer, some = model.describer(), canonicalize(crystals.take(range(5)))
    inputs, _ = describer.describe(some, Descriptors.none(5))
    shares = share_by_view(model.stacked, describer.extractor, inputs)
    assert sorted(shares.names) == sorted([*SIX, PHYSICS])  # one share, wherever it is read
    predicted = model.stacked.predict(inputs).values[:, 0]
    np.testing.assert_allclose(shares.base + shares.values.sum(axis=1), predicted, atol=1e-6)
    assert np.abs(shares.values[:, shares.names.index(PHYSICS)]).max() > 1e-3
