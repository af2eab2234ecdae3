"""The student: taught, stored, refused where it does not fit, and read by the seventh block."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crystalssl.blocks.registry import build_block, get_block
from crystalssl.datasets.corpus import Corpus
from crystalssl.errors import InputError, UnknownNameError
from crystalssl.features.extract import extract
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.features import Features
from crystalssl.features.student import (
    STUDENT,
    Student,
    check_student,
    find_student,
    load_student,
    load_student_card,
)
from crystalssl.features.student_training import StudentConfig, teach, teach_and_save
from crystalssl.hub.weights import BUNDLED, save_weights
from crystalssl.representation.electronic.view import COMMON, QUANTITIES
from worlds import bundled_corpus

SMALL = StudentConfig(hidden=16, layers=1, epochs=1, least_steps=150, batch_size=64, dropout=0.0)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return bundled_corpus().with_electrons()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, corpus: Corpus) -> Path:
    """Six tiny trained blocks, an untrained seventh, and a student of theirs."""
    folder = tmp_path_factory.mktemp("run")
    for card in BUNDLED.glob("tiny/*/card.json"):
        shutil.copytree(card.parent, folder / card.parent.name)
    save_weights(build_block("electronic"), folder / "electronic")
    six = ExtractorConfig(weights=str(folder), output="blocks", electronic="off")
    features = six.extractor().features_of(corpus)
    rows = np.arange(len(corpus))
    numbers = corpus.electrons_of(rows).numpy()
    teach_and_save(features, numbers, (rows, rows), SMALL, folder / STUDENT)
    return folder


def made(run: Path, corpus: Corpus, way: str) -> Features:
    return ExtractorConfig.of(run, electronic=way, output="blocks").extractor().features_of(corpus)


def test_numbers_that_follow_from_features_are_learnt_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(600, 8)).astype(np.float32)
    numbers = np.full((600, len(QUANTITIES)), np.nan, np.float32)
    numbers[:, :COMMON] = rng.normal(size=(600, COMMON))
    numbers[:, 0] = np.abs(matrix[:, 0]) + matrix[:, 1]
    features = Features(ids=np.arange(600).astype(np.str_), blocks={"sites": matrix})
    config = replace(SMALL, hidden=32, epochs=60)
    _, figures = teach(features, numbers, np.arange(500), np.arange(500, 600), config)
    r2 = list(figures["r2"].values())
    assert r2[0] > 0.5
    assert max(r2[1:]) < 0.3


def test_crystals_without_numbers_are_left_out_and_too_few_are_an_error(corpus: Corpus) -> None:
    matrix = np.zeros((4, 3), np.float32)
    features = Features(ids=np.arange(4).astype(np.str_), blocks={"sites": matrix})
    numbers = np.full((4, len(QUANTITIES)), np.nan, np.float32)
    numbers[0] = 1.0
    with pytest.raises(InputError, match="Got 1 crystals with electronic numbers to teach"):
        teach(features, numbers, np.arange(3), np.arange(3, 4), SMALL)


def test_a_stored_student_predicts_what_it_did_and_stays_within_the_ranges(
    run: Path, corpus: Corpus
) -> None:
    student = load_student(run / STUDENT)
    matrix = torch.randn(7, sum(student.widths.values())) * 100
    numbers = student(matrix)
    assert numbers.shape == (7, len(QUANTITIES))
    assert numbers[:, COMMON:].isnan().all()
    low = torch.tensor([q.low for q in QUANTITIES[:COMMON]])
    high = torch.tensor([q.high for q in QUANTITIES[:COMMON]])
    assert ((numbers[:, :COMMON] >= low) & (numbers[:, :COMMON] <= high)).all()
    assert torch.equal(load_student(run / STUDENT)(matrix)[:, :COMMON], numbers[:, :COMMON])


def test_taught_features_are_those_of_the_block_on_what_the_student_predicts(
    run: Path, corpus: Corpus
) -> None:
    taught = made(run, corpus, "taught")
    student = load_student(run / STUDENT)
    six = torch.from_numpy(taught.only(*student.widths).matrix)
    block = build_block("electronic").eval()
    rows = np.arange(len(corpus))
    with torch.no_grad():
        expected = block.encode(corpus.batch(rows, block, student(six))).features
    np.testing.assert_allclose(taught.blocks["electronic"], expected.numpy(), atol=1e-4)


def test_exact_features_come_from_the_tight_binding_and_leave_the_six_alone(
    run: Path, corpus: Corpus
) -> None:
    exact, taught, off = (made(run, corpus, way) for way in ("exact", "taught", "off"))
    assert list(off.blocks) == list(exact.blocks)[:-1] and off.matrix.shape[1] == 2048
    for name, values in off.blocks.items():
        np.testing.assert_array_equal(values, exact.blocks[name])
        np.testing.assert_array_equal(values, taught.blocks[name])
    alone = extract(corpus, {"electronic": build_block("electronic")}, electrons="fast")
    np.testing.assert_allclose(alone.matrix, exact.blocks["electronic"], atol=1e-5)
    assert not np.allclose(exact.blocks["electronic"], taught.blocks["electronic"], atol=1e-2)


def test_a_crystal_that_cannot_be_described_is_masked_and_its_features_are_finite(
    run: Path, corpus: Corpus
) -> None:
    unknown = torch.full((2, len(QUANTITIES)), torch.nan)
    block = get_block("electronic")
    batch = corpus.batch(np.arange(2), block, unknown)
    assert not batch.valid.any() and (batch.rows == 0).all()
    assert build_block("electronic").eval().encode(batch).features.isfinite().all()


def test_a_student_of_other_weights_is_refused(run: Path, tmp_path: Path, corpus: Corpus) -> None:
    card = load_student_card(run / STUDENT)
    assert check_student(card, card.encoders) == ""
    assert "other weights of sites" in check_student(card, {**card.encoders, "sites": "0" * 64})
    other = shutil.copytree(run, tmp_path / "other")
    save_weights(build_block("lattice", seed=5), other / "lattice")
    with pytest.raises(InputError, match=r"other weights of lattice.*--electronic exact"):
        made(other, corpus, "taught")
    assert made(other, corpus, "off").matrix.shape == (len(corpus), 2048)


def test_without_the_blocks_that_the_student_reads_electrons_have_to_be_computed(
    run: Path, corpus: Corpus
) -> None:
    with pytest.raises(InputError, match=r"it reads the features of .*sites"):
        ExtractorConfig.of(run, "composition,electronic")
    alone = ExtractorConfig.of(run, "electronic", electronic="exact").extractor()
    assert alone.widths == {"electronic": 256}
    with pytest.raises(InputError, match="no block that reads anything else"):
        ExtractorConfig.of(run, "electronic", electronic="off")
    with pytest.raises(UnknownNameError, match="Did you mean 'exact'"):
        ExtractorConfig.of(run, electronic="exakt")


def test_a_run_without_a_student_says_what_to_do(run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "other", ignore=shutil.ignore_patterns(STUDENT))
    assert find_student(other) is None
    with pytest.raises(InputError, match=r"there is none\. Take --electronic exact"):
        ExtractorConfig.of(other)


def test_a_damaged_student_is_named(run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    path = other / STUDENT / "student.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"student\.safetensors has checksum"):
        load_student(other / STUDENT)


def test_shapes_alone_are_built_for_what_a_card_claims() -> None:
    with torch.device("meta"):
        student = Student({"sites": 2**18}, 2**18, 3, COMMON)
    assert all(parameter.is_meta for parameter in student.parameters())
