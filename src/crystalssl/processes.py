"""Processes: cores to use, workers that end with whoever started them, being told to stop.

Also where compiled code is kept. Used wherever work goes to several processes of one host, and
around every command.
"""

from __future__ import annotations

import os
import signal
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor
    from types import FrameType

EXIT_TERMINATED = 143
"""Exit code of a command that SIGTERM has stopped: 128 + 15."""
_SHARE: list[int] = []  # of a worker process: the cores that it may use


class Terminated(KeyboardInterrupt):
    """SIGTERM came: whatever handles Ctrl-C handles this too, and exits with another code."""


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Raise :class:`Terminated` in the main thread when SIGTERM comes, as Ctrl-C raises.

    Cluster schedulers send SIGTERM some seconds before they kill. The second signal ends the
    process at once. In other threads nothing changes.

    Example:
        >>> with stop_on_sigterm():
        ...     pass  # work; on Terminated say how to go on, and exit with EXIT_TERMINATED
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated("stopped by SIGTERM")


def with_compile_cache(decorator: Callable[[Any], Any], function: Any) -> Any:
    """A function compiled by numba and cached on disk, wherever it may write.

    In a container neither the package nor a home folder may be writable, and numba refuses; then
    the cache is in the temporary folder, in a place that no other user can write to, since what
    is in a cache is run.

    Args:
        decorator: ``numba.njit(cache=True, ...)``.
        function: what to compile.
    """
    try:
        return decorator(function)
    except RuntimeError:
        import numba

        numba.config.CACHE_DIR = str(_private_folder())
        return decorator(function)


def _private_folder() -> Path:
    """A folder of this user alone; kept for the next process where that can be made sure."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"crystalssl-compiled-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
        if stat.S_ISDIR(state.st_mode) and state.st_uid == user and not state.st_mode & 0o077:
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="crystalssl-compiled-"))


def usable_cores() -> int:
    """Cores that this process may use; of a worker among others its share of them."""
    if _SHARE:
        return _SHARE[0]
    if hasattr(os, "sched_getaffinity"):  # Linux; elsewhere a process may use all
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def limited_threads(count: int | None) -> Iterator[None]:
    """Limit the threads of PyTorch and of the array libraries below it while the block runs."""
    if count is None:
        yield
        return
    import numba
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads(), numba.get_num_threads()
    try:
        torch.set_num_threads(count)
        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
        with threadpool_limits(limits=count):
            yield
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])


@contextmanager
def worker_pool(
    count: int, start: Callable[..., None], *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """Worker processes that are gone when the block ends, whether their work was done or not.

    Args:
        count: number of processes.
        start: called first in each; it should call :func:`obey_parent`.
        arguments: what ``start`` is called with.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=start, initargs=arguments)
    try:
        yield pool
    finally:
        for process in set(multiprocessing.active_children()) - others:
            process.kill()  # all results are in by now, or nobody wants them
        pool.shutdown(wait=True, cancel_futures=True)


def obey_parent(cores: int = 0) -> None:
    """Leave signals to the process that waits, and end when that one is gone, however it went.

    Args:
        cores: cores that this worker may use; 0 for all.
    """
    import multiprocessing

    _SHARE[:] = [cores] if cores else []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)
