"""Addresses of weights to folders on this disk: ``hf://org/name@revision`` and ``https://...zip``.

Stands in front of ``weights.find_run``; what it gives is read and checked like any other run. A
plain address must say the checksum of its archive (``https://host/run.zip#sha256=...``).
"""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import urldefrag, urlsplit

from crystalssl.errors import InputError
from crystalssl.files import exclusive, make_folder, remove, write_bytes
from crystalssl.web.downloads import download
from crystalssl.web.huggingface import SUFFIXES, snapshot
from crystalssl.web.requests import shown

HUB = re.compile(r"^hf:/{1,2}(?P<name>[^@]+?)(?:@(?P<revision>.+))?$")
"""A repository; one slash is what ``pathlib`` leaves of two."""
PLAIN = re.compile(r"^(https?):/{1,2}")
MOST_BYTES = 4 * 2**30
"""Bytes that an archive may unpack to."""
MOST_FILES = 10_000
"""Files of an archive, at most."""


def is_address(run: Path | str) -> bool:
    """Whether weights are named by an address rather than a folder or a name."""
    return bool(HUB.match(str(run)) or PLAIN.match(str(run)))


def cache_folder() -> Path:
    """Folder of archives that were unpacked here (``CRYSTALSSL_CACHE``)."""
    usual = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    usual_folder = Path(usual) if usual else Path.home() / ".cache"
    return Path(os.environ.get("CRYSTALSSL_CACHE") or usual_folder / "crystalssl").expanduser()


@cache
def fetch_weights(address: str) -> Path:
    """The folder of a run that an address names, downloaded if it is not there yet.

    Args:
        address: ``hf://organisation/name``, with ``@revision`` or without, or ``https://`` of a
            ``.zip`` with ``#sha256=`` and its checksum.

    Raises:
        InputError: if the address is of another form, there is nothing to be seen at it, or the
            archive is damaged.
        NetworkError: if it is not on disk and the server cannot be reached, or sends other files
            than those named.
    """
    if match := HUB.match(address):
        return snapshot(match["name"], match["revision"] or "main")
    url, fragment = urldefrag(PLAIN.sub(r"\1://", address))
    key, _, checksum = fragment.partition("=")
    if key.lower() != "sha256" or not re.fullmatch("[0-9a-fA-F]{64}", checksum):
        raise InputError(
            f"Weights at {shown(url)} need a checksum, so that nobody can put others in their "
            f"place. Give {shown(url)}#sha256=... with the SHA-256 of the archive (sha256sum FILE)."
        )
    if not urlsplit(url).path.lower().endswith(".zip"):
        raise InputError(f"Got weights at {shown(url)}, expected a .zip of a run.")
    return _unpacked(url, checksum.lower())


def _unpacked(url: str, checksum: str) -> Path:
    """The folder of an archive."""
    folder = cache_folder() / "weights" / checksum
    done = folder.with_name(f"{checksum}.complete")
    make_folder(folder)
    with exclusive(folder):
        if not done.is_file():
            archive = download(url, folder.with_name(f"{checksum}.zip"), checksum=checksum)
            _unpack(archive, folder)
            write_bytes(b"", done)
            remove(archive)
    inner = [path for path in folder.iterdir() if not path.name.startswith(".")]
    single = len(inner) == 1 and inner[0].is_dir() and not any(inner[0].glob("card.json"))
    return inner[0] if single else folder


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack weights, cards and texts; nothing else, and nothing outside the folder.

    Raises:
        InputError: if it is no archive, too large, or names places outside it.
    """
    total = 0
    try:
        with zipfile.ZipFile(archive) as opened:
            listed = [info for info in opened.infolist() if not info.is_dir()]
            if len(listed) > MOST_FILES:
                raise InputError(f"{archive} holds {len(listed):,} files, more than {MOST_FILES:,}")
            for info in listed:
                path = PurePosixPath(info.filename)
                odd = "\\" in info.filename or ":" in info.filename
                if path.is_absolute() or ".." in path.parts or odd:
                    raise InputError(f"{archive} names a file outside it: {info.filename!r:.100}")
                if not path.name.lower().endswith(SUFFIXES) or path.parts[0] == "__MACOSX":
                    continue
                with opened.open(info) as handle:
                    content = handle.read(MOST_BYTES - total + 1)
                total += len(content)
                if total > MOST_BYTES:
                    raise InputError(f"{archive} unpacks to more than {MOST_BYTES:,} bytes")
                write_bytes(content, folder / path)
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error, RuntimeError, ValueError) as error:
        raise InputError(f"{archive} cannot be unpacked ({error}). Pack it anew.") from error
