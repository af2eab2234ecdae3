"""Files written whole or not at all: the one place where a name on disk comes to mean new bytes.

Every output of every layer goes through :func:`atomic`, files that belong together through
:func:`atomic_set` with the one that describes the others last, and every removal through
:func:`remove`. :func:`exclusive` keeps two processes from writing to one place. Each rename,
removal and new folder is a point at which the tests kill the process.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalssl.errors import InputError, Skip, cell_text
from crystalssl.locks import (
    FAULT,
    FOR_OPEN_FILES,
    LOCK,
    cannot_write,
    exclusive,
    lock,
    make_folder,
    point,
    short,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "FAULT", "LOCK", "atomic", "atomic_set", "cannot_write", "check", "check_target",
    "check_version", "describe", "exclusive", "json_text", "load_npy", "make_folder", "read_json",
    "remove", "scratch", "sha256", "write_bytes", "write_json", "write_skipped", "write_text",
]  # fmt: skip

ASIDE = ".partial"
"""Suffix of files that are being written; they are hidden and locked by who writes them."""
ABANDONED = 24 * 3600.0
"""Seconds since the last change after which such a file is of a dead process, where nothing locks
it."""
CHUNK = 1 << 20
"""Bytes read at a time for a checksum."""
LARGEST_JSON = 256 * 2**20
"""Bytes of the largest JSON file that is read."""
_swept: set[Path] = set()  # folders looked through for what dead processes left
_guard = threading.Lock()


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A path to write to, which takes the place of ``path`` when the block ends without an error.

    Args:
        path: target; its folder is made where it is missing.

    Yields:
        A path beside it that no other process uses. After an error it is removed, and what stood
        at the target before is untouched.

    Raises:
        InputError: if the target is a folder, or the system refuses to write.
    """
    with atomic_set(path) as (aside,):
        yield aside


@contextmanager
def atomic_set(*paths: str | Path) -> Iterator[list[Path]]:
    """As :func:`atomic` for files that belong together.

    All are complete and on the disk before the first takes its place. Between the first and the
    last a process may still die, so the last describes the others (:func:`describe`), and readers
    compare (:func:`check`).

    Args:
        paths: targets, in the order in which they are put in place.

    Raises:
        InputError: if a target is a folder, or the system refuses to write.
    """
    targets = [Path(path) for path in paths]
    try:
        with ExitStack() as stack:
            asides = [stack.enter_context(_aside(target)) for target in targets]
            modes = [aside.stat().st_mode & 0o777 for aside in asides]  # as the umask has it
            yield asides
            for aside, mode in zip(asides, modes, strict=True):
                _flush(aside, mode)
            for aside, target in zip(asides, targets, strict=True):
                point("rename", target)
                aside.replace(target)
                point("renamed", target)
            for folder in {target.parent for target in targets}:
                _flush_folder(folder)
    except OSError as error:
        named = None if error.filename is None else Path(os.fsdecode(error.filename)).parent
        if named not in (None, *(folder for t in targets for folder in (t.parent, *t.parents))):
            raise  # of another file, e.g. one that is read
        raise cannot_write(targets[-1], error) from error


@contextmanager
def scratch(path: str | Path) -> Iterator[Path]:
    """A file beside ``path`` to write to, which is gone when the block ends.

    Raises:
        InputError: as :func:`atomic`.
    """
    try:
        with _aside(Path(path)) as aside:
            yield aside
    except OSError as error:
        raise cannot_write(Path(path), error) from error


