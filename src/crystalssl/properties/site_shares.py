"""One crystal and a model -> what each of its sites contributes to the prediction.

Sites of an orbit that is left out are taken out of the crystal, which is then described anew. Few
orbits are tried in all coalitions, many in sampled permutations. Used by explanation.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.properties.describing import Describer
from crystalssl.properties.inputs import ALSO, Descriptors
from crystalssl.properties.model import StackedModel
from crystalssl.properties.shapley import Mask, base_of, bits, outputs_of, shapley
from crystalssl.structures.canonical import CanonicalResult, canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.elements import SYMBOLS

Floats = npt.NDArray[np.float64]
PLAYERS = 7
"""Orbits of a crystal that all coalitions are tried of; of more, permutations are sampled."""
PERMUTATIONS = 12
"""Permutations that are sampled, each once forwards and once backwards."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteShares:
    """Contributions of the sites of one crystal.

    Attributes:
        id: id of the crystal.
        species: (n,) what is on each site of the canonical cell.
        frac_coords: (n, 3) where.
        values: (n,) contribution of each site.
        base: mean label, which stands for the crystal without sites.
    """

    id: str
    species: tuple[str, ...]
    frac_coords: Floats
    values: Floats
    base: float

    def by_element(self) -> dict[str, float]:
        """Contributions added up over the sites of each species."""
        total: dict[str, float] = {}
        for name, value in zip(self.species, self.values.tolist(), strict=True):
            total[name] = total.get(name, 0.0) + value
        return total


def share_by_site(
    model: StackedModel,
    describer: Describer,
    canonical: CanonicalResult,
    symprec: float,
    *,
    output: int = 0,
    seed: int = 0,
) -> SiteShares:
    """Contribution of every site of one crystal.

    Args:
        model: stacked model without descriptors of the user's own.
        describer: what turns crystals into inputs.
        canonical: one canonical crystal.
        symprec: tolerance of the symmetry search in angstrom.
        output: class that is explained; 0 for a number.
        seed: seed of sampled permutations.

    Raises:
        InputError: if there is not one crystal, or the model reads the user's own columns.
    """
    crystals = canonical.crystals
    if len(crystals) != 1:
        raise InputError(f"Got {len(crystals)} crystals, expected one at a time.")
    if any(section.kind == ALSO for section in model.sections):
        raise InputError("The model reads columns of your own, which no part of a crystal has.")
    orbits = orbits_of(crystals)
    count = int(orbits.max()) + 1
    wanted = _coalitions(count, seed)
    masks = list(dict.fromkeys(tuple(mask) for order in wanted for mask in order if any(mask)))
    base = base_of(model, output)
    worth = _worth(model, describer, crystals, orbits, masks, symprec, output)
    worth[(False,) * count] = base
    if count <= PLAYERS:
        values = shapley(lambda mask: np.array([worth[tuple(mask.tolist())]]), count)[0][0]
    else:
        values = np.zeros(count)
        for order in wanted:
            for before, after in pairwise(order):
                player = next(p for p in range(count) if before[p] != after[p])
                values[player] += (worth[tuple(after)] - worth[tuple(before)]) / len(wanted)
    sizes = np.bincount(orbits)
    return SiteShares(
        id=str(crystals.ids[0]),
        species=tuple(species_of(crystals)),
        frac_coords=crystals.frac_coords,
        values=values[orbits] / sizes[orbits],
        base=base,
    )


def _coalitions(count: int, seed: int) -> list[list[list[bool]]]:
    """Chains of coalitions from nobody to all: every coalition, or sampled permutations."""
    if count <= PLAYERS:
        return [[bits(number, count).tolist() for number in range(2**count)]]
    rng = np.random.default_rng(seed)
    chains = []
    for _ in range(PERMUTATIONS):
        order = rng.permutation(count)
        for players in (order, order[::-1]):
            chain = [[False] * count]
            for player in players.tolist():
                chain.append([*chain[-1][:player], True, *chain[-1][player + 1 :]])
            chains.append(chain)
    return chains


def _worth(
    model: StackedModel,
    describer: Describer,
    crystals: Crystals,
    orbits: npt.NDArray[np.int64],
    masks: Sequence[tuple[bool, ...]],
    symprec: float,
    output: int,
) -> dict[tuple[bool, ...], float]:
    """Prediction for the crystal with some of its orbits; the mean where it cannot be described."""
    made = [
        _with_sites(crystals, np.asarray(mask)[orbits], str(at)) for at, mask in enumerate(masks)
    ]
    canonical = canonicalize(Crystals.concatenate(made), symprec=symprec)
    inputs, _ = describer.describe(canonical, Descriptors.none(len(canonical.crystals)))
    predicted = outputs_of(model, inputs, np.full(len(inputs), output))
    by_id = dict(zip(inputs.ids.tolist(), predicted.tolist(), strict=True))
    base = base_of(model, output)
    return {mask: by_id.get(str(at), base) for at, mask in enumerate(masks)}


def _with_sites(crystals: Crystals, kept: Mask, name: str) -> Crystals:
    """The one crystal with some of its sites."""
    return Crystals(
        ids=np.array([name]),
        lattice=crystals.lattice,
        offsets=np.array([0, int(kept.sum())], dtype=np.int64),
        frac_coords=crystals.frac_coords[kept],
        numbers=crystals.numbers[kept],
        occupancy=crystals.occupancy[kept],
    )


def orbits_of(crystals: Crystals) -> npt.NDArray[np.int64]:
    """(n,) orbit of each site of one crystal: same species, and the same distances around it.

    Distances to the sites of each species tell sites apart without a symmetry search; sites that
    only chirality tells apart count as one orbit.
    """
    species = species_of(crystals)
    shifts = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), -1).reshape(-1, 3)
    frac = crystals.frac_coords - np.floor(crystals.frac_coords)
    apart = frac[None, :, None] - frac[:, None, None] + shifts  # (n, n, 27, 3)
    lengths = np.linalg.norm(apart @ crystals.lattice[0], axis=-1)
    near = np.sort(lengths, axis=-1)[:, :, :8]
    seen: dict[tuple[object, ...], int] = {}
    orbits = []
    for site, name in enumerate(species):
        around = sorted((other, *np.round(near[site, at], 2)) for at, other in enumerate(species))
        orbits.append(seen.setdefault((name, tuple(around)), len(seen)))
    return np.array(orbits, dtype=np.int64)


def species_of(crystals: Crystals) -> list[str]:
    """Species of each site, such as ``Li`` or ``Li0.5Na0.5``."""
    names = []
    for numbers, occupancy in zip(crystals.numbers, crystals.occupancy, strict=True):
        filled = numbers > 0
        whole = filled.sum() == 1 and abs(float(occupancy[filled][0]) - 1) < 1e-3
        names.append(
            "".join(
                SYMBOLS[z] if whole else f"{SYMBOLS[z]}{amount:.3g}"
                for z, amount in zip(
                    numbers[filled].tolist(), occupancy[filled].tolist(), strict=True
                )
            )
        )
    return names
