"""Canonical crystals into the panel (103, 64), group by group.

``PanelSource`` keeps what cannot be recomputed cheaply (sites, short lattice vectors, scattering
amplitudes) as compact flat tensors; ``group`` makes a block's rows of the crystals it holds,
batched, on whatever device the tensors are. Columns come from ``layout.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int, Int16, Shaped, UInt8
from torch import Tensor

from crystalssl.errors import InputError, Skip
from crystalssl.representation import layout
from crystalssl.representation.panel_groups import MAKERS
from crystalssl.representation.points import shortest_shells
from crystalssl.representation.scattering import amplitudes
from crystalssl.structures.crystals import SLOTS, Crystals
from crystalssl.structures.validity import skip

_CHUNK = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class PanelSource:
    """Many crystals, ready to give panel rows.

    Attributes:
        lattice: rows are a, b, c in angstrom.
        offsets: site offsets, one more than crystals.
        frac: fractional coordinates in [0, 1).
        numbers: atomic numbers of the slots of a site, four or more.
        occupancy: occupancies of the slots.
        direct: steps of the short lattice vectors, int8 where they fit, else int16.
        direct_used: short lattice vectors in complete shells.
        hkl: Miller indices of the short reciprocal vectors, as ``direct``.
        hkl_used: reciprocal vectors in complete shells.
        opens: true where a reciprocal vector is the first of its shell.
        beyond: length of the first reciprocal vector left out, 1/angstrom.
        stored: scattering amplitudes in 16-bit steps (``scattering.py``).
    """

    lattice: Float[Tensor, "crystal 3 3"]
    offsets: Int[Tensor, "offset"]
    frac: Float[Tensor, "site 3"]
    numbers: UInt8[Tensor, "site slot"]
    occupancy: Float[Tensor, "site slot"]
    direct: Shaped[Tensor, "crystal 99 3"]
    direct_used: Int16[Tensor, "crystal"]
    hkl: Shaped[Tensor, "crystal 103 3"]
    hkl_used: Int16[Tensor, "crystal"]
    opens: Bool[Tensor, "crystal 103"]
    beyond: Float[Tensor, "crystal"]
    stored: Int16[Tensor, "crystal 103 7"]

    @staticmethod
    def from_crystals(crystals: Crystals) -> PanelSource:
        """Search the short vectors and compute the amplitudes of canonical crystals.

        Args:
            crystals: canonical crystals (``structures.canonical.canonicalize``).

        Raises:
            InputError: on a crystal without sites, an element beyond 103, or a bad cell.
        """
        _check(crystals)
        direct = shortest_shells(crystals.lattice, layout.DIRECT_VECTORS)
        dual = np.asarray(np.linalg.inv(crystals.lattice).transpose(0, 2, 1), dtype=np.float64)
        waves = shortest_shells(dual, layout.RECIPROCAL_VECTORS)
        frac = (crystals.frac_coords - np.floor(crystals.frac_coords)).astype(np.float32)
        frac[frac == 1.0] = 0.0
        return PanelSource(
            lattice=torch.from_numpy(crystals.lattice.astype(np.float32)),
            offsets=torch.from_numpy(crystals.offsets.copy()),
            frac=torch.from_numpy(frac),
            numbers=torch.from_numpy(crystals.numbers.astype(np.uint8)),
            occupancy=torch.from_numpy(crystals.occupancy.astype(np.float32)),
            direct=torch.from_numpy(_compact(direct.coefficients)),
            direct_used=torch.from_numpy(direct.used),
            hkl=torch.from_numpy(_compact(waves.coefficients)),
            hkl_used=torch.from_numpy(waves.used),
            opens=torch.from_numpy(waves.opens),
            beyond=torch.from_numpy(waves.beyond.astype(np.float32)),
            stored=torch.from_numpy(amplitudes(crystals, waves.coefficients, waves.used)),
        )

    def __len__(self) -> int:
        return len(self.lattice)

    @property
    def site_counts(self) -> Int[Tensor, "crystal"]:
        """Sites of each crystal."""
        return self.offsets.diff()

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(getattr(self, f.name).nbytes for f in fields(self))

    def to(self, device: torch.device | str) -> PanelSource:
        """The same crystals on another device."""
        moved = {f.name: getattr(self, f.name).to(device) for f in fields(self)}
        return replace(self, **moved)

    def take(self, index: Tensor | npt.ArrayLike) -> PanelSource:
        """Select crystals by integer index, in the order given."""
        device = self.offsets.device
        rows = torch.as_tensor(index, dtype=torch.int64, device=device)
        counts = self.site_counts[rows]
        offsets = torch.zeros(len(rows) + 1, dtype=torch.int64, device=device)
        torch.cumsum(counts, 0, out=offsets[1:])
        total = int(offsets[-1])
        shift = torch.repeat_interleave(
            self.offsets[rows] - offsets[:-1], counts, output_size=total
        )
        sites = shift + torch.arange(total, device=device)
        ragged = {"frac", "numbers", "occupancy"}
        taken = {
            f.name: getattr(self, f.name)[sites if f.name in ragged else rows]
            for f in fields(self)
            if f.name != "offsets"
        }
        return replace(self, offsets=offsets, **taken)

    def group(
        self, name: str
    ) -> tuple[Float[Tensor, "crystal row column"], Bool[Tensor, "crystal row"]]:
        """Rows of one panel group for all crystals held, and which rows hold something.

        The site groups have a row for each site of the largest crystal, at least 100, and three
        for the lattice vectors; occupancy has two columns for each slot.

        Raises:
            UnknownNameError: if there is no such group.
        """
        made: tuple[Tensor, Tensor] = MAKERS[layout.group(name).name](self)
        return made


def _compact(steps: npt.NDArray[np.int16]) -> npt.NDArray[np.int16] | npt.NDArray[np.int8]:
    """Steps as int8 where all of them fit."""
    fits = np.abs(steps).max(initial=0) <= np.iinfo(np.int8).max
    return steps.astype(np.int8) if fits else steps


def _check(crystals: Crystals) -> None:
    """Refuse what no encoder can read."""
    counts = crystals.site_counts
    if len(counts) and counts.min() < 1:
        raise InputError(f"Crystal {crystals.ids[counts.argmin()]!r} has no sites; leave it out.")
    if (crystals.numbers > layout.ELEMENTS).any() or (crystals.numbers < 0).any():
        raise InputError(
            f"Got an atomic number outside 0..{layout.ELEMENTS}. Canonicalize first: it skips "
            "structures with unknown elements."
        )


def holdable(crystals: Crystals) -> tuple[npt.NDArray[np.bool_], list[Skip]]:
    """(n,) whether the panel's fixed rows and columns can hold each crystal, and the others.

    The encoders are not bound by this: they read all sites and species.
    """
    limits = (
        (crystals.site_counts, layout.MAX_SITES, "sites"),
        (crystals.species_counts, SLOTS, "species on a site"),
    )
    good, skipped = np.ones(len(crystals), np.bool_), []
    for counts, most, what in limits:
        for row in np.flatnonzero(good & (counts > most)).tolist():
            reason = f"{counts[row]} {what}, the panel holds {most}"
            skipped.append(skip(crystals, row, reason, "use features, which have no such limit"))
        good &= counts <= most
    return good, skipped


def iterate_panel(source: PanelSource, size: int = _CHUNK) -> Iterator[npt.NDArray[np.float32]]:
    """Panels of ``size`` crystals at a time, (<= size, 103, 64), in order."""
    for start in range(0, len(source), size):
        part = source.take(torch.arange(start, min(start + size, len(source))))
        panel = np.zeros((len(part), layout.ROWS, layout.COLUMNS), np.float32)
        for group in layout.GROUPS.values():
            panel[:, :, group.slice] = part.group(group.name)[0].cpu().numpy()
        sites = part.site_counts.cpu().numpy()[:, None]
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
    for part in iterate_panel(PanelSource.from_crystals(crystals)):
        panel[at : at + len(part)] = part
        at += len(part)
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
        part = panel[:, :, group.slice]
        records.append(
            GroupSparsity(
                name=group.name,
                columns=group.width,
                numbers=layout.ROWS * group.width,
                filled=float(np.count_nonzero(part) / part.size),
                varying=float((part != part[0]).any(axis=0).mean()),
            )
        )
    return tuple(records)
