"""Paths to the files inside them: folders are walked, archives streamed, .gz opened.

Nothing is extracted to disk: members of archives are read into memory one by one, links and
special members are passed over. Called by ``reading.py``, which knows the formats.
"""

from __future__ import annotations

import gzip
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
"""Largest file, unpacked, that is read from an archive or a .gz."""

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
"""Endings of archives."""

_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    OSError,
    zlib.error,
    lzma.LZMAError,
    RuntimeError,
    NotImplementedError,
)


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
                with open(self.path, "rb") as handle:  # noqa: PTH123  a Path costs more than the read
                    data = handle.read()
            return _gunzip(data) if self.name.lower().endswith(".gz") else data
        except (OSError, EOFError, zlib.error) as error:
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
    elif path.exists():
        yield from _file(str(path), explicit=True)
    else:
        raise InputError(f"No file or folder {path}. Check the path (now in {Path.cwd()}).")


def _file(path: str, *, explicit: bool) -> Iterator[Member]:
    if is_archive(path):
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
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = f"{path}/{info.filename}"
            if info.is_dir():
                continue
            if info.file_size > MAX_BYTES:
                yield Member(name=name, problem=f"{info.file_size} bytes, too large to read")
                continue
            yield Member(name=name, data=archive.read(info))


def _tar(path: Path) -> Iterator[Member]:
    with tarfile.open(path, "r|*") as archive:
        for info in archive:
            name = f"{path}/{info.name}"
            if not info.isfile():
                continue
            if info.size > MAX_BYTES:
                yield Member(name=name, problem=f"{info.size} bytes, too large to read")
                continue
            handle = archive.extractfile(info)
            if handle is not None:
                yield Member(name=name, data=handle.read())


def _hidden(inner: str) -> bool:
    parts = PurePosixPath(inner).parts
    return any(part.startswith((".", "__MACOSX")) and part not in (".", "..") for part in parts)


def _gunzip(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    content = unpacker.decompress(data, MAX_BYTES)
    if unpacker.unconsumed_tail:
        raise OSError(f"more than {MAX_BYTES} bytes when unpacked")
    if not unpacker.eof:
        raise EOFError("the compressed file is cut off")
    if unpacker.unused_data:
        content += gzip.decompress(unpacker.unused_data)
    return content
