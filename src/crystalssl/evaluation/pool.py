"""Tasks -> their results in order: small ones in a pool of threads, large ones alone at the end.

Neither boosted trees nor small networks keep all cores busy, and small fits least of all. No task
shares a random generator with others: results are those of one worker, to rounding. Used by
experiment.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock
from typing import Generic, TypeVar

Result = TypeVar("Result")

MOST_WORKERS = 4
"""Workers at most: each holds the rows of a fit in memory."""
LARGE = 512 * 2**20
"""Bytes of rows above which nothing else is fitted meanwhile: two such fits at once took 6 GB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task(Generic[Result]):
    """One unit of work.

    Attributes:
        text: what is shown when it is done.
        run: does it.
        alone: whether it is done after all others, with all memory and cores for itself.
    """

    text: str
    run: Callable[[], Result]
    alone: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """How cores are shared.

    Attributes:
        workers: tasks at a time.
        threads: threads of each; 0 for those of the process.
    """

    workers: int = 1
    threads: int = 0

    @staticmethod
    def plan(threads: int = 0) -> Pool:
        """A worker for each core, up to ``MOST_WORKERS``.

        Args:
            threads: threads at most; 0 for as many as networks have.
        """
        import torch

        cores = threads or torch.get_num_threads()
        workers = min(cores, MOST_WORKERS)
        return Pool(workers=workers, threads=cores // workers if workers > 1 else threads)

    def run(self, tasks: Sequence[Task[Result]], done: Callable[[str], None]) -> list[Result]:
        """Results of all tasks, in their order.

        Args:
            tasks: work; begun in order, tasks alone at the end.
            done: called with the text of each task that is done.

        Raises:
            BaseException: the first that a task raises; other workers end with their task.
        """
        results: dict[int, Result] = {}
        stop, lock = Event(), Lock()

        def work(number: int) -> None:
            if stop.is_set():
                return
            try:
                results[number] = tasks[number].run()
            except BaseException:
                stop.set()
                raise
            with lock:
                done(tasks[number].text)

        together = [number for number, task in enumerate(tasks) if not task.alone]
        if self.workers == 1:
            for number in together:
                work(number)
        elif together:
            with _limited(self.threads), ThreadPoolExecutor(self.workers) as executor:
                try:
                    for future in [executor.submit(work, number) for number in together]:
                        future.result()
                except BaseException:  # an interruption of this thread among them
                    stop.set()
                    raise
        for number, task in enumerate(tasks):
            if task.alone:
                work(number)
        return [results[number] for number in range(len(tasks))]


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
