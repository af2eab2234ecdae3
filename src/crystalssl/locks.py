"""One writer at a time, what to say when the system refuses, and points at which tests kill.

A lock belongs to an open file, so it dies with its holder, however that ends. Used by ``files.py``,
which everything else calls.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from crystalssl.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt

FOR_OPEN_FILES = fcntl is not None
"""Whether a file that is locked can be written, renamed and removed; on Windows it cannot."""
LOCK = ".lock"
"""Suffix of files that :func:`exclusive` locks."""
WAIT_SECONDS = 10.0
"""How long :func:`exclusive` waits for another process by default."""
FAULT = "CRYSTALSSL_FAULT"
"""Environment variable of the tests, ``n:file``: die at the n-th point, points are noted in file.

The file is shared with processes that are started; n = 0 only counts.
"""
_RECORD = 256  # bytes of a noted point
_REMEDY = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some of your space",
    errno.EROFS: "Choose a folder that can be written to",
    errno.EACCES: "Choose a folder that you may write to",
    errno.EPERM: "Choose a folder that you may write to",
    errno.ENOTDIR: "Choose a folder that is none of a file",
    errno.ENAMETOOLONG: "Choose a shorter name",
}
_held: dict[str, int] = {}  # locks of this process, and how often each was taken
_guard = threading.Lock()


def cannot_write(path: Path, error: OSError) -> InputError:
    """What to say when the system refuses to write a file."""
    remedy = _REMEDY.get(error.errno or 0, "Free some space or choose another folder")
    return InputError(
        f"Cannot write {path} ({error.strerror or error}). {remedy}; what was there before is "
        "untouched."
    )


def make_folder(folder: str | Path) -> Path:
    """Make a folder and those above it, where they are missing.

    Raises:
        InputError: if the system refuses.
    """
    folder = Path(folder)
    try:
        if not folder.is_dir():
            point("mkdir", folder)
            folder.mkdir(parents=True, exist_ok=True)
            point("made", folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder


@contextmanager
def exclusive(target: str | Path, wait: float | None = None) -> Iterator[None]:
    """Keep other processes from writing to the same place; the lock dies with this process.

    Taking it again within the process does nothing. Where the file system has no locks there is
    none.

    Args:
        target: file, or folder that exists.
        wait: seconds to wait for another process; ``WAIT_SECONDS`` if None.

    Raises:
        InputError: if another process still writes there.
    """
    target = Path(target)
    inside = target.is_dir()
    path = target / LOCK if inside else target.with_name(f".{short(target.name)}{LOCK}")
    key = os.path.realpath(path)
    with _guard:
        nested = key in _held
        _held[key] = _held.get(key, 0) + 1
    try:
        if nested:
            yield
            return
        make_folder(path.parent)
        handle = _wait_for(path, target, WAIT_SECONDS if wait is None else wait)
        try:
            yield
        finally:
            if handle is not None:
                with suppress(OSError):  # Windows does not remove what is open
                    path.unlink()
                handle.close()
    finally:
        with _guard:
            _held[key] -= 1
            if not _held[key]:
                del _held[key]


def _wait_for(path: Path, target: Path, wait: float) -> IO[bytes] | None:
    """The lock file, locked; None where files cannot be locked."""
    end = time.monotonic() + wait
    while True:
        try:
            handle = path.open("ab+")
        except OSError as error:
            raise cannot_write(path, error) from error
        locked = lock(handle)
        if locked and is_same(handle, path):  # else its last holder has just removed it
            import socket

            handle.truncate(0)
            handle.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            handle.flush()
            return handle
        if locked is None:
            handle.close()
            return None
        holder = "" if locked else _read_start(path)
        handle.close()
        if not locked and time.monotonic() >= end:
            raise InputError(
                f"Another crystalssl command writes to {target}{holder and f' ({holder})'}. Wait "
                "until it has ended, or choose another place."
            )
        if not locked:
            time.sleep(0.05)


def lock(handle: IO[bytes]) -> bool | None:
    """Lock an open file for this process without waiting; None where that cannot be done."""
    try:
        if fcntl is not None:
            fcntl.flock(handle.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            handle.seek(2**30)  # a byte behind the text: what is locked cannot be read
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
    except OSError as error:
        busy = error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
        return False if busy else None
    return True


def is_same(handle: IO[bytes], path: Path) -> bool:
    """Whether a path still names an open file."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except OSError:
        return False


def _read_start(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:200].strip()
    except OSError:
        return ""


def short(name: str) -> str:
    """A name short enough that endings fit behind it."""
    return name.encode()[:160].decode(errors="ignore")


def point(action: str, path: Path) -> None:
    """Note that the files on disk are about to change or have changed; die here if told to."""
    setting = os.environ.get(FAULT)
    if not setting:
        return
    number, _, log = setting.partition(":")
    line = f"{action} {path}".encode()[: _RECORD - 1].ljust(_RECORD - 1) + b"\n"
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, line)
    count = os.lseek(handle, 0, os.SEEK_CUR) // _RECORD
    os.close(handle)
    if count == int(number):
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
