import numpy as np
import pytest
import torch

from crystalssl.datasets.corpus import Corpus
from crystalssl.errors import InputError
from crystalssl.features import extract as extraction
from crystalssl.features.extract import extract
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.structures.crystals import Crystals


@pytest.fixture(scope="module")
def encoders(toy_class):
    torch.manual_seed(0)
    return {name: toy_class(toy_class.Config()) for name in ("first", "second")}


def test_rows_are_in_input_order_and_the_same_in_any_order(canonical, encoders):
    crystals = canonical.crystals
    order = np.random.default_rng(0).permutation(len(crystals))
    straight, mixed = extract(crystals, encoders), extract(crystals.take(order), encoders)
    assert mixed.ids.tolist() == crystals.ids[order].tolist()
    assert np.allclose(mixed.matrix, straight.matrix[order], atol=1e-5)


def test_two_runs_give_the_same_bytes(canonical, encoders):
    one, two = extract(canonical, encoders), extract(canonical, encoders)
    assert one.matrix.tobytes() == two.matrix.tobytes()


def test_chunks_and_batches_do_not_change_features(canonical, encoders, monkeypatch):
    whole = extract(canonical, encoders)
    monkeypatch.setattr(extraction, "CHUNK_ATOMS", 17)
    parts = extract(canonical, encoders, max_atoms=9)
    assert np.allclose(whole.matrix, parts.matrix, atol=1e-5)


def test_a_corpus_and_its_crystals_give_the_same_features(canonical, made_corpus, encoders):
    assert np.array_equal(
        extract(made_corpus, encoders).matrix, extract(canonical, encoders).matrix
    )


def test_targets_are_not_made_for_features_and_change_none(canonical, encoders):
    bare = Corpus.from_crystals(canonical, targets=False)
    assert not bare.has_targets and bare.values.isnan().all()
    full = extract(Corpus.from_crystals(canonical), encoders)
    assert extract(bare, encoders).matrix.tobytes() == full.matrix.tobytes()


def test_dropout_is_off_and_the_mode_is_put_back(canonical, encoders):
    block = encoders["first"].train()
    one, two = extract(canonical, {"b": block}), extract(canonical, {"b": block})
    assert block.training and np.array_equal(one.matrix, two.matrix)
    assert not any(parameter.grad is not None for parameter in block.parameters())


def test_names_say_block_and_column(canonical, encoders):
    features = extract(canonical, encoders)
    assert features.names[0] == "first_0" and features.names[-1] == "second_15"
    assert features.matrix.shape == (len(canonical.crystals), 32)
    assert features.matrix.dtype == np.float32


def test_progress_is_told(canonical, encoders):
    seen = []
    extract(canonical, encoders, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (70, 70)


def test_no_crystals_give_no_rows(encoders):
    assert extract(Crystals.empty(), encoders).matrix.shape == (0, 32)
    assert isinstance(extract(Crystals.empty(), {}).ids, np.ndarray)


def test_only_a_chunk_is_held_at_a_time(canonical, encoders, monkeypatch):
    monkeypatch.setattr(extraction, "CHUNK_ATOMS", 20)
    monkeypatch.setitem(extraction.BATCH_ATOMS, "cpu", 10)
    sizes = []
    build = Corpus.from_crystals
    monkeypatch.setattr(
        Corpus,
        "from_crystals",
        staticmethod(
            lambda source, *, targets: (
                sizes.append(len(source.frac_coords)) or build(source, targets=targets)
            )
        ),
    )
    extract(canonical, encoders)
    assert len(sizes) > 5 and max(sizes) <= 20


@pytest.mark.parametrize("device", ["cuda:99", "cude", "meta"])
def test_a_device_that_is_not_there_is_refused_in_words(canonical, device):
    with pytest.raises(InputError, match="cpu"):
        extract(canonical, {}, device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_cuda_without_a_gpu_is_refused_before_anything_is_loaded():
    with pytest.raises(InputError, match="0 CUDA GPUs"):
        ExtractorConfig(weights="tiny", device="cuda").extractor()


def test_what_is_encoded_together_follows_from_the_crystals_alone(made_corpus, monkeypatch):
    monkeypatch.setitem(extraction.BATCH_ATOMS, "cpu", 12)
    device = torch.device("cpu")
    sites = made_corpus.site_counts
    whole = [sites[rows].tolist() for rows in extraction.plan_batches(sites, device)]
    assert len(whole) > 5
    for size in (1, 2, 5, 33, 70):
        starts = range(0, 70, size)
        pieces = (made_corpus.take(np.arange(s, min(s + size, 70))) for s in starts)
        cut = list(extraction.whole_batches(pieces, device))
        assert [i for piece in cut for i in piece.ids.tolist()] == made_corpus.ids.tolist()
        batches = [
            piece.site_counts[rows].tolist()
            for piece in cut
            for rows in extraction.plan_batches(piece.site_counts, device)
        ]
        assert batches == whole
