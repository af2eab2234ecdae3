"""Generated crystals against known ones -> which are unique and which are novel.

As papers on generators report: a crystal is unique if no earlier one of the generated is its
near-duplicate, and novel if no known crystal is. The known ones go by in batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.errors import Skip
from crystalssl.search.axes import Axes
from crystalssl.search.duplicates import Watch, find_duplicates
from crystalssl.search.nearest import nearest, squared_norms
from crystalssl.search.points import Source, batches, project, row_count

Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.str_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Novelty:
    """What is new among n generated crystals.

    Attributes:
        ids: (n,) their ids.
        repeats: (n,) id of the first earlier crystal that is a near-duplicate; empty if unique.
        nearest: (n,) id of the nearest known crystal.
        distances: (n,) how far it is.
        threshold: largest distance of near-duplicates.
        skipped: generated crystals whose features are not finite.
    """

    ids: Ids
    repeats: Ids
    nearest: Ids
    distances: npt.NDArray[np.float64]
    threshold: float
    skipped: list[Skip]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def unique(self) -> Mask:
        """(n,) whether no earlier crystal is the same."""
        mask: Mask = self.repeats == ""
        return mask

    @property
    def novel(self) -> Mask:
        """(n,) whether no known crystal is the same."""
        mask: Mask = self.distances > self.threshold
        return mask


def find_novel(
    reference: Source,
    generated: Source,
    *,
    threshold: float,
    axes: Axes,
    watch: Watch = lambda done, total: None,
) -> Novelty:
    """Compare generated crystals with one another and with known ones.

    Args:
        reference: features of the known crystals, or their file, read in batches.
        generated: features, or their file; their coordinates stay in memory.
        threshold: largest distance of near-duplicates.
        axes: how features become coordinates.
        watch: told how far it is.

    Raises:
        InputError: if features are of other widths.
    """
    points = project(batches(generated), axes)
    same = find_duplicates(generated, threshold=threshold, axes=axes)
    repeats = np.full(len(points.ids), "", dtype=object)
    rows = {name: row for row, name in reversed(list(enumerate(points.ids.tolist())))}
    for first, second in zip(same.first[::-1].tolist(), same.second[::-1].tolist(), strict=True):
        repeats[rows[second]] = first  # the first of several stays, as pairs are in order
    distances = np.full(len(points.ids), np.inf)
    names = np.full(len(points.ids), "", dtype=object)
    done, total = 0, row_count(reference)
    for batch in batches(reference):
        known = project([batch], axes)
        done += len(batch)
        if len(known.ids):
            norms = squared_norms(known.coordinates)
            index, far = nearest(known.coordinates, norms, points.coordinates, 1)
            closer = far[:, 0] < distances
            distances[closer] = far[closer, 0]
            names[closer] = known.ids[index[closer, 0]]
        watch(done, total)
    return Novelty(
        ids=points.ids,
        repeats=repeats.astype(np.str_),
        nearest=names.astype(np.str_),
        distances=distances,
        threshold=threshold,
        skipped=list(points.skipped),
    )
