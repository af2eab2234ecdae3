"""Units of work -> their results in order, trees on some cores while other models use the rest.

Neither boosted trees nor small networks keep all cores busy, so the two run side by side. Each lane
does its units one after another, on threads of its own, and only one of them draws from PyTorch's
generator: results are those of one lane. Used by few_shot.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock
from typing import Generic, TypeVar

Found = TypeVar("Found")

TREES = ("lightgbm", "random_forest")
"""Heads of the lane of trees."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task(Generic[Found]):
    """One unit of work.

    Attributes:
        head: model that it fits; says which lane it goes to.
        text: what is said when it is done; empty for nothing.
        run: does it.
    """

    head: str
    text: str
    run: Callable[[], Found]


@dataclass(frozen=True, kw_only=True, slots=True)
class Lanes:
    """How cores are shared.

    Attributes:
        trees: threads of trees; 0 for all.
        others: threads of networks; 0 for those of the process.
    """

    trees: int = 0
    others: int = 0

    @staticmethod
    def plan(heads: Sequence[str], threads: int = 0) -> Lanes:
        """Two lanes where there are heads for both and cores for both, else one.

        Args:
            heads: heads in use.
            threads: threads at most; 0 for all cores.
        """
        cores = threads or os.cpu_count() or 1
        of_trees = [name in TREES for name in heads]
        if cores < 2 or all(of_trees) or not any(of_trees):
            return Lanes(trees=threads)
        return Lanes(trees=cores - cores // 2, others=cores // 2)

    def run(self, tasks: Sequence[Task[Found]], say: Callable[[str], None]) -> list[Found]:
        """Results of all tasks, in their order.

        Args:
            tasks: units of work; those of one lane are done in order.
            say: called with the text of each task that is done.

        Raises:
            BaseException: the first that a task raises; the other lane ends with its unit.
        """
        found: dict[int, Found] = {}
        stop, lock = Event(), Lock()

        def lane(places: Sequence[int]) -> None:
            try:
                for place in places:
                    if stop.is_set():
                        return
                    found[place] = tasks[place].run()
                    if tasks[place].text:
                        with lock:
                            say(tasks[place].text)
            except BaseException:
                stop.set()
                raise

        every = range(len(tasks))
        trees = [place for place in every if tasks[place].head in TREES]
        if not self.others or not trees:
            lane(every)
        else:
            with ThreadPoolExecutor(1) as pool, _torch_threads(self.others):
                beside = pool.submit(lane, trees)
                lane([place for place in every if tasks[place].head not in TREES])
                beside.result()
        return [found[place] for place in every]


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """Limit the threads of networks for a while."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
