"""Canonical crystals into the panel (n, 103, 64), all groups side by side, and how full it is.

Blocks never see the whole array: they read the rows of their own group (``panel_groups.py``).
Columns come from ``layout.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from crystalssl.errors import InputError, Skip
from crystalssl.representation import layout
from crystalssl.representation.panel_groups import group_rows
from crystalssl.representation.panel_source import PanelSource
from crystalssl.structures.crystals import SLOTS, Crystals
from crystalssl.structures.validity import skip

_CHUNK = 1024


def holdable(crystals: Crystals) -> tuple[npt.NDArray[np.bool_], list[Skip]]:
    """(n,) whether the panel's fixed rows and columns can hold each crystal, and the others.

    The encoders are not bound by this: they read all sites and species.
    """
    limits = (
        (crystals.site_counts, layout.MAX_SITES, "sites"),
        (crystals.species_counts, SLOTS, "species on a site"),
    )
    good = np.ones(len(crystals), np.bool_)
    skipped: list[Skip] = []
    for counts, most, what in limits:
        for row in np.flatnonzero(good & (counts > most)).tolist():
            reason = f"{counts[row]} {what}, the panel holds {most}"
            skipped.append(skip(crystals, row, reason, "use features, which have no such limit"))
        good &= counts <= most
    return good, skipped


def iterate_panel(source: PanelSource, size: int = _CHUNK) -> Iterator[npt.NDArray[np.float32]]:
    """Panels of ``size`` crystals at a time, (<= size, 103, 64), in order."""
    for start in range(0, len(source), size):
        chunk = source.take(torch.arange(start, min(start + size, len(source))))
        panel = np.zeros((len(chunk), layout.ROWS, layout.COLUMNS), np.float32)
        for group in layout.GROUPS.values():
            panel[:, :, group.slice] = group_rows(chunk, group.name)[0].cpu().numpy()
        sites = chunk.site_counts.cpu().numpy()[:, None]
        panel[:, :, layout.VALIDITY] = np.arange(layout.ROWS) < sites
        yield panel


def build_panel(crystals: Crystals) -> npt.NDArray[np.float32]:
    """The panel of every crystal, (n, 103, 64); 26 kB a crystal.

    Raises:
        InputError: as ``PanelSource.from_crystals``, and for a crystal that it cannot hold
            (``holdable``).
    """
    too_large = holdable(crystals)[1]
    if too_large:
        raise InputError(f"Crystal {too_large[0].id!r} has {too_large[0].reason}.")
    crystals = crystals.with_width(SLOTS)
    panel = np.empty((len(crystals), layout.ROWS, layout.COLUMNS), np.float32)
    at = 0
    for chunk in iterate_panel(PanelSource.from_crystals(crystals)):
        panel[at : at + len(chunk)] = chunk
        at += len(chunk)
    return panel


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupSparsity:
    """How full one group of a panel is.

    Attributes:
        name: group name.
        columns: width of the group.
        numbers: entries per crystal, 103 times the width.
        filled: share of entries that are not zero.
        varying: share of the entries that differ between crystals at all.
    """

    name: str
    columns: int
    numbers: int
    filled: float
    varying: float


def sparsity(panel: npt.NDArray[np.float32]) -> tuple[GroupSparsity, ...]:
    """Measure how full every group of a panel is.

    Args:
        panel: (n, 103, 64), n at least 1.

    Raises:
        InputError: if the array is no panel.
    """
    if panel.ndim != 3 or panel.shape[1:] != (layout.ROWS, layout.COLUMNS) or not len(panel):
        raise InputError(
            f"Got an array of shape {panel.shape}, expected (n, {layout.ROWS}, {layout.COLUMNS}) "
            "with n >= 1. Make one with build_panel."
        )
    records = []
    for group in layout.GROUPS.values():
        columns = panel[:, :, group.slice]
        records.append(
            GroupSparsity(
                name=group.name,
                columns=group.width,
                numbers=layout.ROWS * group.width,
                filled=float(np.count_nonzero(columns) / columns.size),
                varying=float((columns != columns[0]).any(axis=0).mean()),
            )
        )
    return tuple(records)
