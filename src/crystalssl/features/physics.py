"""Named physics as features: canonical crystals -> one block ``physics`` with its own names.

Beside ``extract.py``, which runs encoders; no weights enter. A number without a meaning for a
crystal is NaN and stays so, but in the view that a bottleneck reads beside those of the blocks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from crystalssl.datasets.corpus import Corpus
from crystalssl.features.features import PHYSICS, Features
from crystalssl.representation._compiled import run_chunks
from crystalssl.representation.physics import compute_physics, physics_columns
from crystalssl.representation.physics.electron_numbers import EXACT, OFF
from crystalssl.representation.physics.view import view_names, view_numbers
from crystalssl.structures.canonical import CanonicalResult
from crystalssl.structures.crystals import Crystals

TAUGHT = "taught"
"""Way to the numbers of the electrons that a student predicts."""
_CHUNK = 128
"""Crystals whose edges are in memory at a time, on each core."""


def physics_names(electronic: str = OFF) -> tuple[str, ...]:
    """Names of the numbers, in order.

    Args:
        electronic: way to the numbers of the electrons; predicted ones are those of ``exact``.
    """
    level = EXACT if electronic == TAUGHT else electronic
    return tuple(column.name for column in physics_columns(level))


def physics_checksum(electronic: str = OFF) -> str:
    """What stands for weights where features are compared: the names of the numbers."""
    return hashlib.sha256("\n".join(physics_names(electronic)).encode()).hexdigest()


def physics_features(
    canonical: CanonicalResult | Crystals,
    electronic: str = OFF,
    predicted: npt.NDArray[np.float32] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Named numbers of every crystal, in order.

    Args:
        canonical: canonical crystals.
        electronic: way to the numbers of the electrons.
        predicted: (n, columns) what a student predicts, where the electrons are ``taught``.
        progress: called with the number of crystals done and the number of all.

    Raises:
        InputError: as ``representation.physics.compute_physics``.
    """
    computed = OFF if predicted is not None else electronic
    physics = compute_physics(canonical, electronic=computed, progress=progress)
    crystals = canonical.crystals if isinstance(canonical, CanonicalResult) else canonical
    values = physics.values
    if predicted is not None:
        values = np.concatenate([values, predicted], axis=1)
    names = physics_names(electronic)
    return Features(ids=crystals.ids, blocks={PHYSICS: values}, names=names)


def view_of(corpus: Corpus, rows: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Named numbers of some crystals as a bottleneck reads them, on this thread alone.

    Args:
        corpus: canonical crystals.
        rows: row numbers.

    Returns:
        (row, columns) as ``representation.physics.view.view_names`` has them.
    """
    some = corpus.take(rows)
    crystals = Crystals.concatenate(list(some.crystals(np.arange(len(some)))))
    return view_numbers(crystals, some.neighbours.graph())


def with_view(features: Features, corpus: Corpus) -> Features:
    """Features of blocks with the named numbers of the same crystals as one more view.

    Args:
        features: of all crystals of the corpus, in its order.
        corpus: canonical crystals.
    """
    made = np.empty((len(corpus), len(view_names())), np.float32)

    def work(start: int, stop: int) -> None:
        made[start:stop] = view_of(corpus, np.arange(start, stop))

    run_chunks(work, len(corpus), _CHUNK)
    return replace(features, blocks={**features.blocks, PHYSICS: made}, names=())
