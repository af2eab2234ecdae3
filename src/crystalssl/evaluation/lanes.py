"""Units of work -> their results in order, several at a time, each on cores of its own.

Neither boosted trees nor small networks keep all cores busy, and small fits least of all. No unit
draws from a generator that others draw from: results are those of one lane, to rounding. Used by
few_shot.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock
from typing import Generic, TypeVar

Found = TypeVar("Found")

MOST = 4
"""Lanes at most: each holds the rows of a fit in memory."""
LARGE = 512 * 2**20
"""Bytes of rows above which nothing else is fitted meanwhile: two such fits at once took 6 GB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task(Generic[Found]):
    """One unit of work.

    Attributes:
        text: what is said when it is done; empty for nothing.
        run: does it.
        alone: whether it is done after all others, with all memory and cores for itself.
    """

    text: str
    run: Callable[[], Found]
    alone: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Lanes:
    """How cores are shared.

    Attributes:
        count: units at a time.
        threads: threads of each; 0 for those of the process.
    """

    count: int = 1
    threads: int = 0

    @staticmethod
    def plan(threads: int = 0) -> Lanes:
        """A lane for each core, up to ``MOST``.

        Args:
            threads: threads at most; 0 for as many as networks have.
        """
        import torch

        cores = threads or torch.get_num_threads()
        count = min(cores, MOST)
        return Lanes(count=count, threads=cores // count if count > 1 else threads)

    def run(self, tasks: Sequence[Task[Found]], say: Callable[[str], None]) -> list[Found]:
        """Results of all tasks, in their order.

        Args:
            tasks: units of work; they are begun in order, those alone at the end.
            say: called with the text of each task that is done.

        Raises:
            BaseException: the first that a task raises; other lanes end with their unit.
        """
        found: dict[int, Found] = {}
        stop, lock = Event(), Lock()

        def work(place: int) -> None:
            if stop.is_set():
                return
            try:
                found[place] = tasks[place].run()
            except BaseException:
                stop.set()
                raise
            if tasks[place].text:
                with lock:
                    say(tasks[place].text)

        shared = [place for place, task in enumerate(tasks) if not task.alone]
        if self.count == 1:
            for place in shared:
                work(place)
        elif shared:
            with _limited(self.threads), ThreadPoolExecutor(self.count) as pool:
                try:
                    for done in [pool.submit(work, place) for place in shared]:
                        done.result()
                except BaseException:  # an interruption of this thread among them
                    stop.set()
                    raise
        for place, task in enumerate(tasks):
            if task.alone:
                work(place)
        return [found[place] for place in range(len(tasks))]


@contextmanager
def _limited(count: int) -> Iterator[None]:
    """Limit the threads of networks and of linear algebra for a while."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
