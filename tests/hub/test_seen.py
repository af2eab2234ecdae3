from dataclasses import replace

import numpy as np
import pytest

from crystalssl.blocks.registry import build_block
from crystalssl.datasets.bundled import load_bundled
from crystalssl.errors import InputError
from crystalssl.hub import weights as hub
from crystalssl.hub.seen import SEEN_FILE, HashSet, Seen
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.formulas import reduced_formulas
from crystalssl.structures.transforms import TRANSFORMS


@pytest.fixture(scope="module")
def bundled():
    return load_bundled()


@pytest.fixture(scope="module")
def corpus(bundled):
    """Every other crystal, as pre-training would have seen it."""
    return bundled.take(np.arange(0, len(bundled), 2))


@pytest.fixture(scope="module")
def seen(corpus):
    return Seen.from_crystals(canonicalize(corpus).crystals)


def test_every_crystal_of_the_corpus_is_recognised_in_the_cell_it_was_given(corpus, seen):
    assert seen.formulas(corpus).all()
    assert seen.structures(corpus).all()


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_crystal_is_recognised_in_any_description(corpus, seen, name):
    assert seen.structures(TRANSFORMS[name](corpus.take(np.arange(150)), 5)).all()


def test_a_crystal_is_recognised_with_noise_of_a_hundredth_of_an_angstrom(corpus, seen):
    noise = np.random.default_rng(0).normal(0, 0.01, corpus.frac_coords.shape)
    moved = np.einsum("si,sij->sj", noise, np.linalg.inv(corpus.lattice)[corpus.crystal_of_site])
    shaken = replace(corpus, frac_coords=corpus.frac_coords + moved)
    assert seen.structures(shaken).mean() > 0.999


def test_a_cell_that_is_one_percent_longer_is_the_same_crystal_and_ten_percent_another(
    corpus, seen
):
    assert seen.structures(replace(corpus, lattice=corpus.lattice * 1.009)).all()
    assert seen.structures(replace(corpus, lattice=corpus.lattice * 1.1)).mean() < 0.1


def test_formulas_that_were_not_there_are_taken_for_seen_no_more_often_than_stated(bundled, seen):
    held = set(reduced_formulas(bundled).tolist())
    made = [f"X{i}Y" for i in range(200_000)]
    assert held.isdisjoint(made)
    assert seen.formulas_held.holds(made).mean() < 1.2 * seen.false_positive_rate


def test_the_same_elements_ordered_otherwise_are_another_crystal():
    rock = canonicalize(load_bundled().take([0])).crystals
    cube = np.eye(3)[None] * 4.2
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    full = np.array([[1, 0, 0, 0]], np.float32)
    made = []
    for height, kinds in ((1.0, [29, 29, 79, 79]), (2.0, [29, 29, 79, 79, 79, 79, 29, 29])):
        cells = [sites * [1, 1, 1 / height] + [0, 0, k / height] for k in range(int(height))]
        numbers = np.zeros((len(kinds), 4), np.int16)
        numbers[:, 0] = kinds
        made.append(
            replace(
                rock,
                lattice=cube * np.array([[1], [1], [height]]),
                offsets=np.array([0, len(kinds)]),
                frac_coords=np.concatenate(cells),
                numbers=numbers,
                occupancy=np.repeat(full, len(kinds), 0),
            )
        )
    alternating, double_layers = made
    seen = Seen.from_crystals(alternating)
    assert seen.formulas(double_layers).all() and not seen.structures(double_layers).any()


def test_a_disordered_crystal_is_recognised_too(many_crystals, canonical):
    assert Seen.from_crystals(canonical.crystals).structures(many_crystals).all()


def test_an_empty_corpus_has_seen_nothing(bundled):
    nothing = Seen.from_crystals(bundled.take([]))
    assert not nothing.structures(bundled.take([0, 1])).any()


