"""Large files from servers to disk: checked, put in place whole, gone on with after a kill.

What came so far lies beside the target under a name that says the checksum it is to have; only
files whose checksum is known are gone on with, since others may have changed on the server.
"""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Callable, Mapping
from pathlib import Path

from crystalssl.errors import InputError, NetworkError
from crystalssl.files import CHUNK, atomic, make_folder, remove, sha256
from crystalssl.web.requests import BrokenAnswerError, opened, patiently, shown

MOST_BYTES = 64 * 2**30
"""Bytes of the largest file that is taken."""


def download(
    url: str,
    path: Path,
    *,
    checksum: str = "",
    size: int | None = None,
    headers: Mapping[str, str] | None = None,
    advance: Callable[[int, int], None] | None = None,
) -> Path:
    """Bring a file to disk, unless it is there already.

    Args:
        url: where it is.
        path: where it goes.
        checksum: hexadecimal SHA-256 that it must have, where that is known.
        size: bytes that it must have, where that is known.
        headers: further headers of the request.
        advance: told bytes so far and in all.

    Returns:
        The path.

    Raises:
        NetworkError: if the server fails, or sends another file than the one described.
    """
    if checksum and path.is_file() and sha256(path) == checksum:
        return path
    make_folder(path.parent)
    pending = path.with_name(f".{checksum[:16] or 'new'}.{path.name[:80]}.download")
    if not checksum:
        remove(pending)
    for attempt in (1, 2):
        if checksum and pending.is_file() and not _problem(pending, checksum, size):
            break
        patiently(lambda: _go_on(url, pending, size, headers, advance), url)
        problem = _problem(pending, checksum, size)
        if not problem:
            break
        remove(pending)  # of another version, or damaged on the way
        if attempt == 2:
            raise NetworkError(f"{shown(url)} is not the file expected: {problem}.")
    try:
        with atomic(path) as aside:
            pending.replace(aside)
    except OSError as error:
        raise InputError(f"Cannot write {path} ({error.strerror}).") from error
    return path


def _go_on(
    url: str,
    pending: Path,
    size: int | None,
    headers: Mapping[str, str] | None,
    advance: Callable[[int, int], None] | None,
) -> None:
    """Append what is still missing.

    Raises:
        BrokenAnswerError: if the answer breaks off.
    """
    have = pending.stat().st_size if pending.exists() else 0
    if size is not None and have >= size:
        return
    asked = dict(headers or {})
    if have:
        asked["Range"] = f"bytes={have}-"
    with opened(url, asked) as answer:
        if have and answer.status != http.client.PARTIAL_CONTENT:
            have = 0  # a server that knows no ranges begins anew
        left = answer.headers.get("Content-Length", "")
        total = have + int(left) if left.isdigit() else (size or 0)
        most = MOST_BYTES if size is None else size
        with pending.open("ab" if have else "wb") as handle:
            while chunk := answer.read(CHUNK):
                have += len(chunk)
                if have > most:
                    raise NetworkError(f"{shown(url)} sends more than {most:,} bytes.")
                handle.write(chunk)
                if advance is not None:
                    advance(have, total)
    if total and have < total:
        raise BrokenAnswerError(f"the file broke off after {have:,} of {total:,} bytes")


def _problem(path: Path, checksum: str, size: int | None) -> str:
    """What is wrong with a file, or an empty text."""
    got = path.stat().st_size if path.exists() else 0
    if size is not None and got != size:
        return f"got {got:,} bytes, expected {size:,}"
    if checksum and (found := sha256(path)) != checksum:
        return f"got SHA-256 {found[:16]}..., expected {checksum[:16]}..."
    return ""


def git_blob_of(content: bytes) -> str:
    """Name that git gives to a file of this content (SHA-1), by which hubs list small files."""
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()
