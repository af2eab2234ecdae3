"""Texts of a label column -> classes, where the column names classes and not numbers.

Words, true and false, and a column of 0 and 1 alone are classes; ``--task`` decides otherwise. A
crystal whose rows name several classes, and classes of a few crystals, are listed and left out.
Used by labels.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError, unknown_name
from crystalssl.properties.numbers import BOUND, MISSING, parse_number

AUTO, REGRESSION, CLASSIFICATION = "auto", "regression", "classification"
TASKS = (AUTO, REGRESSION, CLASSIFICATION)
"""What labels can be taken for."""
MOST = 50
"""Classes at most."""
LEAST = 5
"""Crystals of a class at least."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassLabels:
    """Classes of crystals.

    Attributes:
        names: (c,) classes: numbers by value, words by alphabet.
        codes: (n,) class of each crystal, NaN where unknown.
        refused: row, reason and text of labels that are not used.
    """

    names: tuple[str, ...]
    codes: npt.NDArray[np.float64]
    refused: list[tuple[int, str, str]]


def are_classes(texts: Sequence[str], task: str) -> bool:
    """Whether the texts of a column name classes.

    Args:
        texts: cells that belong to crystals.
        task: one of ``TASKS``.

    Raises:
        UnknownNameError: if there is no such task.

    Example:
        >>> [are_classes(t, "auto") for t in (["metal", "oxide"] * 5, ["0", "1"] * 5, ["1.5", "2"])]
        [True, True, False]
    """
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    if task != AUTO:
        return task == CLASSIFICATION
    known = [text.strip() for text in texts if text.strip().lower() not in MISSING]
    names = set(known)
    if names and {_name(text) for text in names} == {"0", "1"}:
        return True
    numbers = sum(BOUND.fullmatch(text) is not None or _is_number(text) for text in known)
    return numbers < len(known) / 2 and 2 <= len(names) <= min(MOST, max(2, len(known) // 5))


def read_classes(gathered: Mapping[int, Sequence[str]], count: int) -> ClassLabels:
    """Classes of crystals from their cells.

    Args:
        gathered: cells of each row that has some.
        count: number of crystals.

    Raises:
        InputError: if fewer than two classes, or too many, have enough crystals.
    """
    named: dict[int, str] = {}
    refused: list[tuple[int, str, str]] = []
    for row, texts in gathered.items():
        known = {_name(text) for text in texts if text.strip().lower() not in MISSING}
        if len(known) == 1:
            named[row] = known.pop()
        elif known:
            refused.append((row, "several classes", "; ".join(sorted(known))))
        else:
            refused.append((row, "no label", ""))
    often = Counter(named.values())
    for row, name in named.items():
        if often[name] < LEAST:
            refused.append((row, f"class of fewer than {LEAST} crystals", name))
    names = sorted((name for name in often if often[name] >= LEAST), key=_order)
    if not 2 <= len(names) <= MOST:
        shown = ", ".join(f"{name} ({number})" for name, number in often.most_common(5))
        raise InputError(
            f"Got {len(names)} classes of at least {LEAST} crystals (most frequent: {shown}); "
            f"expected 2 to {MOST}. Check --target, or fit numbers with --task {REGRESSION}."
        )
    code = {name: at for at, name in enumerate(names)}
    codes = np.full(count, np.nan)
    for row, name in named.items():
        codes[row] = code.get(name, np.nan)
    return ClassLabels(names=tuple(names), codes=codes, refused=sorted(refused))


def class_columns(codes: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """(n, t) labels as heads take them: 0 and 1 for two classes, one column a class for more.

    Example:
        >>> class_columns(np.array([0.0, 2.0]), 3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if count == 2:
        return codes[:, None]
    return np.asarray(np.eye(count)[codes.astype(np.int64)])


def note_of(target: str, labels: ClassLabels, task: str) -> str:
    """What classes there are, and how to have it otherwise.

    Args:
        target: label column.
        labels: its classes.
        task: what the user asked for.
    """
    known = labels.codes[np.isfinite(labels.codes)].astype(np.int64)
    counts = np.bincount(known, minlength=len(labels.names)).tolist()
    shown = ", ".join(f"{n} {c:,}" for n, c in zip(labels.names, counts, strict=True))
    otherwise = f"; --task {REGRESSION} fits numbers" if task == AUTO else ""
    return f"{target} names {len(labels.names)} classes: {shown}{otherwise}"


def _name(text: str) -> str:
    """A class as it is named: whole numbers without a point."""
    text = text.strip()
    value = parse_number(text)
    if value is not None and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return text


def _is_number(text: str) -> bool:
    return parse_number(text) is not None


def _order(name: str) -> tuple[int, float, str]:
    value = parse_number(name)
    return (1, 0.0, name) if value is None else (0, value, name)
