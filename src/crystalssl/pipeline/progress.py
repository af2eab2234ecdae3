"""What long work tells whoever waits for it: lines of text, and steps with or without a bar.

Every function of the pipeline takes a :class:`Progress` and is silent without one; the command line
gives a :class:`Screen`, and so can a notebook.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from crystalssl.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

Advance = Callable[..., None]
"""Called with steps done, steps in all and, if wanted, a text."""


class Progress(Protocol):
    """Whoever wants to know how far work is."""

    def note(self, text: str, *, warning: bool = False) -> None:
        """Take a line about what was done or, as a warning, about what to look at."""

    def step(self, title: str, bars: Sequence[str] = ()) -> AbstractContextManager[Advance]:
        """Begin a step, which ends with the block.

        Args:
            title: what is being done.
            bars: names of things that go on side by side; the text given to ``Advance`` is then
                one of them. Without any, the text says what of the step is at work.
        """


class Silent:
    """Tells nobody."""

    def note(self, text: str, *, warning: bool = False) -> None:
        """Drop the line."""

    def step(self, title: str, bars: Sequence[str] = ()) -> AbstractContextManager[Advance]:
        """Show nothing."""
        return nullcontext(_ignore)


class Screen:
    """Lines and bars on a terminal or in a notebook."""

    def __init__(self, console: Console | None = None) -> None:
        """Take where to show them; a console of its own by default."""
        if console is None:
            from rich.console import Console

            console = Console(highlight=False)
        self.console = console

    def note(self, text: str, *, warning: bool = False) -> None:
        """Print a line as it is; paths and names are not cut."""
        style = "yellow" if warning else None
        text = "\n".join(map(printable, text.split("\n")))
        self.console.print(text, style=style, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, title: str, bars: Sequence[str] = ()) -> Iterator[Advance]:
        """Show a bar that goes when the step ends, or one for each name as soon as it moves."""
        if not (self.console.is_terminal or self.console.is_jupyter):
            yield _ignore  # a file or a pipe gets lines alone
            return
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        shown = Bars(*columns, TimeElapsedColumn(), console=self.console, transient=not bars)
        tasks = {name: shown.add_task(name, total=None, visible=False) for name in bars}
        whole = None if bars else shown.add_task(title, total=None)

        def advance(done: int, total: int, text: str = "") -> None:
            if whole is None:
                shown.start()  # blocks that take turns bring bars of their own
                shown.update(tasks[text], completed=done, total=total, visible=True)
            else:
                label = f"{title}: {text}" if text else title
                shown.update(whole, completed=done, total=total, description=label)

        try:
            if whole is not None:
                shown.start()
            yield advance
        finally:
            shown.stop()


class Once:
    """Passes everything on, but no line twice: several stages read the same structures."""

    def __init__(self, progress: Progress) -> None:
        """Take who is told."""
        self._progress = progress
        self._lines: set[str] = set()

    def note(self, text: str, *, warning: bool = False) -> None:
        """Pass a line on, unless it was said before."""
        if text not in self._lines:
            self._lines.add(text)
            self._progress.note(text, warning=warning)

    def step(self, title: str, bars: Sequence[str] = ()) -> AbstractContextManager[Advance]:
        """Begin a step of whoever is told."""
        return self._progress.step(title, bars)


def _ignore(done: int, total: int, text: str = "") -> None:
    """Show nothing."""


SILENT: Progress = Silent()
"""The default of every function."""


def counted(number: int, noun: str) -> str:
    """A number with its noun in the right form: '1 crystal', '2,000 crystals'."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def watching(advance: Advance, total: int) -> Callable[[int, str], None]:
    """Steps that were done, on a bar; from any thread.

    Args:
        advance: the bar.
        total: steps in all.
    """
    done, lock = 0, Lock()

    def watch(count: int, text: str) -> None:
        nonlocal done
        with lock:
            done += count
            advance(min(done, total), total, text)

    return watch
