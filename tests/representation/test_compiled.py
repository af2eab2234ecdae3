"""Chunks over threads and the small sort."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalssl.processes import usable_cores
from crystalssl.representation._compiled import run_chunks, sort_into


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 2000])
def test_every_row_is_visited_once(n: int) -> None:
    seen = np.zeros(n, np.int64)

    def work(start: int, stop: int) -> None:
        seen[start:stop] += 1

    run_chunks(work, n)
    assert (seen == 1).all()


def test_an_error_in_a_chunk_reaches_the_caller() -> None:
    def work(start: int, stop: int) -> None:
        if start >= 512:
            raise ValueError("chunk")

    with pytest.raises(ValueError, match="chunk"):
        run_chunks(work, 1000)


def test_at_least_one_core_is_found() -> None:
    assert usable_cores() >= 1


@given(st.lists(st.floats(0, 1e6), max_size=300))
def test_sort_orders_any_keys(keys: list[float]) -> None:
    array, order = np.array(keys, np.float64), np.empty(len(keys), np.int64)
    sort_into(array, len(keys), order)
    np.testing.assert_array_equal(array[order], np.sort(array))
    assert sorted(order.tolist()) == list(range(len(keys)))
