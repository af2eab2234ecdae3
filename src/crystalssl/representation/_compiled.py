"""How NumPy loops become machine code here: one decorator and one way to use several cores.

Kernels are compiled once (cached on disk), release the interpreter lock, and work on a range of
crystals; ``run_chunks`` hands ranges to threads. No OpenMP is involved, so processes that fork
(data loaders, joblib) stay safe, and compilation is several times faster than numba's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from crystalssl.processes import usable_cores, with_compile_cache

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a numeric function with numba, cached on disk and free of the interpreter lock."""
    return _compile(function, fastmath=False)


def compiled_sums(function: Function) -> Function:
    """Like ``compiled``; sums may be taken in another order than written, so that they vectorise.

    Infinities and NaN keep their meaning. The order is fixed when the function is compiled, so the
    same input gives the same bytes, as long as no innermost loop both adds up a number and writes
    to an array: such a loop gets two versions, and where arrays happen to lie decides which runs.
    """
    return _compile(function, fastmath={"reassoc", "contract", "nsz"})


def _compile(function: Function, fastmath: bool | set[str]) -> Function:
    plain = inspect.unwrap(function)  # tests wrap functions in checks that numba cannot read
    decorator = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=fastmath)
    return cast("Function", with_compile_cache(decorator, plain))


@compiled
def sort_into(keys: npt.NDArray[np.float64], n: int, order: npt.NDArray[np.int64]) -> None:
    """Fill ``order[:n]`` with the indices that sort ``keys[:n]``; equal keys in any order.

    A Shell sort: for the few hundred keys of a crystal as fast as a quicksort, and it compiles
    in a tenth of the time of ``np.argsort``.
    """
    for i in range(n):
        order[i] = i
    gap = 1
    while gap < n // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, n):
            item = order[i]
            key = keys[item]
            at = i
            while at >= gap and keys[order[at - gap]] > key:
                order[at] = order[at - gap]
                at -= gap
            order[at] = item
        gap //= 3


def run_chunks(work: Callable[[int, int], object], n: int, size: int = 256) -> None:
    """Call ``work(start, stop)`` over ``range(n)`` in chunks, on all cores.

    The first chunk runs alone, so that a kernel is compiled once and not once a thread.

    Args:
        work: function that fills its own rows of preallocated arrays.
        n: number of crystals.
        size: crystals per chunk.
    """
    starts = range(0, n, size)
    workers = min(usable_cores(), len(starts))
    if workers <= 1:
        for start in starts:
            work(start, min(start + size, n))
        return
    work(0, min(size, n))
    with ThreadPoolExecutor(workers) as pool:
        tasks = [pool.submit(work, start, min(start + size, n)) for start in starts[1:]]
        for task in tasks:
            task.result()
