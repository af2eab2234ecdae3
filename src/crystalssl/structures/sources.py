"""Paths to the files inside them: folders are walked, archives streamed, .gz opened.

Nothing is extracted to disk: members of archives are read into memory one by one, links and
special members are passed over. Called by ``reading.py``, which knows the formats.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from crystalssl.errors import InputError

MAX_BYTES = 4 * 1024**3
"""Largest file that is read."""
SAFE_BYTES = 256 * 1024**2
"""Bytes that anything packed may always unpack to."""
MOST_TIMES = 40
"""How many times its packed size something may unpack to beyond ``SAFE_BYTES``."""

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
"""Endings of archives."""

_Stream = io.BufferedReader | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile

_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    OSError,
    zlib.error,
    lzma.LZMAError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    MemoryError,
    IndexError,
    KeyError,
    OverflowError,
)
"""What damaged archives make Python's own readers raise."""


def most_bytes(packed: int) -> int:
    """Bytes that something of a packed size may unpack to; more is taken for a bomb."""
    return min(MAX_BYTES, max(SAFE_BYTES, MOST_TIMES * packed))


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One file to read.

    Attributes:
        name: path for messages, of the form ``archive.zip/folder/file.cif`` inside an archive.
        path: the file itself when it lies on disk, else None.
        data: its content when it came out of an archive.
        problem: why it cannot be read, empty when it can.
        explicit: whether the user named this very file.
    """

    name: str
    path: str | None = None
    data: bytes = b""
    problem: str = ""
    explicit: bool = False

    @property
    def plain_name(self) -> str:
        """Name of the file without folders and without ``.gz``."""
        base = self.name.replace("\\", "/").rpartition("/")[2]
        return base[:-3] if base.lower().endswith(".gz") else base

    @property
    def folder(self) -> str:
        """Name of the folder (or archive) that holds it."""
        return PurePosixPath(self.name.replace("\\", "/")).parent.name

    def read(self) -> bytes:
        """Its content, unpacked.

        Raises:
            InputError: if it cannot be read.
        """
        try:
            data = self.data
            if self.path is not None:
                if os.path.getsize(self.path) > MAX_BYTES:  # noqa: PTH202  as below
                    raise OSError(f"more than {MAX_BYTES} bytes")
                with open(self.path, "rb") as handle:  # noqa: PTH123  a Path costs more than the read
                    data = handle.read()
            return _gunzip(data) if self.name.lower().endswith(".gz") else data
        except (OSError, EOFError, zlib.error, MemoryError) as error:
            raise InputError(f"the file cannot be read: {error}") from error


def is_archive(name: str) -> bool:
    """Whether a file name ends like an archive."""
    return name.lower().endswith(ARCHIVES)


def members(source: str | Path) -> Iterator[Member]:
    """Every file behind a source, in a fixed order.

    Args:
        source: a file, a folder (walked in full, hidden entries left out) or an archive.

    Raises:
        InputError: if the path does not exist.
    """
    path = Path(source)
    if path.is_dir():
        for folder, inner, names in os.walk(path):
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith("."):
                    yield from _file(f"{folder}/{name}", explicit=False)
    elif path.is_file():
        yield from _file(str(path), explicit=True)
    elif path.exists():
        raise InputError(f"{path} is neither a file nor a folder; expected one of them.")
    else:
        raise InputError(f"No file or folder {path}. Check the path (now in {Path.cwd()}).")


def _file(path: str, *, explicit: bool) -> Iterator[Member]:
    if not os.path.isfile(path):  # noqa: PTH113  a pipe or a device would never end
        yield Member(name=path, problem="it is no regular file", explicit=explicit)
    elif is_archive(path):
        yield from _archive(Path(path))
    else:
        yield Member(name=path, path=path, explicit=explicit)


def _archive(path: Path) -> Iterator[Member]:
    count = 0
    try:
        inside = _zip(path) if path.suffix.lower() == ".zip" else _tar(path)
        for member in inside:
            count += 1
            if not _hidden(member.name[len(str(path)) :]):
                yield member
    except _DAMAGED as error:
        reason = f"the archive cannot be read after {count} files: {error!r}"
        yield Member(name=str(path), problem=reason, explicit=True)


def _zip(path: Path) -> Iterator[Member]:
    limit = most_bytes(path.stat().st_size)
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = f"{path}/{info.filename}"
            if info.is_dir():
                continue
            if info.file_size > limit:
                yield Member(name=name, problem=f"{info.file_size} bytes, too large to read")
                continue
            try:
                with archive.open(info) as handle:
                    data = handle.read(limit + 1)
            except _DAMAGED as error:
                yield Member(name=name, problem=f"it cannot be unpacked: {error!r}")
                continue
            yield Member(name=name, data=data)


def _tar(path: Path) -> Iterator[Member]:
    limit = most_bytes(path.stat().st_size)
    with (
        _unpacked(path) as plain,
        _Counted(plain, 4 * limit) as counted,
        tarfile.open(fileobj=counted, mode="r|") as archive,
    ):
        for info in archive:
            name = f"{path}/{info.name}"
            if not info.isfile():
                continue
            if info.size > limit:
                yield Member(name=name, problem=f"{info.size} bytes, too large to read")
                continue
            handle = archive.extractfile(info)
            if handle is not None:
                yield Member(name=name, data=handle.read())


def _unpacked(path: Path) -> _Stream:
    """The plain tar stream of an archive, by its first bytes."""
    with path.open("rb") as handle:
        head = handle.read(6)
    if head.startswith(b"\x1f\x8b"):
        return gzip.open(path)
    if head.startswith(b"BZh"):
        return bz2.open(path)
    if head.startswith(b"\xfd7zXZ\0"):
        return lzma.open(path)
    return path.open("rb")


class _Counted(io.RawIOBase):
    """A stream that ends in an error after so many bytes."""

    def __init__(self, stream: _Stream, limit: int) -> None:
        super().__init__()
        self._stream, self._left = stream, limit

    def readable(self) -> bool:
        """It can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes.

        Raises:
            OSError: once more than the limit was read.
        """
        # what is there: a stream that is cut off raises only where nothing more is
        data = self._stream.read1(size)
        self._left -= len(data)
        if self._left < 0:
            raise OSError("it unpacks to far more than its size and is taken for a bomb")
        return data


def _hidden(inner: str) -> bool:
    parts = PurePosixPath(inner).parts
    return any(part.startswith((".", "__MACOSX")) and part not in (".", "..") for part in parts)


def _gunzip(data: bytes) -> bytes:
    """All members of a .gz, within the limit for its size."""
    limit = most_bytes(len(data))
    with gzip.open(io.BytesIO(data)) as handle:
        content = handle.read(limit + 1)
    if len(content) > limit:
        raise OSError(f"more than {limit} bytes when unpacked, far more than its size")
    return content
