"""Chunks over threads, the small sort, and sums that are the same wherever arrays lie."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import crystalssl
from crystalssl.blocks._environment_kernels import weigh_bonds
from crystalssl.processes import usable_cores
from crystalssl.representation._compiled import run_chunks, sort_into

PACKAGE = Path(crystalssl.__file__).parent


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


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.floats(0, 1e6), max_size=300))
def test_sort_orders_any_keys(keys: list[float]) -> None:
    array, order = np.array(keys, np.float64), np.empty(len(keys), np.int64)
    sort_into(array, len(keys), order)
    np.testing.assert_array_equal(array[order], np.sort(array))
    assert sorted(order.tolist()) == list(range(len(keys)))


def summing_and_storing(source: str) -> list[str]:
    """Kernels of a file whose sums may be reordered and whose innermost loops also store."""
    named = []
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        if "compiled_sums" not in map(ast.unparse, function.decorator_list):
            continue
        for loop in ast.walk(function):
            inside = list(ast.walk(loop))[1:]
            if not isinstance(loop, ast.For) or any(isinstance(node, ast.For) for node in inside):
                continue
            targets = [node.target for node in inside if isinstance(node, ast.AugAssign)]
            stores = [
                node for node in inside
                if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
            ]  # fmt: skip
            if stores and any(isinstance(target, ast.Name) for target in targets):
                named.append(function.name)
    return named


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_kernel_sums_and_stores_in_one_loop(path: Path) -> None:
    assert summing_and_storing(path.read_text(encoding="utf-8")) == []


def test_a_loop_that_sums_and_stores_is_seen() -> None:
    source = """
@compiled_sums
def kernel(a, b):
    total = 0
    for e in range(len(a)):
        b[e] = a[e]
        total += b[e]
    for e in range(len(a)):
        total += a[e]
"""
    assert summing_and_storing(source) == ["kernel"]
    assert summing_and_storing(source.replace("        b[e] = a[e]\n", "")) == []


@pytest.mark.parametrize("gap", [0, 8, 15, 400])
def test_weights_of_bonds_do_not_depend_on_where_arrays_lie(gap: int) -> None:
    lengths = np.random.default_rng(0).uniform(2, 2.2, 4000).astype(np.float32)
    source, sums = np.repeat(np.arange(100), 40), []
    for space in (1000, gap):
        memory, total = np.zeros(10_000, np.float32), np.zeros(100, np.float32)
        distance, weight = memory[:4000], memory[4000 + space : 8000 + space]
        distance[:] = lengths
        weigh_bonds(distance, source, 0.5, weight, np.zeros(100, np.float32), total)
        sums.append(total.tobytes())
    assert sums[0] == sums[1]