def test_a_packed_set_comes_back_and_takes_two_bits_more_than_its_hashes():
    held = HashSet.of([f"text {i}" for i in range(5000)], 12)
    packed = held.pack()
    np.testing.assert_array_equal(
        HashSet.unpack(packed["low"], packed["high"], len(held), 12).values, held.values
    )
    assert sum(part.nbytes for part in packed.values()) <= 5000 * 14 / 8 + 2
    assert held.holds([f"text {i}" for i in range(5000)]).all()


def test_the_file_is_read_back_and_has_the_same_bytes_whatever_the_order(corpus, seen, tmp_path):
    checksum = seen.save(tmp_path / SEEN_FILE)
    again = Seen.load(tmp_path / SEEN_FILE, checksum)
    for name in ("formulas_held", "structures_held"):
        np.testing.assert_array_equal(getattr(again, name).values, getattr(seen, name).values)
    back = corpus.take(np.arange(len(corpus))[::-1])
    assert Seen.from_crystals(canonicalize(back).crystals).save(tmp_path / "back") == checksum


def test_a_corpus_in_parts_gives_the_same_list(corpus, tmp_path):
    parts = [corpus.take(rows) for rows in np.array_split(np.arange(300), 4)]
    whole = Seen.from_crystals(corpus.take(np.arange(300)))
    assert Seen.from_batches(parts).save(tmp_path / "a") == whole.save(tmp_path / "b")


def test_hashes_are_the_same_on_every_machine():
    assert HashSet.of(["NaCl", "LiFePO4", "Si"], 11).values.tolist() == [259, 4290, 4570]


def test_a_damaged_or_missing_file_is_refused(seen, tmp_path):
    path = tmp_path / SEEN_FILE
    with pytest.raises(InputError, match="Cannot read the list of seen crystals"):
        Seen.load(path)
    checksum = seen.save(path)
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    with pytest.raises(InputError, match="checksum differs"):
        Seen.load(path, checksum)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="no list of seen crystals"):
        Seen.load(path)


def test_weights_carry_what_they_have_seen_and_exports_do_too(registered_toy, seen, tmp_path):
    block = registered_toy(registered_toy.Config())
    card = hub.save_weights(block, tmp_path / "run" / "toy", seen=seen)
    assert card.data["seen"]["structures"] == len(seen.structures_held)
    hub.export_run(tmp_path / "run", tmp_path / "out")
    found = hub.load_seen(tmp_path / "out" / "toy")
    np.testing.assert_array_equal(found.formulas_held.values, seen.formulas_held.values)
    assert (tmp_path / "out/toy/card.json").read_text() == (
        tmp_path / "run/toy/card.json"
    ).read_text()


def test_weights_without_a_list_say_so(registered_toy, tmp_path):
    hub.save_weights(registered_toy(registered_toy.Config()), tmp_path)
    assert hub.load_seen(tmp_path) is None


def test_a_list_that_several_blocks_of_a_run_have_is_kept_once(seen, tmp_path):
    for name in ("composition", "lattice"):
        hub.save_weights(build_block(name), tmp_path / "run" / name, seen=seen)
    hub.save_weights(build_block("occupancy"), tmp_path / "run" / "occupancy")
    out = hub.export_run(tmp_path / "run", tmp_path / "out")
    assert [path.name for path in out.rglob("seen*")] == [
        f"seen-{hub.load_cards(out)['lattice'].data['seen']['sha256'][:12]}.safetensors"
    ]
    for name in ("composition", "lattice"):
        kept = hub.load_seen(out / name)
        assert kept is not None and kept.pack() == seen.pack()
    again = hub.export_run(out, tmp_path / "again")
    assert hub.load_seen(again / "lattice") is not None
    hub.save_weights(build_block("lattice"), out / "lattice")
    hub.save_weights(build_block("composition"), out / "composition")
    hub.share_seen(out)
    assert not list(out.rglob("seen*"))
