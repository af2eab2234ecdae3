"""Features of blocks -> how alike two crystals are in each view: cosine of standardised features.

1 for equal views, about 0 for two crystals at random, -1 for opposite ones. Features of a
bottleneck mix the views and cannot be told apart; then the blocks must be extracted as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.features.features import Features
from crystalssl.search.axes import Axes, fit_axes
from crystalssl.search.points import Source, batches, finite_rows

Rows = dict[str, npt.NDArray[np.float32]]
VIEW_ROWS = 8_192
"""Crystals that the standard deviations of views are taken from."""


class Views:
    """Blocks of a features file, ready to be compared."""

    def __init__(self, source: Source) -> None:
        """Fit the scale of every block on the first rows.

        Args:
            source: features of two blocks at least, or their file.

        Raises:
            InputError: if there is one block only.
        """
        self.source = source
        first = next(batches(source, VIEW_ROWS))
        if len(first.blocks) < 2:
            raise InputError(
                f"The features hold one block, {next(iter(first.blocks), 'none')!r}, so there is "
                "no similarity by view: a bottleneck mixes the views. Extract the blocks too "
                "(crystalssl extract STRUCTURES --output blocks) and give them with --views."
            )
        finite = first.take(np.flatnonzero(finite_rows(first)[1]))
        self.axes: dict[str, Axes] = {
            name: fit_axes(values, "standardise")
            for name, values in finite.blocks.items()
            if len(values) > 1 and np.ptp(values, axis=0).any()
        }

    def rows(self, ids: Sequence[str]) -> dict[str, Rows]:
        """Standardised features of some crystals by id and block; unknown ids lack."""
        wanted, held = set(ids), {}
        for batch in batches(self.source):
            chosen = [row for row, name in enumerate(batch.ids.tolist()) if name in wanted]
            for name, rows in zip(batch.ids[chosen], self.of(batch.take(chosen)), strict=True):
                held[str(name)] = rows
        return held

    def of(self, features: Features) -> list[Rows]:
        """Standardised features of crystals, row by row.

        Raises:
            InputError: if they hold other blocks.
        """
        if missing := [name for name in self.axes if name not in features.blocks]:
            raise InputError(
                f"The query has no features of {', '.join(missing)}. Extract it as those searched."
            )
        scaled = {name: axes.transform(features.blocks[name]) for name, axes in self.axes.items()}
        return [{name: v[row] for name, v in scaled.items()} for row in range(len(features))]


def similarity(first: Rows, second: Rows) -> dict[str, float]:
    """Cosine between two crystals in each view."""
    cosines = {}
    for name, values in first.items():
        size = float(np.linalg.norm(values) * np.linalg.norm(second[name]))
        cosines[name] = float(values @ second[name]) / size if size > 0 else 1.0
    return cosines
