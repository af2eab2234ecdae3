import numpy as np
import pytest

from crystalssl.datasets.samplers import BatchSampler
from crystalssl.errors import InputError

SITES = np.random.default_rng(3).integers(1, 60, 500)
INDEX = np.random.default_rng(4).permutation(500)[:400]


def sampler(**changes):
    settings = {"batch_size": 32, "max_atoms": 700, "seed": 5, "epochs": 4, **changes}
    return BatchSampler(INDEX, SITES, **settings)


def test_every_row_is_in_exactly_one_batch_of_an_epoch():
    for epoch in range(4):
        rows = np.concatenate(sampler().epoch(epoch))
        assert sorted(rows) == sorted(INDEX)


def test_batches_keep_to_their_bounds():
    for rows in sampler().epoch(1):
        assert 1 <= len(rows) <= 32
        assert SITES[rows].sum() <= 700


def test_a_crystal_larger_than_the_bound_has_a_batch_of_its_own():
    batches = BatchSampler([0, 1, 2], [3, 900, 4], batch_size=8, max_atoms=10).epoch(0)
    assert sorted(map(sorted, batches)) == [[0], [1], [2]] or [1] in [b.tolist() for b in batches]
    assert sorted(np.concatenate(batches)) == [0, 1, 2]


def test_the_same_seed_gives_the_same_order_and_epochs_differ():
    one, two = sampler().epoch(2), sampler().epoch(2)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(np.concatenate(one), np.concatenate(sampler().epoch(3)))
    assert not np.array_equal(np.concatenate(one), np.concatenate(sampler(seed=6).epoch(2)))


def test_without_shuffling_the_order_is_kept():
    assert np.array_equal(np.concatenate(sampler(shuffle=False).epoch(3)), INDEX)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_epochs_and_processes_have_the_same_number_of_batches(processes):
    plan = sampler(multiple=processes)
    assert plan.batches_per_epoch % processes == 0
    for epoch in range(4):
        shares = [list(plan.share(epoch, rank, processes)) for rank in range(processes)]
        assert {len(share) for share in shares} == {plan.batches_per_epoch // processes}
        rows = np.concatenate([rows for share in shares for _, rows in share])
        assert sorted(rows) == sorted(INDEX)


def test_too_few_crystals_for_the_processes_are_refused():
    with pytest.raises(InputError, match="fewer devices"):
        BatchSampler([0, 1], [1, 1], batch_size=8, max_atoms=8, multiple=3)
    with pytest.raises(InputError, match="no crystals"):
        BatchSampler([], [1, 1], batch_size=8, max_atoms=8)
