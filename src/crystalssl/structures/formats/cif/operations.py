"""Symmetry operations as a CIF lists them, to groups that can be compared and multiplied.

Lists may lack quotes, the identity, products or the centring; magnetic ones carry a time reversal
behind the third comma. An operation is its canonical triplet, a group a tuple of them. Used by
``settings.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import gemmi
import numpy as np
import numpy.typing as npt
from gemmi import cif

from crystalssl.structures.formats.cif.tags import CENTRING, OPERATIONS, Tags, kind

Floats = npt.NDArray[np.float64]
Group = tuple[str, ...]

IDENTITY = "x,y,z"
MOST_OPERATIONS = 1536
"""Operations that a list may have: the largest group in a cell of eight primitive ones."""

_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:/\d+)?"
_TERM = rf"(?:{_NUMBER}\s*\*?\s*[xyz]|[xyz](?:\s*/\s*\d+)?|{_NUMBER})"
# a sign with a blank before it alone opens the next operation: "z -x" is the end of one
_PART = rf"[+-]?\s*{_TERM}(?:[+-]\s*{_TERM}|\s+[+-]\s+{_TERM})*"
_LONGEST = 120
_TRIPLET = re.compile(rf"({_PART})\s*,\s*({_PART})\s*,\s*({_PART})", re.IGNORECASE)


class UnreadableError(Exception):
    """A list of operations that cannot be understood; its text says why."""


def listed_group(tags: Tags) -> Group:
    """The operations that a block lists, centrings multiplied in; empty when it lists none.

    Raises:
        UnreadableError: if there is a list that cannot be understood.
    """
    operations = _column(tags, OPERATIONS)
    if not operations:
        return ()
    group = operations if operations == (IDENTITY,) else _distinct(operations)
    centrings = _column(tags, CENTRING)
    if centrings and len(group) * len(centrings) <= 4 * MOST_OPERATIONS:
        group = multiplied(group, _distinct(centrings))
    if len(group) > MOST_OPERATIONS:
        raise UnreadableError(f"it lists {len(group)} operations, at most {MOST_OPERATIONS} fit")
    return group


def _column(tags: Tags, wanted: str) -> Group:
    """All operations or centrings of a block as triplets."""
    listed: tuple[str, ...] = ()
    for names, loop in tags.loops:
        for place, name in enumerate(names):
            if kind(name) == wanted:
                values = loop.values
                if len(values) > 8 * MOST_OPERATIONS * len(names):
                    raise UnreadableError(f"it lists {len(values) // len(names)} operations")
                found = _triplets(tuple(values[place :: len(names)]), tuple(values))
                listed = listed if len(listed) > len(found) else found
    if not listed:
        for name, value in tags.pairs.items():
            if kind(name) == wanted and not cif.is_null(value):
                listed = _triplets((value,), (value,))
    return listed


@lru_cache(maxsize=512)
def _triplets(column: tuple[str, ...], everything: tuple[str, ...]) -> Group:
    """Canonical triplets of a column; of the whole loop where blanks tore them apart."""
    texts = [str(cif.as_string(value)).strip() for value in column]
    texts = [text for text in texts if text not in ("?", ".", "")]
    if any(text.count(",") < 2 for text in texts):
        joined = _joined(everything)
        texts = [",".join(parts) for parts in _TRIPLET.findall(joined)]
        if joined.count(",") not in (2 * len(texts), 3 * len(texts)):
            raise UnreadableError(f"its operations cannot be told apart: {joined[:60]!r}")
    return tuple(_triplet(text) for text in texts)


def _joined(values: Sequence[str]) -> str:
    """All values in a row; what is too long between two commas loses its middle.

    The search for triplets takes the square of it, and no operation is that long.
    """
    words = " ".join(str(cif.as_string(value)) for value in values).split()
    pieces = " ".join(words).split(",")
    return ",".join(p if len(p) <= _LONGEST else f"{p[:40]} {p[-40:]}" for p in pieces)


@lru_cache(maxsize=8192)
def _triplet(text: str) -> str:
    """One operation in gemmi's spelling, translations within the cell."""
    plain = text.lower().replace(" ", "").replace(";", ",")
    parts = plain.split(",")
    if len(parts) == 4 and parts[3] in ("+1", "-1", "1", "+", "-", "m", "-m", "t", ""):
        parts = parts[:3]
    try:
        operation = gemmi.Op(",".join(parts).replace("*", ""))
    except (RuntimeError, ValueError) as error:
        raise UnreadableError(f"the operation {text!r} cannot be read ({error})") from error
    if operation.det_rot() ** 2 != gemmi.Op.DEN**6:
        raise UnreadableError(f"the operation {text!r} does not keep the volume")
    return str(operation.wrap().triplet())


