"""Cores and worker processes: how many there are, and workers that end with whoever started them.

Used wherever work goes to several processes of one host.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from typing import Any

_SHARE: list[int] = []  # of a worker process: the cores that are its own


def usable_cores() -> int:
    """Cores that this process may use; of a worker among others its share of them."""
    if _SHARE:
        return _SHARE[0]
    if hasattr(os, "sched_getaffinity"):  # Linux; elsewhere a process may use all
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def obey_parent(cores: int = 0) -> None:
    """Leave Ctrl-C to the process that waits, and end when that one is gone, however it went.

    Args:
        cores: cores that this worker may use; 0 for all.
    """
    _SHARE[:] = [cores] if cores else []
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)
