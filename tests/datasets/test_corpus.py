import numpy as np
import pytest
import torch

from crystalssl.datasets.corpus import Corpus
from crystalssl.errors import InputError
from crystalssl.representation.graph import periodic_graph
from crystalssl.representation.layout import GROUPS
from crystalssl.representation.targets import crystal_targets


class Graphless:
    group = "composition"
    uses_graph = False


def test_a_batch_holds_the_rows_of_its_crystals_in_the_order_asked(made_corpus, toy_class):
    index = torch.tensor([9, 0, 0, 33])
    batch = made_corpus.batch(index, toy_class)
    for place, row in enumerate(index):
        alone = made_corpus.batch(row.reshape(1), toy_class)
        assert torch.equal(batch.rows[place], alone.rows[0])
        assert torch.equal(batch.valid[place], alone.valid[0])
        assert torch.equal(batch.targets[place], alone.targets[0])
        assert batch.crystal_system[place] == alone.crystal_system[0]
        assert torch.equal(batch.histogram[place], alone.histogram[0])
    assert batch.rows.shape == (4, 103, GROUPS["sites"].width)


def test_edges_of_a_batch_are_those_of_the_graph_renumbered(made_corpus, canonical, toy_class):
    index = [9, 2, 33]
    edges = made_corpus.batch(index, toy_class).edges
    crystals = canonical.crystals.take(index)
    graph = periodic_graph(crystals)
    source = np.repeat(np.arange(len(crystals.frac_coords)), graph.degrees)
    first = crystals.offsets[:-1][crystals.crystal_of_site[source]]
    assert np.array_equal(edges.source.numpy(), source)
    assert np.array_equal(edges.target.numpy(), graph.target + first)
    assert np.array_equal(edges.image.numpy(), graph.image)
    assert np.array_equal(edges.distance.numpy(), graph.distance)


def test_edge_vectors_have_the_length_the_graph_says(made_corpus, canonical, toy_class):
    edges = made_corpus.batch(np.arange(20), toy_class).edges
    crystals = canonical.crystals.take(np.arange(20))
    step = crystals.frac_coords[edges.target] + edges.image.numpy()
    step = step - crystals.frac_coords[edges.source]
    cells = crystals.lattice[crystals.crystal_of_site[edges.source]]
    length = np.linalg.norm(np.einsum("ei,eij->ej", step, cells), axis=1)
    assert np.allclose(length, edges.distance, atol=1e-4)


def test_a_block_without_graph_gets_no_edges(made_corpus):
    assert made_corpus.batch([0, 1], Graphless).edges is None


def test_targets_are_standardised_with_the_training_rows_only(made_corpus, canonical, toy_class):
    train = np.arange(0, 30)
    fitted = made_corpus.fit_targets(train)
    raw = crystal_targets(canonical.crystals, periodic_graph(canonical.crystals)).values
    values = fitted.batch(train, toy_class).targets.numpy()
    std = raw[train].astype(np.float64).std(0)
    varies = std > 1e-6
    assert np.allclose(values.mean(0), 0, atol=1e-3)
    assert np.allclose(values.std(0)[varies], 1, atol=1e-3) and varies.sum() > 100
    expected = (raw - raw[train].mean(0)) / np.where(varies, std, 1.0)
    got = fitted.batch(np.arange(len(fitted)), toy_class).targets.numpy()
    assert np.allclose(got, expected, rtol=1e-3, atol=1e-3)


def test_taking_rows_first_or_last_gives_the_same_batch(made_corpus, toy_class):
    part = made_corpus.take([5, 40, 2])
    left, right = part.batch([2, 0], toy_class), made_corpus.batch([2, 5], toy_class)
    assert torch.equal(left.rows, right.rows)
    assert torch.equal(left.edges.target, right.edges.target)
    assert torch.equal(left.targets, right.targets)
    assert part.ids.tolist() == made_corpus.ids[[5, 40, 2]].tolist()
    assert part.site_counts.tolist() == made_corpus.site_counts[[5, 40, 2]].tolist()


def test_a_saved_corpus_comes_back_whole(made_corpus, toy_class, tmp_path):
    fitted = made_corpus.fit_targets(np.arange(10))
    again = Corpus.load(fitted.save(tmp_path / "corpus.safetensors"))
    one, two = (c.batch([3, 1], toy_class) for c in (fitted, again))
    assert torch.equal(one.rows, two.rows) and torch.equal(one.targets, two.targets)
    assert again.ids.tolist() == fitted.ids.tolist()
    assert again.nbytes == fitted.nbytes and len(again) == len(fitted)
    assert not list(tmp_path.glob("*.partial"))


def test_a_damaged_corpus_is_named(tmp_path):
    (tmp_path / "corpus.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"corpus\.safetensors"):
        Corpus.load(tmp_path / "corpus.safetensors")


def test_crystals_alone_make_a_corpus_that_knows_no_symmetry(made_corpus, canonical):
    alone = Corpus.from_crystals(canonical.crystals)
    assert made_corpus.has_symmetry and not alone.has_symmetry


def test_a_large_corpus_of_129473_crystals_would_stay_below_one_gibibyte(made_corpus):
    sites = made_corpus.site_counts.sum()
    near = made_corpus.neighbours
    per_site = sum(getattr(near, n).nbytes for n in ("degree", "target", "image", "distance"))
    panel = made_corpus.panel
    per_site += sum(getattr(panel, n).nbytes for n in ("frac", "numbers", "occupancy"))
    per_crystal = (made_corpus.nbytes - per_site) / len(made_corpus)
    assert 129_473 * (26 * per_site / sites + per_crystal) < 2**30
