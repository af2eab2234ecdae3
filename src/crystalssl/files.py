"""Files written whole or not at all: the one place where a name on disk comes to mean new bytes.

Every output of every layer goes through :func:`atomic`: bytes are written aside under a unique name
in the same folder, flushed to the disk and renamed over the target. Sets of files have one manifest
that is written last. Imports only errors.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crystalssl.errors import InputError

ASIDE = ".partial"
"""Suffix of files that are being written; one that lies about belongs to a process that ended."""
CHUNK = 1 << 20
"""Bytes read at a time for a checksum."""


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
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected the name of a file. Choose another name.")
    aside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{ASIDE}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        flush(aside)
        aside.replace(path)
    except OSError as error:
        raise InputError(
            f"Cannot write {path} ({error.strerror or error}). What stood there before is as it "
            "was. Free some space or choose a folder that can be written to."
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Wait until the bytes of a file are on the disk."""
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())


def write_text(text: str, path: str | Path) -> Path:
    """Write UTF-8 text, atomically, with the line ends of Unix."""
    path = Path(path)
    with atomic(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")
    return path


def write_json(value: Mapping[str, Any], path: str | Path) -> Path:
    """Write a JSON object, atomically and always the same way."""
    return write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", path)


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: if the file is missing or holds something else.
    """
    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"Found no file {path}. Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}). Write it again.") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a {type(value).__name__}, expected a JSON object.")
    return value


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    state = hashlib.sha256()
    with Path(path).open("rb") as handle:
        while chunk := handle.read(CHUNK):
            state.update(chunk)
    return state.hexdigest()
