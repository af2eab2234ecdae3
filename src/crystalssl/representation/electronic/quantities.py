"""The named numbers of a crystal's electrons: its picture -> about 120 values with units.

Each group declares its names, units and the range that values are clipped to, and the function that
computes them in this order. The tight binding is wildly wrong for some crystals; clipping keeps
one of them from ruling a linear model. ``v_`` is the edge of the filled states, ``c_`` that of the
empty ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.representation.electronic.picture import EV, SHARES, Gaps, Picture
from crystalssl.representation.electronic.spin import Spins

Array = npt.NDArray[np.float64]

_EDGE = 0.7
"""eV over which the weight of states falls by e, away from a band edge."""
_WINDOW = 0.6
"""Standard deviation in eV of the windows of the density of states."""
_SHELL_WINDOW = 1.0
"""The same of the windows of a shell's density of states."""
_AT_LEVEL = 0.15
_SHARP = 0.3
"""Gap in eV around which ``insulating`` rises from one half."""
_WINDOWS = np.arange(-8.0, 8.5, 1.0)
_SHELL_WINDOWS = np.array([-4.0, -1.5, 0.0, 1.5, 4.0])
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of a crystal.

    Attributes:
        name: ends in its unit where it has one.
        unit: ``1`` for pure numbers.
        low: values are clipped from below here.
        high: and from above here.
    """

    name: str
    unit: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Group:
    """Quantities that one function computes together, in their order."""

    quantities: tuple[Quantity, ...]
    compute: Callable[[Picture], Sequence[float]]


def _ev(names: str, low: float, high: float) -> tuple[Quantity, ...]:
    return tuple(Quantity(f"{name}_eV", "eV", low, high) for name in names.split())


def _pure(names: str, low: float, high: float) -> tuple[Quantity, ...]:
    return tuple(Quantity(name, "1", low, high) for name in names.split())


def _electrons(names: str, low: float, high: float) -> tuple[Quantity, ...]:
    return tuple(Quantity(name, "electrons", low, high) for name in names.split())


def _insulating(gap: float) -> float:
    return float(1.0 / (1.0 + np.exp(-np.clip(gap / _SHARP, -30.0, 30.0))))


def _gaps(p: Picture) -> list[float]:
    g = p.gaps
    gap = max(g.indirect, 0.0)
    filled, empty = p.filling, (1.0 - p.filling)
    below = float((p.weights * filled * p.energies).sum() / ((p.weights * filled).sum() + _TINY))
    above = float((p.weights * empty * p.energies).sum() / ((p.weights * empty).sum() + _TINY))
    return [
        g.indirect, g.direct, g.mean, gap, g.direct if gap > 0 else 0.0, max(p.plain_gap, 0.0),
        *g.widths, above - below, gap**0.5, _insulating(g.indirect), float(g.odd),
    ]  # fmt: skip


def _edges(p: Picture) -> list[float]:
    values: list[float] = []
    for sign, filling in ((-1.0, p.filling), (1.0, 1.0 - p.filling)):
        weight = p.weights * filling * np.exp(-np.clip(sign * p.energies, 0.0, 40.0) / _EDGE)
        total = float(weight.sum())
        values += list((weight @ p.shares) / (total + 1e-12))
        values.append(float(weight @ p.energies) / (total + 1e-12) + p.zero)
        values.append(float(np.log(total + 1e-6)))
    return values


def _bands(p: Picture) -> list[float]:
    x, filled = p.energies, p.weights * p.filling
    total = filled.sum() + _TINY
    mean = float(filled @ x / total)
    empty = p.weights * (1.0 - p.filling)
    return [
        mean,
        float(np.sqrt(filled @ (x - mean) ** 2 / total)),
        float(np.cbrt(filled @ (x - mean) ** 3 / total)),
        float(filled @ p.shares[:, 5]),
        float(empty @ x / (empty.sum() + _TINY)),
        float(empty @ p.shares[:, 5]),
        p.zero,
        float(x.min()),
        float(filled @ p.shares[:, 4] / total),
        float(empty.sum()),
    ]


def _windows(p: Picture) -> list[float]:
    distance = (p.energies[:, None] - _WINDOWS) / _WINDOW
    density = 2.0 * p.weights @ np.exp(-0.5 * distance**2) / (_WINDOW * np.sqrt(2.0 * np.pi))
    at_level = float(p.weights @ np.exp(-0.5 * (p.energies / _AT_LEVEL) ** 2))
    return [*map(float, density), float(np.log1p(at_level))]


def _shell_windows(p: Picture) -> list[float]:
    distance = (p.energies[:, None] - _SHELL_WINDOWS) / _SHELL_WINDOW
    weighted = (p.weights[:, None] * p.shares[:, :3]).T @ np.exp(-0.5 * distance**2)  # (3, 5)
    return [float(value) for value in weighted.ravel()]


def _shell_bands(p: Picture) -> list[float]:
    weight = p.weights[:, None] * np.maximum(p.shares[:, :3], 0.0)
    total = weight.sum(axis=0)
    present = total > 1e-6
    centre = np.where(present, p.energies @ weight / (total + _TINY), 0.0)
    square = (p.energies[:, None] - centre) ** 2
    width = np.where(present, np.sqrt((square * weight).sum(axis=0) / (total + _TINY)), 0.0)
    return [*map(float, centre), *map(float, width)]


def _energies(p: Picture) -> list[float]:
    return list(p.energy)


def _bonds(p: Picture) -> list[float]:
    site, i, j = p.site_bonds, *np.triu_indices(3)
    both = np.where(i == j, 0.5, 1.0)
    return [
        float(site.mean()), float(site.min()), float(site.max()), float(site.std()),
        *(both * (p.bond_energy[i, j] + p.bond_energy[j, i])),
        *(both * (p.bond_population[i, j] + p.bond_population[j, i])),
    ]  # fmt: skip


def _charges(p: Picture) -> list[float]:
    q = p.charges
    return [
        float(np.abs(q).mean()), float(q.std()), float(q.max()), float(q.min()),
        float(np.abs(p.plain_charges).mean()),
        *p.shells.mean(axis=0), *p.change.mean(axis=0), *np.abs(p.change).mean(axis=0),
    ]  # fmt: skip


def _potentials(p: Picture) -> list[float]:
    q, sites = p.charges, len(p.charges)
    return [
        float(p.potential.std()), float(np.ptp(p.potential)),
        float(p.hopping.mean()), float(p.hopping.std()), float(p.hopping.min()),
        float(p.hopping.max()),
        float((np.abs(q) * p.hardness).mean()), float((q * q * p.hardness).mean()),
        p.electrons / p.volume, p.electrons / sites, float(np.log(p.functions / sites)),
    ]  # fmt: skip


def _edge_quantities(edge: str) -> tuple[Quantity, ...]:
    shares = {"electronegativity": (0.0, 4.2), "localisation": (0.0, 1.0), "bonding": (-6.0, 20.0)}
    return (
        *_pure(" ".join(f"{edge}_{name}" for name in SHARES[:3]), -0.2, 1.2),
        Quantity(f"{edge}_electronegativity_pauling", "pauling", *shares["electronegativity"]),
        *_pure(f"{edge}_localisation", *shares["localisation"]),
        *_ev(f"{edge}_bonding", *shares["bonding"]),
        *_ev(f"{edge}_energy", -12.0, 12.0),
        *_pure(f"{edge}_log_states", -14.0, 4.0),
    )


def _dos(names: Sequence[str], high: float) -> tuple[Quantity, ...]:
    return tuple(Quantity(name, "states/eV/site", 0.0, high) for name in names)


_CHANNELS = [a + b for i, a in enumerate("spd") for b in "spd"[i:]]

GROUPS: tuple[Group, ...] = (
    Group(
        (
            *_ev("gap_indirect", -8.0, 15.0),
            *_ev("gap_direct gap_mean gap gap_direct_open gap_without_charges", 0.0, 15.0),
            *_ev("width_highest_filled width_lowest_empty", 0.0, 15.0),
            *_ev("gap_of_band_centres", 0.0, 30.0),
            Quantity("gap_root", "eV^0.5", 0.0, 4.0),
            *_pure("insulating odd_electrons", 0.0, 1.0),
        ),
        _gaps,
    ),
    Group((*_edge_quantities("v"), *_edge_quantities("c")), _edges),
    Group(
        (
            *_ev("filled_mean", -25.0, 0.0),
            *_ev("filled_std", 0.0, 15.0),
            *_ev("filled_third_moment", -20.0, 10.0),
            *_ev("filled_bonding", -20.0, 3.0),
            *_ev("empty_mean", 0.0, 12.0),
            *_ev("empty_bonding", -5.0, 40.0),
            *_ev("level", -12.0, 8.0),
            *_ev("lowest", -40.0, 0.0),
            *_pure("filled_localisation", 0.0, 1.0),
            *_pure("empty_states", 0.0, 9.0),
        ),
        _bands,
    ),
    Group(
        (*_dos([f"dos{e:+.0f}_eV" for e in _WINDOWS], 5.0), *_pure("log_dos_at_level", 0.0, 1.0)),
        _windows,
    ),
    Group(
        _pure(" ".join(f"states_{s}{e:+.1f}_eV" for s in "spd" for e in _SHELL_WINDOWS), -0.3, 4.0),
        _shell_windows,
    ),
    Group(
        (
            *_ev("centre_s centre_p centre_d", -25.0, 12.0),
            *_ev("width_s width_p width_d", 0.0, 15.0),
        ),
        _shell_bands,
    ),
    Group(
        _ev("binding binding_bands electrostatic binding_without_charges", -25.0, 5.0), _energies
    ),
    Group(
        (
            *_ev("site_bonds_mean site_bonds_min site_bonds_max", -40.0, 5.0),
            *_ev("site_bonds_std", 0.0, 15.0),
            *_ev(" ".join(f"bonds_{channel}" for channel in _CHANNELS), -15.0, 5.0),
            *_electrons(" ".join(f"overlap_{channel}" for channel in _CHANNELS), -0.5, 1.5),
        ),
        _bonds,
    ),
    Group(
        (
            *_electrons("charge_absolute charge_std charge_max charge_min", -4.0, 4.0),
            *_electrons("charge_absolute_without_potentials", 0.0, 4.0),
            *_electrons("electrons_s electrons_p electrons_d", -1.0, 10.5),
            *_electrons("change_s change_p change_d", -4.0, 4.0),
            *_electrons("moved_s moved_p moved_d", 0.0, 4.0),
        ),
        _charges,
    ),
    Group(
        (
            *_ev("potential_std potential_range", 0.0, 15.0),
            *_ev("hopping_mean hopping_std hopping_min hopping_max", 0.0, 60.0),
            *_ev("charge_times_hardness", 0.0, 25.0),
            *_ev("charge_squared_times_hardness", 0.0, 40.0),
            Quantity("electron_density_per_A3", "electrons/A^3", 0.0, 1.5),
            *_electrons("electrons_per_site", 0.0, 12.0),
            *_pure("log_functions_per_site", 0.0, 2.3),
        ),
        _potentials,
    ),
)
"""Groups of both levels."""

SPIN: tuple[Quantity, ...] = (
    *_ev("spin_gap_indirect", -8.0, 15.0),
    *_ev("spin_gap spin_gap_majority spin_gap_minority", 0.0, 15.0),
    *_pure("spin_insulating", 0.0, 1.0),
    Quantity("moment_per_site", "Bohr magnetons", 0.0, 5.0),
    Quantity("moment_max", "Bohr magnetons", 0.0, 5.5),
)
"""Quantities of level ``full`` alone."""


def centres() -> Array:
    """(q,) energy in eV of the windows of the density of states; NaN for all other quantities.

    Windows of shells and of the whole; ``log_dos_at_level`` is one at 0. Quantities as those of
    level ``full``.
    """
    energies: dict[Callable[[Picture], Sequence[float]], list[float]] = {
        _windows: [*_WINDOWS, 0.0],
        _shell_windows: [*_SHELL_WINDOWS] * 3,
    }
    groups = [energies.get(g.compute, [np.nan] * len(g.quantities)) for g in GROUPS]
    return np.array([*(energy for group in groups for energy in group), *[np.nan] * len(SPIN)])


def numbers(picture: Picture) -> list[float]:
    """Unclipped values of all quantities in ``GROUPS``."""
    return [value for group in GROUPS for value in group.compute(picture)]


def spin_numbers(gaps: Gaps, spins: Spins | None, sites: int) -> list[float]:
    """Unclipped values of ``SPIN``; those of the levels without spin where none is split."""
    if spins is None:
        gap = max(gaps.indirect, 0.0)
        return [gaps.indirect, gap, gap, gap, _insulating(gaps.indirect), 0.0, 0.0]
    whole = round(sum(spins.electrons))
    up = round(spins.electrons[0])
    tops, bottoms, gaps_of_spin = [], [], []
    for energies, filled in zip(spins.energies, (up, whole - up), strict=True):
        top = energies[:, filled - 1].max() if filled > 0 else -np.inf
        bottom = energies[:, filled].min() if filled < energies.shape[1] else np.inf
        tops.append(top)
        bottoms.append(bottom)
        gaps_of_spin.append(min(max(bottom - top, 0.0) * EV, 15.0))
    gap = float(min(bottoms) - max(tops)) * EV
    moment = abs(spins.electrons[0] - spins.electrons[1]) / sites
    return [
        gap, max(gap, 0.0), *gaps_of_spin, _insulating(gap), moment,
        float(np.abs(spins.moments).max()),
    ]  # fmt: skip