def _distinct(triplets: Sequence[str]) -> Group:
    return tuple(dict.fromkeys(triplets))


@lru_cache(maxsize=512)
def multiplied(group: Group, others: Group) -> Group:
    """All products of the operations of two lists."""
    left, right = [gemmi.Op(text) for text in group], [gemmi.Op(text) for text in others]
    return _distinct([(b * a).wrap().triplet() for b in right for a in left])


@lru_cache(maxsize=512)
def closed(group: Group) -> Group:
    """A list with the identity and all products of its operations, if they are no more than 192.

    Order is kept: what the list holds comes first. A list that would grow larger is left alone.
    """
    whole = _distinct((IDENTITY, *group))
    while len(whole) <= 192:
        rotations, shifts = matrices(whole)
        made = np.einsum("aij,bjk->abik", rotations, rotations)
        moved = np.einsum("aij,bj->abi", rotations, shifts) + shifts[:, None]
        known = {_key(r, t) for r, t in zip(rotations, shifts, strict=True)}
        fresh = {}
        for a in range(len(whole)):
            for b in range(len(whole)):
                key = _key(made[a, b], moved[a, b])
                if key not in known and key not in fresh:
                    fresh[key] = _written(made[a, b], moved[a, b])
        if not fresh:
            return whole
        whole = _distinct((*whole, *fresh.values()))
    return group


def _key(rotation: Floats, shift: Floats) -> tuple[int, ...]:
    turned = np.rint(rotation * 24).astype(int).ravel().tolist()
    return (*turned, *(np.rint(shift * 24).astype(int) % 24).tolist())


def _written(rotation: Floats, shift: Floats) -> str:
    operation = gemmi.Op()
    operation.rot = np.rint(rotation * gemmi.Op.DEN).astype(int).tolist()
    operation.tran = np.rint(shift * gemmi.Op.DEN).astype(int).tolist()
    return str(operation.wrap().triplet())


@lru_cache(maxsize=2048)
def matrices(group: Group) -> tuple[Floats, Floats]:
    """Rotations (k, 3, 3) and translations (k, 3) of operations."""
    parsed = [gemmi.Op(text) for text in group]
    rotations = np.array([op.rot for op in parsed], dtype=np.float64) / gemmi.Op.DEN
    return rotations, np.array([op.tran for op in parsed], dtype=np.float64) / gemmi.Op.DEN


@lru_cache(maxsize=512)
def centrings_of(group: Group) -> Group:
    """The pure translations of a group."""
    return tuple(text for text in group if (matrices((text,))[0][0] == np.eye(3)).all())


@lru_cache(maxsize=512)
def number_of(group: Group) -> int:
    """Space-group number of a closed list, or 0 where its setting is in no table."""
    table = gemmi.GroupOps([gemmi.Op(text) for text in group])
    known = gemmi.find_spacegroup_by_ops(table)
    return int(known.number) if known else 0


def strain(group: Group, metric: Floats) -> float:
    """Largest relative change that the operations make to a cell's metric tensor (3, 3)."""
    rotations, _ = matrices(group)
    turned = np.einsum("kji,jl,klm->kim", rotations, metric, rotations)
    lengths = np.sqrt(np.diag(metric))
    return float(np.abs((turned - metric) / np.outer(lengths, lengths)).max())
