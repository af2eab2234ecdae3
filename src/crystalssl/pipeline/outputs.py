"""Places where results go, looked at before the work, and the list of what was left out.

A file or folder that cannot be written, or that would destroy what is not ours, is an error before
anything is computed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from crystalssl.errors import InputError, Note, Skip, printable
from crystalssl.files import remove, write_skipped
from crystalssl.pipeline.progress import Progress

SKIPPED = "skipped.csv"
"""List of structures left out: this name in a folder of results, this ending beside a file."""
HEADER = "id,file,reason,remedy"
"""First line of such a list."""
PROBE_BYTES = 65_536
"""Bytes written to learn whether there is room; a full disk takes an empty file."""


def check_folder(folder: str | Path) -> Path:
    """Make a folder of results and make sure that it can be written to.

    Raises:
        InputError: if it is a file, cannot be made or written, or the disk is full.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"Cannot write to the folder {folder}: it is a file. Choose another.")
    probe = folder / f".write-test-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(bytes(PROBE_BYTES))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"Cannot write to the output folder {folder}: {error.strerror}. Free some space there, "
            "or choose another that you may write to."
        ) from error
    return folder


def check_file(path: str | Path, endings: Sequence[str]) -> Path:
    """Make sure that an output file has a known ending and can be written.

    Raises:
        InputError: for an unknown ending, a name that is a folder, or as ``check_folder``.
    """
    path = Path(path)
    if path.suffix not in endings:
        raise InputError(
            f"Cannot tell the format of {path}: got ending {path.suffix or 'none'!r}, "
            f"expected one of {', '.join(endings)}."
        )
    if path.is_dir():
        raise InputError(f"Cannot write {path}: it is a folder. Give the name of a file.")
    check_folder(path.parent)
    return path


def skipped_list(out: Path) -> Path:
    """Where the list of structures left out belongs: in a folder, or beside a file."""
    return out / SKIPPED if out.is_dir() else out.with_name(f"{out.name}.{SKIPPED}")


def forget_skipped(out: Path) -> None:
    """Remove the list that an earlier command left for the same output.

    Raises:
        InputError: if a file of that name is something else.
    """
    path = skipped_list(out)
    _refuse_foreign(path)
    remove(path)


def _refuse_foreign(path: Path) -> None:
    """Leave alone a file of the list's name that no command wrote."""
    if not path.exists():
        return
    try:
        with path.open(encoding="utf-8") as handle:
            ours = handle.readline().strip() == HEADER
    except (OSError, UnicodeDecodeError):
        ours = False
    if not ours:
        raise InputError(
            f"{path} is not a list of skipped structures (first line {HEADER}), so it is not "
            "replaced. Move it away or choose another output."
        )


def report_skipped(
    skipped: Sequence[Skip], total: int, out: Path | None, *, strict: bool, progress: Progress
) -> None:
    """List what was left out, say how many there are, and stop if the user wants no gaps.

    Args:
        skipped: structures left out so far.
        total: structures that were given.
        out: output of the command, in or beside which the list goes; None for no list. A list
            that is there stays when nothing was skipped: it may be another command's.
        strict: whether any skipped structure is an error.
        progress: told how many there are.

    Raises:
        InputError: if ``strict`` and something was skipped, or if nothing is left.
    """
    if total == 0:
        raise InputError(
            "Found no structures. Give files, folders or archives with structures in them."
        )
    if not skipped:
        return
    where = ""
    if out is not None:
        path = skipped_list(out)
        _refuse_foreign(path)
        where = f" All: {write_skipped(skipped, path)}"
    first = f"First: {skipped[0].id}: {_sentence(skipped[0].reason)} {_sentence(skipped[0].remedy)}"
    first = printable(first)
    if len(skipped) >= total:
        none = f"None of {total:,} structures can" if total > 1 else "The only structure cannot"
        raise InputError(f"{none} be used. {first}{where}")
    if strict:
        raise InputError(
            f"{len(skipped):,} of {total:,} structures cannot be used, and --strict (strict=True) "
            f"allows none. {first}{where}"
        )
    told = where.replace(" All: ", "; reasons in ") or f". {first}"
    progress.note(f"Skipped {len(skipped):,} of {total:,} structures{told}", warning=True)


def report_notes(notes: Sequence[Note], progress: Progress, most: int = 20) -> None:
    """Say what readers chose or found to differ in structures that were read."""
    for note in notes[:most]:
        named = f"{note.id} ({note.file})" if note.id else note.file
        progress.note(printable(f"Note on {named}: {note.text}"), warning=True)
    if len(notes) > most:
        progress.note(f"{len(notes) - most:,} more notes of this kind", warning=True)


def _sentence(text: str) -> str:
    """A text with a capital at its beginning and one full stop at its end."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""
