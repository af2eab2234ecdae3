"""Identifiers: no two crystals of a batch may share one, and each survives every kind of file.

The first crystal with an id keeps it; later ones get ``#2``, ``#3`` and so on at the end, so that
a repeated file is visible in every output instead of being dropped or overwritten.
"""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import numpy.typing as npt

LONGEST = 400
"""Characters of an id that are kept; a longer one ends in a digest of the whole."""

_UNFIT = re.compile("[\x00\ud800-\udfff]")
"""What NumPy cuts off (NUL) or UTF-8 cannot hold (bytes of file names that are not UTF-8)."""
_BREAKS = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


def storable(text: str) -> str:
    """An id that NumPy, Parquet and text files can all hold; the same one if it already is.

    Characters that none of them takes are written as escapes. An id longer than ``LONGEST``
    characters is cut and closed with a digest, so that different ids stay different.
    """
    if len(text) > LONGEST:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        text = f"{text[: LONGEST - 17]}~{digest}"
    if text.isascii() and "\0" not in text:
        return text
    return _UNFIT.sub(lambda match: ascii(match.group())[1:-1], text)


def to_line(name: str) -> str:
    """An id as one line of a text file; one that would not survive as it is becomes JSON."""
    plain = name.strip() == name and name and name[0] != '"' and not _BREAKS.search(name)
    return name if plain else json.dumps(name)


def from_line(line: str) -> str:
    """The id behind a line that ``to_line`` wrote."""
    if line.startswith('"') and line.endswith('"') and len(line) > 1:
        try:
            return str(json.loads(line))
        except ValueError:
            return line
    return line


def unique_ids(ids: npt.ArrayLike) -> npt.NDArray[np.str_]:
    """Make repeated ids differ: ``a, b, a`` becomes ``a, b, a#2``.

    Args:
        ids: (n,) strings, in input order.

    Returns:
        (n,) strings without repetition; unchanged where there was none.
    """
    names = np.asarray(ids, dtype=np.str_)
    distinct, first, counts = np.unique(names, return_index=True, return_counts=True)
    if (counts < 2).all():
        return names
    taken = set(distinct.tolist())
    repeated = set(distinct[counts > 1].tolist())
    kept = set(first.tolist())
    result = names.tolist()
    number = dict.fromkeys(repeated, 1)
    for row, name in enumerate(names.tolist()):
        if name not in repeated or row in kept:
            continue
        number[name] += 1
        while f"{name}#{number[name]}" in taken:
            number[name] += 1
        result[row] = f"{name}#{number[name]}"
        taken.add(result[row])
    return np.array(result, dtype=np.str_)