def write_text(text: str, path: str | Path) -> Path:
    """Write UTF-8 text with the line ends of Unix, atomically."""
    path = Path(path)
    with atomic(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")
    return path


def write_bytes(content: bytes, path: str | Path) -> Path:
    """Write bytes, atomically."""
    path = Path(path)
    with atomic(path) as aside:
        aside.write_bytes(content)
    return path


def write_json(value: Mapping[str, Any], path: str | Path) -> Path:
    """Write a JSON object, atomically and always the same way."""
    return write_text(json_text(value), path)


def json_text(value: Mapping[str, Any]) -> str:
    """A JSON object as :func:`write_json` writes it."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: if the file is missing, larger than ``LARGEST_JSON``, or holds something else.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"{path.stat().st_size:,} bytes, expected at most {LARGEST_JSON:,}")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"Found no file {path}. Check the path.") from error
    except OSError as error:
        raise InputError(f"Cannot read {path} ({error.strerror}). Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}). Write it again.") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a {type(value).__name__}, expected a JSON object.")
    return value


def load_npy(path: str | Path) -> npt.NDArray[np.generic]:
    """An array of a ``.npy`` file, mapped into memory and read-only; pickles are never read.

    NumPy raises errors of many kinds on damaged headers, and trusts the size that they claim where
    a file is not mapped.

    Raises:
        OSError: if the system refuses.
        ValueError: if the file is no ``.npy`` array, or is cut off.
    """
    import numpy as np  # whoever only writes files goes without

    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise ValueError(f"{path} is no .npy array ({error!r})") from error
    if not isinstance(stored, np.ndarray):
        stored.close()
        raise ValueError(f"{path} is an archive, expected one .npy array")
    return stored


def check_version(version: object, newest: int, path: str | Path) -> int:
    """The version of a file's format, if this package reads it.

    Args:
        version: what the file says; None for files from before versions were written.
        newest: version that this package writes.
        path: file, for the message.

    Raises:
        InputError: if the file is newer, or says no number.
    """
    if version is None:
        return 0
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise InputError(
            f"{path} has format version {version!r}, expected a number. Write it again."
        )
    if version > newest:
        raise InputError(
            f"{path} has format version {version}, written by a newer crystalssl; this one reads "
            f"up to {newest}. Update it: pip install --upgrade crystalssl."
        )
    return version


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    import hashlib

    state = hashlib.sha256()
    with Path(path).open("rb") as handle:
        while chunk := handle.read(CHUNK):
            state.update(chunk)
    return state.hexdigest()


def describe(files: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Size and checksum of the files of a set, for the file that is written last.

    Args:
        files: where each file is now, by the name it will have.
    """
    return {
        name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for name, path in files.items()
    }


def check(described: Mapping[str, Any], folder: Path, remedy: str, *, content: bool = True) -> None:
    """Compare files with what :func:`describe` said of them.

    Args:
        described: its result.
        folder: where the files are.
        remedy: what to do, for the message.
        content: whether checksums are compared, not sizes alone.

    Raises:
        InputError: if a file is missing or another one.
    """
    for name, expected in described.items():
        path = Path(folder) / name
        try:
            same = path.stat().st_size == expected["bytes"]
            same = same and (not content or sha256(path) == expected["sha256"])
        except (OSError, KeyError, TypeError):
            same = False
        if not same:
            raise InputError(
                f"{path} is missing or not the file that was written together with the others in "
                f"{folder}. {remedy}"
            )


def check_target(path: str | Path) -> Path:
    """Make sure, before any work, that a file can be written.

    Raises:
        InputError: if it cannot.
    """
    with scratch(path):
        return Path(path)


def remove(*paths: str | Path) -> None:
    """Remove files, or folders with all that is in them, in the order given.

    Raises:
        InputError: if the system refuses.
    """
    for path in map(Path, paths):
        if not os.path.lexists(path):
            continue
        point("unlink", path)
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"Cannot remove {path} ({error.strerror}). Remove it.") from error
        point("unlinked", path)


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A new file beside a target, locked while this process lives and removed at the end."""
    if target.is_dir():
        raise InputError(f"{target} is a folder; expected the name of a file. Choose another name.")
    make_folder(target.parent)
    _sweep(target.parent)
    path = target.with_name(f".{short(target.name)}.{os.urandom(6).hex()}{ASIDE}")
    with path.open("xb") as handle:
        if FOR_OPEN_FILES:
            lock(handle)
        else:
            handle.close()  # Windows moves and removes closed files only
        point("open", path)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what dead processes left half written, once for each folder."""
    with _guard:
        known = folder.resolve() in _swept
        _swept.add(folder.resolve())
    if known:
        return
    for path in sorted(folder.glob(f".*{ASIDE}")):
        with suppress(OSError):  # Windows: removing what is open fails
            if not FOR_OPEN_FILES:  # no lock tells whether someone writes to it
                if time.time() - path.stat().st_mtime > ABANDONED:
                    path.unlink()
                continue
            with path.open("rb") as handle:
                if lock(handle):
                    remove(path)


def _flush(path: Path, mode: int) -> None:
    """Wait until the bytes of a file are on the disk; libraries may have made it private."""
    path.chmod(mode)
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())


def _flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system knows how to."""
    if os.name != "posix":
        return
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def write_skipped(skips: Sequence[Skip], path: str | Path) -> Path:
    """Write skipped structures as CSV (id, file, reason, remedy), atomically.

    Control characters are escaped, and text that a spreadsheet would run as a formula is quoted.
    """
    with atomic(path) as aside, aside.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "file", "reason", "remedy"])
        writer.writerows(
            map(cell_text, (skip.id, skip.file, skip.reason, skip.remedy)) for skip in skips
        )
    return Path(path)
