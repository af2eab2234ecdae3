"""What commands share on screen and on disk: messages, skipped structures, output places.

Sits between the commands and the layers below; holds no science.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from crystalssl.errors import InputError, Note, Skip, printable, write_skipped

if TYPE_CHECKING:
    from crystalssl.structures.canonical import CanonicalResult
    from crystalssl.structures.crystals import Crystals

WIDTH = None if sys.stdout.isatty() else 120
"""Columns of the screen; in a file or a pipe there is no screen to ask."""
console = Console(highlight=False, width=WIDTH)
"""Where results go."""
error_console = Console(stderr=True, highlight=False)
"""Where errors go."""
SKIPPED = "skipped.csv"
"""File that lists structures left out."""
MANY = 20_000
"""Crystals above which the symmetry search uses all cores."""


def say(message: str, style: str | None = None) -> None:
    """Print a line of progress or result as it is; paths and names are not cut."""
    text = "\n".join(map(printable, message.split("\n")))
    console.print(text, style=style, markup=False, soft_wrap=True)


def grid(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; columns that hold numbers are right-aligned."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for index, name in enumerate(columns):
        numeric = bool(rows) and all(is_number(row[index]) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def is_number(text: str) -> bool:
    """Whether a cell begins like a number, or is empty or a dash."""
    return text.strip()[:1] in "-+.0123456789" if text.strip() else True


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[..., None]]:
    """Show a bar; the callable given takes steps done, steps in all and, if wanted, a text."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task(title, total=None)

        def advance(done: int, total: int, text: str = "") -> None:
            description = f"{title}: {text}" if text else title
            bar.update(task, completed=done, total=total, description=description)

        yield advance


@contextmanager
def training_bars(names: Sequence[str], epochs: int) -> Iterator[Callable[[str, int], None]]:
    """Show a bar of epochs for each block; the callable given takes a name and epochs done.

    A bar appears with its block's first epoch. Where blocks take turns they bring bars of their
    own, and none is shown here.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, TextColumn("epochs"), TimeElapsedColumn(), console=console)
    tasks = {name: bar.add_task(name, total=epochs, visible=False) for name in names}

    def advance(name: str, done: int) -> None:
        if not bar.live.is_started:
            bar.start()
        bar.update(tasks[name], completed=done, visible=True)

    try:
        yield advance
    finally:
        bar.stop()


def use_threads(count: int | None) -> None:
    """Limit the threads of PyTorch and of the array libraries below it."""
    if count is None:
        return
    import numba
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(count)
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    threadpool_limits(limits=count)


def make_folder(folder: Path) -> Path:
    """Create an output folder and make sure that it can be written to, before any work.

    Raises:
        InputError: if it cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"Cannot write to the output folder {folder}: {error.strerror}. "
            "Choose another with --out."
        ) from error
    return folder


def make_file(path: Path, endings: Sequence[str]) -> Path:
    """Make sure, before any work, that an output file has a known ending and can be written.

    Raises:
        InputError: for an unknown ending, or a folder that cannot be written.
    """
    if path.suffix not in endings:
        raise InputError(
            f"Cannot tell the format of {path}: got ending {path.suffix or 'none'!r}, "
            f"expected one of {', '.join(endings)}."
        )
    make_folder(path.parent)
    return path


def forget_skipped(folder: Path) -> None:
    """Remove an outdated ``skipped.csv`` from a folder that belongs to this command alone."""
    (folder / SKIPPED).unlink(missing_ok=True)


def report_skipped(skipped: Sequence[Skip], total: int, folder: Path, strict: bool) -> None:
    """Write ``skipped.csv``, say how many there are, and stop if the user wants no gaps.

    Args:
        skipped: structures left out so far.
        total: structures that were given.
        folder: where ``skipped.csv`` goes. One that is there stays when nothing was skipped: it
            may be another command's (see ``forget_skipped``).
        strict: whether any skipped structure is an error.

    Raises:
        InputError: if ``strict`` and something was skipped, or if nothing is left.
    """
    path = folder / SKIPPED
    if total == 0:
        raise InputError(
            "Found no structures. Give files, folders or archives with structures in them."
        )
    if not skipped:
        return
    write_skipped(skipped, path)
    first = printable(
        f"{skipped[0].id}: {sentence(skipped[0].reason)} {sentence(skipped[0].remedy)}"
    )
    if len(skipped) >= total:
        raise InputError(f"None of {total} structures can be used. First: {first} All: {path}")
    if strict:
        raise InputError(
            f"{len(skipped)} of {total} structures cannot be used, and --strict allows none. "
            f"First: {first} All: {path}"
        )
    say(f"Skipped {len(skipped):,} of {total:,} structures; reasons in {path}", "yellow")


def report_notes(notes: Sequence[Note], most: int = 20) -> None:
    """Say what readers chose or found to differ in structures that were read."""
    for note in notes[:most]:
        say(f"Note on {note.id or note.file} ({note.file}): {note.text}", "yellow")
    if len(notes) > most:
        say(f"{len(notes) - most:,} more notes of this kind", "yellow")


def sentence(text: str) -> str:
    """A text with a capital at its beginning and one full stop at its end."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """Structures as they were given, without those that cannot be used.

    Attributes:
        crystals: the valid ones, in input order.
        skipped: the others.
        total: how many there were.
        notes: what readers chose or found to differ.
    """

    crystals: Crystals
    skipped: list[Skip]
    total: int
    notes: list[Note]


def load(sources: Sequence[Path]) -> Loaded:
    """Read structures, cells as given, and set aside those that are not valid.

    Raises:
        InputError: if a source is missing or not of a known kind.
    """
    from crystalssl.datasets.load import load_crystals
    from crystalssl.structures.validity import check

    with console.status("Reading structures"):
        result = load_crystals([os.fspath(source) for source in sources])
        valid, invalid = check(result.crystals, max_sites=None)
        crystals = result.crystals.take(valid)
    return Loaded(
        crystals=crystals,
        skipped=[*result.skipped, *invalid],
        total=len(result.crystals) + len(result.skipped),
        notes=result.notes,
    )


def load_canonical(
    sources: Sequence[Path], folder: Path, *, strict: bool, symprec: float
) -> CanonicalResult:
    """Read structures and bring them to their canonical cells; everything skipped is reported.

    Raises:
        InputError: as ``load`` and ``report_skipped``.
    """
    from crystalssl.datasets.load import load_crystals

    with console.status("Reading structures"):
        result = load_crystals([os.fspath(source) for source in sources])
    report_notes(result.notes)
    return make_canonical(
        result.crystals, folder, strict=strict, symprec=symprec, skipped=result.skipped
    )


def make_canonical(
    crystals: Crystals,
    folder: Path,
    *,
    strict: bool,
    symprec: float,
    skipped: Sequence[Skip] = (),
) -> CanonicalResult:
    """Canonical cells of crystals already read; ``skipped`` are those that could not be read.

    Raises:
        InputError: as ``report_skipped``.
    """
    from crystalssl.structures.canonical import canonicalize

    with console.status("Finding canonical cells and symmetry"):
        processes = (os.cpu_count() or 1) if len(crystals) > MANY else 1
        canonical = canonicalize(crystals, symprec=symprec, processes=processes)
    total = len(crystals) + len(skipped)
    report_skipped([*skipped, *canonical.skipped], total, folder, strict)
    report_notes(canonical.notes)
    say(f"{len(canonical.crystals):,} canonical crystals (symmetry within {symprec:g} angstrom)")
    return canonical
