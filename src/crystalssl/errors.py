"""Errors that say what was got, what was expected and what to do.

Every error a user can cause derives from :class:`CrystalSSLError`; the command line prints its
text without a traceback. :class:`Skip` is the milder form: one structure that could not be used,
recorded so that the good ones in the same batch go on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


class CrystalSSLError(Exception):
    """Base of all errors meant for the user's eyes."""


class InputError(CrystalSSLError):
    """A file, array or table that cannot be used as given."""


class UnknownNameError(CrystalSSLError):
    """A name that is in no list: block, preset, weights, column."""


class MissingExtraError(CrystalSSLError):
    """A feature whose optional package is not installed."""


class NetworkError(CrystalSSLError):
    """A server that cannot be reached, refuses, or sends no whole answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Skip:
    """One structure left out, with a true reason.

    Attributes:
        id: the structure's id, or its file name when it has none.
        file: where it came from.
        reason: what was got and what was expected.
        remedy: what the user can do about it.
    """

    id: str
    file: str
    reason: str
    remedy: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """One structure that was read, with something that its owner should know.

    Attributes:
        id: the structure's id as the reader knew it, before repeated ids are told apart.
        file: where it came from.
        text: what was chosen, left out or found to differ.
    """

    id: str
    file: str
    text: str


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Characters that steer a terminal, break a line, or cannot be written as UTF-8."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet take a cell for a formula."""


def printable(text: str, longest: int = 2000) -> str:
    """A text that can be shown on any screen: control characters escaped, the middle cut out."""
    if len(text) > longest:
        text = f"{text[: longest // 2]} ... {text[-longest // 4 :]}"
    return _CONTROL.sub(lambda match: ascii(match.group())[1:-1], text)


def cell_text(text: str) -> str:
    """A text for one cell of a CSV file: printable, and no formula to a spreadsheet."""
    text = printable(text)
    if not text.startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def unknown_name(kind: str, name: str, choices: Iterable[str], where: str = "") -> UnknownNameError:
    """Build the error for an unknown name, with the closest match and where to look.

    Args:
        kind: what the name names, e.g. ``"block"``.
        name: what was got.
        choices: the valid names.
        where: a command or page that lists them.
    """
    import difflib

    valid = list(choices)
    close = difflib.get_close_matches(name, valid, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    look = f" See `{where}`." if where else ""
    return UnknownNameError(f"Unknown {kind} {name!r}.{hint} Valid: {', '.join(valid)}.{look}")


def missing_extra(package: str, extra: str, purpose: str) -> MissingExtraError:
    """Build the error for an optional package that is not installed."""
    return MissingExtraError(
        f"{purpose} needs the package {package!r}, which is not installed. "
        f"Install it with: pip install 'crystalssl[{extra}]'"
    )


def require(module: str, extra: str, purpose: str) -> None:
    """Make sure, before any work, that an optional package is installed; it is not imported.

    Args:
        module: name by which it is imported.
        extra: extra of this package that brings it.
        purpose: what needs it, for the message.

    Raises:
        MissingExtraError: if it is not installed.
    """
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise missing_extra(module.replace("_", "-"), extra, purpose)


def worker_died() -> CrystalSSLError:
    """Build the error for a worker process that the system has ended."""
    return CrystalSSLError(
        "A worker process was ended from outside, most likely for want of memory. Use fewer "
        "--threads or --workers; the same command goes on where it was."
    )
